"""Members of rooms and their permissions, in the city and on Matrix."""

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
from daarion_appservice.city.restrictions import RestrictionKind
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
class MembershipHarness:
    """A room, with memberships changed by Matrix and by the city."""

    database: Database
    desk: MessagingHarness
    published: list[CityEvent] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def typing_and_receipts(self) -> TypingAndReceipts:
        return TypingAndReceipts(self.database, self.published.append, self.desk.permissions)

    async def receive_member(
        self, user: str, membership: Any, *, by: str | None = None, **content: Any
    ) -> list[CityEvent]:
        """Receive an ``m.room.member`` event; return the published events."""
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

    async def set_columns(self, **columns: str) -> None:
        async with self.database.transaction() as tx:
            await tx.connection.execute(room_table.update().where(room_table.c.id == GENERAL).values(**columns))

    async def members(self) -> dict[str, str | None]:
        async with self.database.read_only() as tx:
            return {member.user_id: member.display_name for member in await tx.members.of_room(GENERAL)}

    async def history(self) -> list[tuple[RoomEventKind, str]]:
        """Return the joins and leaves in the room's history."""
        async with self.database.read_only() as tx:
            events = await tx.room_events.after(GENERAL, 0, limit=999)
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), "without a hole"
        return [(event.kind, event.who.id) for event in events if event.kind in {JOIN, LEAVE} and event.who]

    async def outbox_kinds(self) -> list[OutboxKind]:
        async with self.database.read_only() as tx:
            return [row.kind for row in await tx.outbox.waiting(limit=99)]

    async def clear_outbox(self) -> None:
        """Delete the outbox, as if everything had been sent."""
        async with self.database.transaction() as tx:
            for row in await tx.outbox.waiting(limit=99):
                await tx.outbox.delete(row.id)

    async def post(self, author: Author, body: str = "Добрий день") -> Message:
        return await self.desk.post(author, "general", body)


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[MembershipHarness]:
    database = Database(database_url)
    await migrate.upgrade(database)
    published: list[CityEvent] = []
    await Rooms(database, published.append, now_ms, new_id).open(
        "General", slug="general", matrix_room=MatrixRoomId("!general")
    )
    harness = MembershipHarness(database, messaging_harness(database, published.append), published)
    harness.desk.agents.replace([Agent("scribe", AgentSlug("scribe"), "Писар")])
    yield harness
    await database.close()


async def refusal(what: Awaitable[object]) -> str:
    """Return the error code of a refused call."""
    with pytest.raises(Forbidden) as refused:
        await what
    return refused.value.code


# --- coming and going, as the city says ---------------------------------------------------------------


async def test_join_is_recorded_and_queued(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")

    assert await harness.members() == {GHOST: "Оксана"}
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=True) in harness.published
    assert await harness.history() == [(JOIN, "u_1")]
    assert await harness.outbox_kinds() == [OutboxKind.JOIN]
    async with harness.database.read_only() as tx:
        (entry, *_) = await tx.feed.before(None, limit=9)
    assert (entry.kind, entry.actor) == (FeedKind.MEMBER_JOINED, OKSANA)

    await harness.desk.membership.join(OKSANA, GENERAL)
    assert await harness.history() == [(JOIN, "u_1")]
    assert await harness.outbox_kinds() == [OutboxKind.JOIN], "to join twice is to join"


async def test_leave_is_recorded_also_for_non_member(harness: MembershipHarness) -> None:
    await harness.desk.membership.leave(OKSANA, "general")
    assert await harness.outbox_kinds() == []
    await harness.desk.membership.join(OKSANA, "general")
    await harness.post(OKSANA)
    await harness.desk.membership.leave(OKSANA, "general")

    assert await harness.members() == {}
    assert await harness.history() == [(JOIN, "u_1"), (LEAVE, "u_1")]
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=False) in harness.published
    assert await harness.outbox_kinds() == [OutboxKind.MESSAGE, OutboxKind.LEAVE], (
        "the newest wish, after what was said before"
    )


