"""Who is in a room, who may be, and who may speak there: as the city says, and as Matrix does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from daarion_appservice.city.events import (
    CityEvent,
    LocalUserRead,
    LocalUserTyping,
    MemberChanged,
    MembershipChanged,
    RegistryChanged,
)
from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Author,
    AuthorKind,
    MatrixRoomId,
    Member,
    Message,
    OutboxKind,
    RoomId,
    UserId,
)
from daarion_appservice.city.typing_and_receipts import TypingAndReceipts
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.errors import Conflict, Forbidden, NotFound
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.tables import rooms as room_table
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.messaging import MessagingHarness, messaging_harness

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
TARAS = Author(AuthorKind.CITIZEN, "u_2", "Тарас")
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")
GHOST, SCRIBES_GHOST = UserId("@citizen_u_1:city.localhost"), UserId("@agent_scribe:city.localhost")
ALICE, MODERATOR = UserId("@alice:city.localhost"), "@moderator:city.localhost"
GENERAL = RoomId("city_general")
JOIN, LEAVE = RoomEventKind.JOIN, RoomEventKind.LEAVE


@dataclass
class Square:
    """A room, and whoever comes and goes there."""

    database: Database
    desk: MessagingHarness
    published: list[CityEvent] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def typing_and_receipts(self) -> TypingAndReceipts:
        return TypingAndReceipts(self.database, self.published.append, self.desk.permissions)

    async def tells(self, user: str, membership: Any, *, by: str | None = None, **content: Any) -> list[CityEvent]:
        """Matrix says what somebody is to the room."""
        event = {
            "type": "m.room.member",
            "room_id": "!general",
            "event_id": f"$event{next(self._numbers)}",
            "sender": by or user,
            "state_key": user,
            "origin_server_ts": 1_700_000_000_000,
            "content": {"membership": membership} | content,
        }
        async with self.database.transaction() as tx:
            room = await tx.rooms.find(GENERAL)
            assert room is not None
            return await self.desk.member_events.member(tx, room, event)

    async def is_governed(self, **columns: str) -> None:
        async with self.database.transaction() as tx:
            await tx.connection.execute(room_table.update().where(room_table.c.id == GENERAL).values(**columns))

    async def members(self) -> dict[str, str | None]:
        async with self.database.read_only() as tx:
            return {member.user_id: member.display_name for member in await tx.members.of_room(GENERAL)}

    async def history(self) -> list[tuple[RoomEventKind, str]]:
        """Who came and left."""
        async with self.database.read_only() as tx:
            events = await tx.room_events.after(GENERAL, 0, limit=999)
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), "without a hole"
        return [(event.kind, event.who.id) for event in events if event.kind in {JOIN, LEAVE} and event.who]

    async def letters(self) -> list[OutboxKind]:
        async with self.database.read_only() as tx:
            return [row.kind for row in await tx.outbox.waiting(limit=99)]

    async def told(self) -> None:
        """Matrix was told everything."""
        async with self.database.transaction() as tx:
            for row in await tx.outbox.waiting(limit=99):
                await tx.outbox.delete(row.id)

    async def says(self, author: Author, body: str = "Добрий день") -> Message:
        return await self.desk.post(author, "general", body)


@pytest.fixture
async def square(database_url: str) -> AsyncIterator[Square]:
    database = Database(database_url)
    await migrate.upgrade(database)
    published: list[CityEvent] = []
    await Rooms(database, published.append, now_ms, new_id).open(
        "General", slug="general", matrix_room=MatrixRoomId("!general")
    )
    square = Square(database, messaging_harness(database, published.append), published)
    square.desk.agents.replace([Agent("scribe", AgentSlug("scribe"), "Писар")])
    yield square
    await database.close()


async def refusal(what: Awaitable[object]) -> str:
    """The code with which something is refused."""
    with pytest.raises(Forbidden) as refused:
        await what
    return refused.value.code


# --- coming and going, as the city says ---------------------------------------------------------------


async def test_join_is_recorded_and_queued(square: Square) -> None:
    await square.desk.membership.join(OKSANA, "general")

    assert await square.members() == {GHOST: "Оксана"}
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=True) in square.published
    assert await square.history() == [(JOIN, "u_1")]
    assert await square.letters() == [OutboxKind.JOIN]
    async with square.database.read_only() as tx:
        (entry, *_) = await tx.feed.before(None, limit=9)
    assert (entry.kind, entry.actor) == (FeedKind.MEMBER_JOINED, OKSANA)

    await square.desk.membership.join(OKSANA, GENERAL)
    assert await square.history() == [(JOIN, "u_1")]
    assert await square.letters() == [OutboxKind.JOIN], "to join twice is to join"


async def test_leave_is_recorded_also_for_non_member(square: Square) -> None:
    await square.desk.membership.leave(OKSANA, "general")
    assert await square.letters() == []
    await square.desk.membership.join(OKSANA, "general")
    await square.says(OKSANA)
    await square.desk.membership.leave(OKSANA, "general")

    assert await square.members() == {}
    assert await square.history() == [(JOIN, "u_1"), (LEAVE, "u_1")]
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=False) in square.published
    assert await square.letters() == [OutboxKind.MESSAGE, OutboxKind.LEAVE], (
        "the newest wish, after what was said before"
    )


async def test_older_matrix_state_does_not_undo_city_change(square: Square) -> None:
    await square.desk.membership.join(OKSANA, "general")
    await square.tells(GHOST, "leave")
    assert await square.members() == {GHOST: "Оксана"}
    await square.desk.membership.leave(OKSANA, "general")
    await square.tells(GHOST, "join", displayname="Оксана")
    assert await square.members() == {}
    await square.told()
    await square.tells(GHOST, "leave")
    assert await square.history() == [(JOIN, "u_1"), (LEAVE, "u_1")], "each is written once"


async def test_member_list_does_not_remove_pending_join(square: Square) -> None:
    await square.desk.membership.join(OKSANA, "general")
    await square.tells(ALICE, "join", displayname="Alice")
    async with square.database.transaction() as tx:
        here = [Member(GENERAL, UserId("@bob:city.localhost"), "Bob")]
        await square.desk.members.replace_members(tx, GENERAL, here)
    assert set(await square.members()) == {GHOST, "@bob:city.localhost"}
    await square.told()
    async with square.database.transaction() as tx:
        await square.desk.members.replace_members(tx, GENERAL, here, moving={GHOST})
    assert GHOST in await square.members(), "it was on its way when the list was asked for"
    async with square.database.transaction() as tx:
        await square.desk.members.replace_members(tx, GENERAL, here)
    assert GHOST not in await square.members()


async def test_agent_leaves_unassigned_rooms_only(square: Square) -> None:
    visitor = Author(AuthorKind.AGENT, "visitor", "Гість")
    await square.desk.membership.join(visitor, "general")
    await square.desk.membership.leave(visitor, "general")
    assert await square.history() == [(JOIN, "visitor"), (LEAVE, "visitor")]

    await square.desk.membership.join(SCRIBE, "general")
    with pytest.raises(Conflict, match="assigns the room general") as raised:
        await square.desk.membership.leave(SCRIBE, "general")
    assert raised.value.code == "room_assigned_to_agent"
    assert SCRIBES_GHOST in await square.members()


async def test_unknown_or_archived_room_is_not_joined(square: Square) -> None:
    for ask in (square.desk.membership.join, square.desk.membership.leave):
        with pytest.raises(NotFound):
            await ask(OKSANA, "nowhere")
    await square.desk.membership.join(OKSANA, "general")
    async with square.database.transaction() as tx:
        await tx.connection.execute(room_table.update().values(archived=True))
    with pytest.raises(Conflict):
        await square.desk.membership.join(TARAS, "general")
    await square.desk.membership.leave(OKSANA, "general")
    assert await square.members() == {}, "anybody may leave an archive"


# --- what those who look after the room do on Matrix --------------------------------------------------


def everything(square: Square, author: Author, message: Message) -> list[Callable[[], Awaitable[object]]]:
    """All that somebody may try who has said something."""
    return [
        lambda: square.says(author),
        lambda: square.desk.message_edits.edit(author, "general", message.id, "інше"),
        lambda: square.desk.reactions.add(author, "general", message.id, "👍"),
        lambda: square.typing_and_receipts.set_typing(author, "general", typing=True),
        lambda: square.typing_and_receipts.mark_read(author, "general", message.id),
    ]


async def test_removed_citizen_gets_error_until_rejoin(square: Square) -> None:
    await square.desk.membership.join(OKSANA, "general")
    message = await square.says(OKSANA)
    await square.told()
    happened = await square.tells(GHOST, "leave", by=MODERATOR, reason="галас")
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=False) in happened

    for attempt in everything(square, OKSANA, message):
        assert await refusal(attempt()) == "kicked"
    with pytest.raises(Forbidden, match="kicked from the room general: галас; join it again"):
        await square.says(OKSANA)
    assert await square.letters() == [], "nothing is sent and refused"

    await square.desk.membership.join(OKSANA, "general")
    for attempt in everything(square, OKSANA, message):
        await attempt()
    assert await square.history() == [(JOIN, "u_1"), (LEAVE, "u_1"), (JOIN, "u_1")]


async def test_banned_citizen_is_refused_until_unban(square: Square) -> None:
    message = await square.says(OKSANA)
    await square.tells(GHOST, "join", displayname="Оксана")
    await square.tells(GHOST, "ban", by=MODERATOR, reason=" реклама " + "!" * 5000)
    assert await square.members() == {}

    for attempt in everything(square, OKSANA, message):
        assert await refusal(attempt()) == "banned"
    assert await refusal(square.desk.membership.join(OKSANA, "general")) == "banned"
    with pytest.raises(Forbidden, match="banned from the room general: реклама !!!") as raised:
        await square.says(OKSANA)
    assert len(raised.value.detail) < 600
    await square.says(TARAS)
    await square.desk.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)

    await square.tells(GHOST, "leave", by=MODERATOR)
    await square.says(OKSANA)
    await square.desk.membership.join(OKSANA, "general")
    assert GHOST in await square.members()


async def test_ban_cancels_pending_join(square: Square) -> None:
    await square.desk.membership.join(OKSANA, "general")
    await square.tells(GHOST, "ban", by=MODERATOR)
    assert (await square.members(), await square.letters()) == ({}, [])


async def test_unban_of_agent_publishes_registry_change(square: Square) -> None:
    assert RegistryChanged() not in await square.tells(SCRIBES_GHOST, "ban", by=MODERATOR)
    async with square.database.read_only() as tx:
        assert await tx.restrictions.removed_users() == {(GENERAL, SCRIBES_GHOST)}
    assert RegistryChanged() in await square.tells(SCRIBES_GHOST, "leave", by=MODERATOR)
    async with square.database.read_only() as tx:
        assert await tx.restrictions.removed_users() == set()


async def test_removed_matrix_user_is_no_member(square: Square) -> None:
    await square.tells(ALICE, "join", displayname="Alice")
    await square.tells(ALICE, "ban", by=MODERATOR)
    async with square.database.read_only() as tx:
        assert await tx.restrictions.get(GENERAL, ALICE) is None
    assert await square.members() == {}


async def test_member_without_power_is_read_only(square: Square) -> None:
    message = await square.says(OKSANA)
    await square.is_governed(power_levels='{"events_default": "50", "events": {"m.reaction": 0}}')

    assert await refusal(square.says(OKSANA)) == "muted"
    assert await refusal(square.desk.message_edits.edit(OKSANA, "general", message.id, "інше")) == "muted"
    await square.desk.reactions.add(OKSANA, "general", message.id, "👍")
    await square.desk.membership.join(TARAS, "general")
    await square.typing_and_receipts.mark_read(TARAS, "general", message.id)
    await square.is_governed(power_levels='{"events": {"m.reaction": 10}}')
    assert await refusal(square.desk.reactions.add(TARAS, "general", message.id, "👍")) == "muted"
    await square.says(OKSANA)


@pytest.mark.parametrize("rule", ["invite", "knock", "restricted", "private"])
async def test_invite_only_room_keeps_members(square: Square, rule: str) -> None:
    await square.desk.membership.join(OKSANA, "general")
    await square.is_governed(join_rule=rule)

    message = await square.says(OKSANA)
    assert await refusal(square.says(TARAS)) == "invite_only"
    assert await refusal(square.desk.membership.join(TARAS, "general")) == "invite_only"
    assert await refusal(square.desk.reactions.add(TARAS, "general", message.id, "👍")) == "invite_only"
    await square.says(SCRIBE)  # the city brings its agents home

    taras = "@citizen_u_2:city.localhost"
    await square.tells(taras, "invite", by=MODERATOR)
    await square.says(TARAS)
    await square.tells(taras, "leave", by=MODERATOR)
    assert await refusal(square.says(TARAS)) == "invite_only", "the invitation was taken back"
    await square.tells(taras, "invite", by=MODERATOR)
    await square.desk.membership.join(TARAS, "general")
    await square.told()
    await square.tells(taras, "join", displayname="Тарас")
    await square.says(TARAS)
    await square.tells(taras, "leave", by=MODERATOR)
    assert await refusal(square.says(TARAS)) == "kicked"
    assert await refusal(square.desk.membership.join(TARAS, "general")) == "invite_only", "an invitation is good once"


@pytest.mark.parametrize("membership", [None, 5, {}, "", "knock", "something new"])
async def test_invalid_membership_adds_no_member(square: Square, membership: Any) -> None:
    await square.tells(GHOST, membership, displayname=["no", "name"], reason=7, by=MODERATOR)
    await square.tells(ALICE, membership)
    await square.tells("not a user", "join")
    assert await square.members() == {}


# --- names and pictures -------------------------------------------------------------------------------


async def test_profile_change_keeps_older_authors(square: Square) -> None:
    await square.tells(ALICE, "join", displayname="Alice")
    history = await square.history()
    happened = await square.tells(ALICE, "join", displayname="Аліса", avatar_url="mxc://city.localhost/a")

    alice = Author(AuthorKind.MATRIX, ALICE, "Аліса", "mxc://city.localhost/a")
    assert happened == [MemberChanged(GENERAL, alice)]
    assert await square.members() == {ALICE: "Аліса"}
    assert await square.history() == history, "it is no part of the history"
    assert await square.tells(ALICE, "join", displayname="Аліса", avatar_url="mxc://city.localhost/a") == []


async def test_rejoin_updates_display_name(square: Square) -> None:
    await square.desk.membership.join(OKSANA, "general")
    await square.told()
    await square.desk.membership.join(Author(AuthorKind.CITIZEN, "u_1", "Оксана К."), "general")
    assert await square.members() == {GHOST: "Оксана К."}
    assert await square.history() == [(JOIN, "u_1")]
    assert await square.letters() == [OutboxKind.JOIN], "her ghost is to be called so, too"


# --- over HTTP ----------------------------------------------------------------------------------------


async def test_the_routes_of_members(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        token = citizen_token("u_1", "Оксана")
        heard: list[CityEvent] = []
        city.city.bus.subscribe(LocalUserRead, heard.append)
        city.city.bus.subscribe(LocalUserTyping, heard.append)
        await _beat(city, token)

        for _ in range(2):
            joined = await city.call("POST", "/city/rooms/general/join", token=token)
            assert (joined.status, joined.content) == (
                200,
                {"room_id": "city_general", "joined": True, "members_online": 1},
            )
        (member,) = (await city.get("/city/rooms/general"))["online_members"]
        assert (member["id"], member["display_name"]) == ("u_1", "Оксана")

        posted = await city.call("POST", "/city/rooms/general/messages", {"body": "Привіт"}, token=token)
        read = {"message_id": posted.content["id"]}
        answer = await city.call("PUT", "/city/rooms/general/read", read, token=token)
        assert (answer.status, answer.content) == (204, "")
        author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
        assert heard == [LocalUserRead(GENERAL, author, posted.content["id"], posted.content["seq"])]
        for room, message, code in (
            ("general", "nothing", "no_such_message"),
            ("nowhere", posted.content["id"], "no_such_room"),
            ("builders", posted.content["id"], "no_such_message"),
        ):
            answer = await city.call("PUT", f"/city/rooms/{room}/read", {"message_id": message}, token=token)
            assert (answer.status, answer.content["code"]) == (404, code)

        left = await city.call("POST", "/city/rooms/city_general/leave", token=token)
        assert left.content == {"room_id": "city_general", "joined": False, "members_online": 0}
        assert (await city.call("POST", "/city/rooms/general/join")).status == 401
        home = await city.call("POST", "/city/rooms/builders/leave", token=await city.agent_token("scribe"))
        assert (home.status, home.content["code"]) == (409, "room_assigned_to_agent")


async def _beat(city: InProcessCity, token: str) -> None:
    url = f"http://127.0.0.1:{city.city.settings.api.port}/ws/city/presence?token={token}"
    async with city.session.ws_connect(url) as socket:
        await socket.receive_json()
        await socket.send_json({"event": "presence.heartbeat", "user_id": "u_1"})
        assert (await socket.receive_json())["status"] == "online"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("N\u202egpj", "Ngpj"),
        ("\u2066Аліса\u2069 \u200fX\u061c", "Аліса X"),
        ("я" * 5000, "я" * 255),
        ("two\nlines", "two lines"),
        ("\u202e", None),
    ],
)
async def test_matrix_name_is_one_bounded_line(square: Square, name: str, shown: str | None) -> None:
    await square.tells(ALICE, "join", displayname=name, avatar_url="x" * 5000)
    assert await square.members() == {ALICE: shown}
    async with square.database.transaction() as tx:
        room = await tx.rooms.find(GENERAL)
        assert room is not None
        await square.desk.members.replace_members(tx, GENERAL, [Member(GENERAL, UserId("@bob:city.localhost"), name)])
        members = await tx.members.of_room(GENERAL)
    assert [(member.display_name, member.avatar_url) for member in members] == [(shown, None)]