async def test_older_matrix_state_does_not_undo_city_change(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.receive_member(GHOST, "leave")
    assert await harness.members() == {GHOST: "Оксана"}
    await harness.desk.membership.leave(OKSANA, "general")
    await harness.receive_member(GHOST, "join", displayname="Оксана")
    assert await harness.members() == {}
    await harness.clear_outbox()
    await harness.receive_member(GHOST, "leave")
    assert await harness.history() == [(JOIN, "u_1"), (LEAVE, "u_1")], "each is written once"


async def test_member_list_does_not_remove_pending_join(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.receive_member(ALICE, "join", displayname="Alice")
    async with harness.database.transaction() as tx:
        members = [Member(GENERAL, UserId("@bob:city.localhost"), "Bob")]
        await harness.desk.members.replace_members(tx, GENERAL, members)
    assert set(await harness.members()) == {GHOST, "@bob:city.localhost"}
    await harness.clear_outbox()
    async with harness.database.transaction() as tx:
        await harness.desk.members.replace_members(tx, GENERAL, members, moving={GHOST})
    assert GHOST in await harness.members(), "it was on its way when the list was asked for"
    async with harness.database.transaction() as tx:
        await harness.desk.members.replace_members(tx, GENERAL, members)
    assert GHOST not in await harness.members()


async def test_agent_leaves_unassigned_rooms_only(harness: MembershipHarness) -> None:
    visitor = Author(AuthorKind.AGENT, "visitor", "Гість")
    await harness.desk.membership.join(visitor, "general")
    await harness.desk.membership.leave(visitor, "general")
    assert await harness.history() == [(JOIN, "visitor"), (LEAVE, "visitor")]

    await harness.desk.membership.join(SCRIBE, "general")
    with pytest.raises(Conflict, match="assigns the room general") as raised:
        await harness.desk.membership.leave(SCRIBE, "general")
    assert raised.value.code == "room_assigned_to_agent"
    assert SCRIBES_GHOST in await harness.members()


async def test_unknown_or_archived_room_is_not_joined(harness: MembershipHarness) -> None:
    for ask in (harness.desk.membership.join, harness.desk.membership.leave):
        with pytest.raises(NotFound):
            await ask(OKSANA, "nowhere")
    await harness.desk.membership.join(OKSANA, "general")
    async with harness.database.transaction() as tx:
        await tx.connection.execute(room_table.update().values(archived=True))
    with pytest.raises(Conflict):
        await harness.desk.membership.join(TARAS, "general")
    await harness.desk.membership.leave(OKSANA, "general")
    assert await harness.members() == {}, "anybody may leave an archive"


# --- what those who look after the room do on Matrix --------------------------------------------------


def everything(harness: MembershipHarness, author: Author, message: Message) -> list[Callable[[], Awaitable[object]]]:
    """Return a call of each operation that the author of a message may try."""
    return [
        lambda: harness.post(author),
        lambda: harness.desk.message_edits.edit(author, "general", message.id, "інше"),
        lambda: harness.desk.reactions.add(author, "general", message.id, "👍"),
        lambda: harness.typing_and_receipts.set_typing(author, "general", typing=True),
        lambda: harness.typing_and_receipts.mark_read(author, "general", message.id),
    ]


async def test_removed_citizen_gets_error_until_rejoin(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    message = await harness.post(OKSANA)
    await harness.clear_outbox()
    happened = await harness.receive_member(GHOST, "leave", by=MODERATOR, reason="галас")
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=False) in happened

    for attempt in everything(harness, OKSANA, message):
        assert await refusal(attempt()) == "kicked"
    with pytest.raises(Forbidden, match="kicked from the room general: галас; join it again"):
        await harness.post(OKSANA)
    assert await harness.outbox_kinds() == [], "nothing is sent and refused"

    await harness.desk.membership.join(OKSANA, "general")
    for attempt in everything(harness, OKSANA, message):
        await attempt()
    assert await harness.history() == [(JOIN, "u_1"), (LEAVE, "u_1"), (JOIN, "u_1")]


async def test_banned_citizen_is_refused_until_unban(harness: MembershipHarness) -> None:
    message = await harness.post(OKSANA)
    await harness.receive_member(GHOST, "join", displayname="Оксана")
    await harness.receive_member(GHOST, "ban", by=MODERATOR, reason=" реклама " + "!" * 5000)
    assert await harness.members() == {}

    for attempt in everything(harness, OKSANA, message):
        assert await refusal(attempt()) == "banned"
    assert await refusal(harness.desk.membership.join(OKSANA, "general")) == "banned"
    with pytest.raises(Forbidden, match="banned from the room general: реклама !!!") as raised:
        await harness.post(OKSANA)
    assert len(raised.value.detail) < 600
    await harness.post(TARAS)
    await harness.desk.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)

    await harness.receive_member(GHOST, "leave", by=MODERATOR)
    await harness.post(OKSANA)
    await harness.desk.membership.join(OKSANA, "general")
    assert GHOST in await harness.members()


async def test_ban_cancels_pending_join(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.receive_member(GHOST, "ban", by=MODERATOR)
    assert (await harness.members(), await harness.outbox_kinds()) == ({}, [])


async def test_unban_of_agent_publishes_registry_change(harness: MembershipHarness) -> None:
    assert RegistryChanged() not in await harness.receive_member(SCRIBES_GHOST, "ban", by=MODERATOR)
    async with harness.database.read_only() as tx:
        assert await tx.restrictions.removed_users() == {(GENERAL, SCRIBES_GHOST)}
    assert RegistryChanged() in await harness.receive_member(SCRIBES_GHOST, "leave", by=MODERATOR)
    async with harness.database.read_only() as tx:
        assert await tx.restrictions.removed_users() == set()


async def test_removed_matrix_user_is_no_member(harness: MembershipHarness) -> None:
    await harness.receive_member(ALICE, "join", displayname="Alice")
    await harness.receive_member(ALICE, "ban", by=MODERATOR)
    async with harness.database.read_only() as tx:
        restriction = await tx.restrictions.get(GENERAL, ALICE)
    assert restriction is not None
    assert restriction.kind is RestrictionKind.BANNED
    assert await harness.members() == {}
    for membership in ("leave", "invite", "leave"):
        await harness.receive_member(ALICE, membership, by=MODERATOR)
        async with harness.database.read_only() as tx:
            assert await tx.restrictions.get(GENERAL, ALICE) is None


async def test_member_without_power_is_read_only(harness: MembershipHarness) -> None:
    message = await harness.post(OKSANA)
    await harness.set_columns(power_levels='{"events_default": "50", "events": {"m.reaction": 0}}')

    assert await refusal(harness.post(OKSANA)) == "muted"
    assert await refusal(harness.desk.message_edits.edit(OKSANA, "general", message.id, "інше")) == "muted"
    await harness.desk.reactions.add(OKSANA, "general", message.id, "👍")
    await harness.desk.membership.join(TARAS, "general")
    await harness.typing_and_receipts.mark_read(TARAS, "general", message.id)
    await harness.set_columns(power_levels='{"events": {"m.reaction": 10}}')
    assert await refusal(harness.desk.reactions.add(TARAS, "general", message.id, "👍")) == "muted"
    await harness.post(OKSANA)


@pytest.mark.parametrize("rule", ["invite", "knock", "restricted", "private"])
async def test_invite_only_room_keeps_members(harness: MembershipHarness, rule: str) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.set_columns(join_rule=rule)

    message = await harness.post(OKSANA)
    assert await refusal(harness.post(TARAS)) == "invite_only"
    assert await refusal(harness.desk.membership.join(TARAS, "general")) == "invite_only"
    assert await refusal(harness.desk.reactions.add(TARAS, "general", message.id, "👍")) == "invite_only"
    await harness.post(SCRIBE)  # the city brings its agents home

    taras = "@citizen_u_2:city.localhost"
    await harness.receive_member(taras, "invite", by=MODERATOR)
    await harness.post(TARAS)
    await harness.receive_member(taras, "leave", by=MODERATOR)
    assert await refusal(harness.post(TARAS)) == "invite_only", "the invitation was taken back"
    await harness.receive_member(taras, "invite", by=MODERATOR)
    await harness.desk.membership.join(TARAS, "general")
    await harness.clear_outbox()
    await harness.receive_member(taras, "join", displayname="Тарас")
    await harness.post(TARAS)
    await harness.receive_member(taras, "leave", by=MODERATOR)
    assert await refusal(harness.post(TARAS)) == "kicked"
    assert await refusal(harness.desk.membership.join(TARAS, "general")) == "invite_only", "an invitation is good once"


@pytest.mark.parametrize("membership", [None, 5, {}, "", "knock", "something new"])
async def test_invalid_membership_adds_no_member(harness: MembershipHarness, membership: Any) -> None:
    await harness.receive_member(GHOST, membership, displayname=["no", "name"], reason=7, by=MODERATOR)
    await harness.receive_member(ALICE, membership)
    await harness.receive_member("not a user", "join")
    assert await harness.members() == {}


# --- names and pictures -------------------------------------------------------------------------------


async def test_profile_change_keeps_older_authors(harness: MembershipHarness) -> None:
    await harness.receive_member(ALICE, "join", displayname="Alice")
    history = await harness.history()
    happened = await harness.receive_member(ALICE, "join", displayname="Аліса", avatar_url="mxc://city.localhost/a")

    alice = Author(AuthorKind.MATRIX, ALICE, "Аліса", "mxc://city.localhost/a")
    assert happened == [MemberChanged(GENERAL, alice)]
    assert await harness.members() == {ALICE: "Аліса"}
    assert await harness.history() == history, "it is no part of the history"
    assert await harness.receive_member(ALICE, "join", displayname="Аліса", avatar_url="mxc://city.localhost/a") == []


async def test_rejoin_updates_display_name(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.clear_outbox()
    await harness.desk.membership.join(Author(AuthorKind.CITIZEN, "u_1", "Оксана К."), "general")
    assert await harness.members() == {GHOST: "Оксана К."}
    assert await harness.history() == [(JOIN, "u_1")]
    assert await harness.outbox_kinds() == [OutboxKind.JOIN], "her ghost is to be called so, too"


# --- over HTTP ----------------------------------------------------------------------------------------


async def test_the_routes_of_members(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        token = citizen_token("u_1", "Оксана")
        published: list[CityEvent] = []
        city.city.bus.subscribe(LocalUserRead, published.append)
        city.city.bus.subscribe(LocalUserTyping, published.append)
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
        assert published == [LocalUserRead(GENERAL, author, posted.content["id"], posted.content["seq"])]
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
async def test_matrix_name_is_one_bounded_line(harness: MembershipHarness, name: str, shown: str | None) -> None:
    await harness.receive_member(ALICE, "join", displayname=name, avatar_url="x" * 5000)
    assert await harness.members() == {ALICE: shown}
    async with harness.database.transaction() as tx:
        room = await tx.rooms.find(GENERAL)
        assert room is not None
        await harness.desk.members.replace_members(tx, GENERAL, [Member(GENERAL, UserId("@bob:city.localhost"), name)])
        members = await tx.members.of_room(GENERAL)
    assert [(member.display_name, member.avatar_url) for member in members] == [(shown, None)]
