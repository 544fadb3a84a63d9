"""Rooms that are made private on Matrix: who may read what of them in the city, at each place where it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from daarion_appservice.city.history_visibility import MembershipPeriod, readable_ranges
from daarion_appservice.city.types import CitizenId, HistoryVisibility, MatrixRoomId, OutboxKind, RoomId, UserId
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.readable import message_is_readable
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

GENERAL, HALL = RoomId("city_general"), "!hall:city.localhost"
OKSANA, TARAS, ADMIN = (
    citizen_token("u_1", "Оксана"),
    citizen_token("u_2", "Тарас"),
    citizen_token("u_3", "Ада", role="admin"),
)
OKSANA_GHOST, TARAS_GHOST = "@citizen_u_1:city.localhost", "@citizen_u_2:city.localhost"
ALICE, BOT = "@alice:city.localhost", "@daarion_bot:city.localhost"
PICTURE = "mxc://city.localhost/picture"


@dataclass
class Hall:
    """General, as it goes on its Matrix side."""

    open: InProcessCity
    count: int = field(default=0)

    async def hears(self, event_type: str, content: Any, **more: Any) -> str:
        self.count += 1
        event = {
            "event_id": f"${self.count}",
            "room_id": HALL,
            "type": event_type,
            "sender": ALICE,
            "content": content,
            "origin_server_ts": 1_700_000_000_000 + self.count,
        } | more
        city = self.open.city
        async with city.database.transaction() as tx:
            happened = await city.handlers.handle(tx, event)
        for each in happened:
            city.bus.publish(each)
        return f"${self.count}"

    async def says(self, body: str, **more: Any) -> str:
        return await self.hears("m.room.message", {"msgtype": "m.text", "body": body} | more)

    async def becomes(self, visibility: str, join_rule: str = "invite") -> None:
        await self.hears("m.room.join_rules", {"join_rule": join_rule}, state_key="")
        await self.hears("m.room.history_visibility", {"history_visibility": visibility}, state_key="")

    async def member(self, user: str, membership: str) -> None:
        await self.hears("m.room.member", {"membership": membership}, state_key=user, sender=user)

    async def invite(self, user: str) -> None:
        await self.hears("m.room.member", {"membership": "invite"}, state_key=user)

    async def read(self, token: str | None = None, query: str = "") -> list[str]:
        return [each["body"] for each in await self.open.get(f"/city/rooms/general/messages{query}", token=token)]

    async def told(self, token: str | None = None) -> list[str]:
        """What the feed tells of messages, oldest first."""
        entries = await self.open.get("/city/feed?limit=100", token=token)
        return [
            each["payload"]["body"] for each in reversed(entries) if each["kind"] in {"room_message", "agent_reply"}
        ]


@pytest.fixture
async def hall(database_url: str) -> AsyncIterator[Hall]:
    async with in_process_city(database_url) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(HALL))
        yield Hall(city)


async def test_private_room_is_unreadable_for_anonymous_readers(hall: Hall) -> None:
    await hall.says("для всіх")
    await hall.becomes("joined")
    await hall.says("для своїх", url=PICTURE)
    assert await hall.read() == ["для всіх"]
    assert await hall.told() == ["для всіх"]
    room = await hall.open.get("/city/rooms/general")
    assert [each["body"] for each in room["messages"]] == ["для всіх"]
    assert (room["history_visibility"], room["is_public"], room["may_read"]) == ("joined", False, False)
    home = await hall.open.get("/city/home")
    assert "для своїх" not in str(home)
    assert "general" not in {each["slug"] for each in home["popular_rooms"]}
    assert "general" not in {each["slug"] for each in await hall.open.get("/city/rooms")}
    # Reading with the service's or the admin's token is nobody's membership.
    assert await hall.read(ADMIN_TOKEN) == ["для всіх"]


async def test_room_made_public_again_is_readable_from_then_on(hall: Hall) -> None:
    await hall.becomes("joined")
    await hall.says("для своїх")
    await hall.becomes("world_readable", "public")
    await hall.says("знову для всіх")
    assert await hall.read() == ["знову для всіх"]
    assert await hall.told() == ["знову для всіх"]
    assert "general" in {each["slug"] for each in await hall.open.get("/city/rooms")}


@pytest.mark.parametrize(
    ("visibility", "read"),
    [
        ("world_readable", ["1", "2", "3", "4"]),
        ("shared", ["1", "2", "3"]),
        ("invited", ["2", "3"]),
        ("joined", ["3"]),
    ],
)
async def test_former_member_reads_as_while_a_member(hall: Hall, visibility: str, read: list[str]) -> None:
    await hall.becomes(visibility)
    await hall.says("1")
    await hall.invite(OKSANA_GHOST)
    await hall.says("2")
    await hall.member(OKSANA_GHOST, "join")
    await hall.says("3")
    assert await hall.read(OKSANA) == [each for each in read if each != "4"]
    await hall.member(OKSANA_GHOST, "leave")
    await hall.says("4")
    assert await hall.read(OKSANA) == read
    assert await hall.told(OKSANA) == read
    assert await hall.read(TARAS) == (["1", "2", "3", "4"] if visibility == "world_readable" else [])


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
async def test_author_who_joins_by_posting_reads_their_message(hall: Hall, visibility: str) -> None:
    await hall.becomes(visibility, "public")
    await hall.says("до того")
    posted = await hall.open.call("POST", "/city/rooms/general/messages", {"body": "моє"}, token=OKSANA)
    assert posted.status == 201
    await hall.says("після того")
    expected = ["до того"] * (visibility == "shared") + ["моє", "після того"]
    assert (await hall.read(OKSANA), await hall.told(OKSANA)) == (expected, expected)
    assert (await hall.read(TARAS), await hall.told(TARAS)) == ([], [])
    async with hall.open.city.database.reading() as tx:
        # Matrix does not know of the join yet: a look at its members does not end it.
        assert await tx.outbox.moving(GENERAL) == {OKSANA_GHOST: OutboxKind.JOIN}


async def test_linked_matrix_account_counts_as_the_citizen(hall: Hall) -> None:
    await hall.becomes("joined")
    await hall.member(ALICE, "join")
    await hall.says("для своїх")
    async with hall.open.city.database.transaction() as tx:
        await tx.accounts.link(UserId(ALICE), CitizenId("u_1"), now_ms=1)
    assert await hall.read(OKSANA) == ["для своїх"]
    assert "general" in {each["slug"] for each in await hall.open.get("/city/rooms", token=OKSANA)}


async def test_agents_membership_counts(hall: Hall) -> None:
    agent = await hall.open.agent_token("scribe")
    await hall.becomes("joined")
    await hall.says("до нього")
    await hall.member("@agent_scribe:city.localhost", "join")
    await hall.says("при ньому")
    assert await hall.read(agent) == ["при ньому"]


@pytest.fixture
async def secret(hall: Hall) -> Hall:
    """The room never was public: it was private on Matrix before the city knew it."""
    await hall.becomes("joined")
    async with hall.open.city.database.transaction() as tx:
        await tx.connection.execute(tables.rooms.update().where(tables.rooms.c.id == GENERAL).values(was_public=False))
        await tx.connection.execute(
            tables.feed.update().where(tables.feed.c.room_id == GENERAL).values(visibility="joined")
        )
    await hall.invite(OKSANA_GHOST)
    await hall.member(OKSANA_GHOST, "join")
    await hall.says("таємниця")
    return hall


@pytest.mark.parametrize("token", [None, TARAS], ids=["anonymous", "citizen"])
@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "", ...),
        ("GET", "/messages", ...),
        ("GET", "/messages?around={id}", ...),
        ("POST", "/messages", {"body": "hello"}),
        ("PATCH", "/messages/{id}", {"body": "hello"}),
        ("DELETE", "/messages/{id}", ...),
        ("POST", "/messages/{id}/retry", ...),
        ("PUT", "/messages/{id}/reactions/%F0%9F%91%8D", ...),
        ("DELETE", "/messages/{id}/reactions/%F0%9F%91%8D", ...),
        ("POST", "/join", ...),
        ("POST", "/leave", ...),
        ("PUT", "/typing", {"typing": True}),
        ("PUT", "/read", {"message_id": "{id}"}),
    ],
)
async def test_secret_room_is_not_found(secret: Hall, method: str, path: str, content: Any, token: str | None) -> None:
    (message,) = await secret.open.get("/city/rooms/general/messages", token=OKSANA)
    path = f"/city/rooms/general{path}".replace("{id}", message["id"])
    answer = await secret.open.call(method, path, content, token=token)
    if token is None and method != "GET":
        assert answer.status == 401
    else:
        assert (answer.status, answer.content["code"]) == (404, "no_such_room")
    # It is said of the room that there is none in the same words as of one that there is not.
    none = await secret.open.call(method, path.replace("general", "nowhere"), content, token=token)
    assert str(answer.content).replace("general", "nowhere") == str(none.content)


async def test_secret_room_is_told_of_nowhere(secret: Hall) -> None:
    get = secret.open.get
    # It is read like everything of agents: at the latest two seconds later, where another process changed it.
    await secret.open.city.registry.load()
    for path in ("/city/rooms", "/city/home", "/city/feed", "/api/v1/presence/summary", "/api/v1/agents"):
        shown = str(await get(path, token=TARAS))
        assert "general" not in shown.lower(), path
        assert "таємниця" not in shown, path
    metrics = await secret.open.call("GET", "/metrics", listener="matrix")
    assert "general" not in metrics.content
    assert [each["slug"] for each in await get("/city/rooms", token=OKSANA)].count("general") == 1
    assert [each["slug"] for each in await get("/city/rooms", token=ADMIN)].count("general") == 1
    assert await secret.told(OKSANA) == ["таємниця"]


async def test_admin_sees_the_room_and_not_what_is_said(secret: Hall) -> None:
    room = await secret.open.get("/city/rooms/general", token=ADMIN)
    assert (room["name"], room["messages"], room["online_members"]) == ("General", [], [])


async def test_name_of_a_private_room_is_not_told_to_outsiders(hall: Hall) -> None:
    await hall.says("для всіх")
    await hall.becomes("joined")
    await hall.hears("m.room.name", {"name": "Таємна рада"}, state_key="")
    assert "Таємна рада" not in str(await hall.open.get("/city/rooms/general"))
    assert "Таємна рада" not in str(await hall.open.get("/city/feed"))
    await hall.member(OKSANA_GHOST, "join")
    assert (await hall.open.get("/city/rooms/general", token=OKSANA))["name"] == "Таємна рада"


async def test_unreadable_message_is_not_found(hall: Hall) -> None:
    await hall.becomes("joined", "public")
    await hall.says("до неї")
    await hall.member(OKSANA_GHOST, "join")
    async with hall.open.city.database.reading() as tx:
        (message,) = await tx.messages.before(GENERAL, None, limit=1)
    room = "/city/rooms/general"
    for method, path, content in (
        ("POST", f"{room}/messages", {"body": "так", "reply_to": message.id}),
        ("PUT", f"{room}/messages/{message.id}/reactions/%F0%9F%91%8D", ...),
        ("DELETE", f"{room}/messages/{message.id}/reactions/%F0%9F%91%8D", ...),
        ("PATCH", f"{room}/messages/{message.id}", {"body": "інше"}),
        ("DELETE", f"{room}/messages/{message.id}", ...),
        ("PUT", f"{room}/read", {"message_id": message.id}),
        ("GET", f"{room}/messages?around={message.id}", ...),
    ):
        answer = await hall.open.call(method, path, content, token=OKSANA)
        assert (answer.status, answer.content["code"]) == (404, "no_such_message"), path


async def test_edit_of_an_old_message_is_read_like_what_is_said_now(hall: Hall) -> None:
    original = await hall.says("для всіх")
    await hall.says("друге")
    await hall.becomes("joined")
    await hall.member(OKSANA_GHOST, "join")
    edit = {"rel_type": "m.replace", "event_id": original}
    new = {"msgtype": "m.text", "body": "вже для своїх"}
    await hall.hears("m.room.message", {**new, "m.new_content": new, "m.relates_to": edit})
    assert await hall.read() == ["друге"]
    assert await hall.told() == ["друге"]
    assert await hall.read(OKSANA) == ["вже для своїх", "друге"]


async def test_reactions_of_a_private_room_are_for_those_who_follow_it(hall: Hall) -> None:
    async def reactions(token: str | None, path: str = "/messages") -> list[list[str]]:
        found = await hall.open.get(f"/city/rooms/general{path}", token=token)
        return [[each["emoji"] for each in message["reactions"]] for message in found]

    original = await hall.says("для всіх")
    await hall.member(OKSANA_GHOST, "join")
    (message,) = await hall.open.get("/city/rooms/general/messages")
    of_taras = f"/city/rooms/general/messages/{message['id']}/reactions/%F0%9F%91%8D"
    assert (await hall.open.call("PUT", of_taras, token=TARAS)).status == 200
    await hall.becomes("joined")
    await hall.hears("m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": "🤫"}})
    assert await reactions(OKSANA) == [["👍", "🤫"]]
    for token in (None, TARAS, ADMIN):
        assert await reactions(token) == [[]]
        assert await reactions(token, f"/messages?around={message['id']}") == [[]]
        assert [
            each["reactions"] for each in (await hall.open.get("/city/rooms/general", token=token))["messages"]
        ] == [[]]
    taken_back = await hall.open.call("DELETE", of_taras, token=TARAS)
    assert (taken_back.status, taken_back.content["reactions"]) == (200, [])
    await hall.becomes("world_readable", "public")
    assert await reactions(None) == [["🤫"]]


async def test_outsider_does_not_type_in_a_private_room(hall: Hall) -> None:
    await hall.says("для всіх")
    await hall.member(OKSANA_GHOST, "join")
    await hall.becomes("joined")
    typing = "/city/rooms/general/typing"
    refused = await hall.open.call("PUT", typing, {"typing": True}, token=TARAS)
    assert (refused.status, refused.content["code"]) == (403, "invite_only")
    assert (await hall.open.call("PUT", typing, {"typing": True}, token=OKSANA)).status == 200


async def test_file_is_given_to_those_who_may_read_its_message(hall: Hall) -> None:
    async def status(token: str | None) -> int:
        return (await hall.open.call("GET", "/city/media/city.localhost/picture", token=token)).status

    await hall.becomes("joined")
    await hall.member(OKSANA_GHOST, "join")
    await hall.hears("m.room.message", {"msgtype": "m.image", "body": "фото.png", "url": PICTURE})
    assert await status(None) == 404
    assert await status(TARAS) == 404
    # There is no homeserver to have it from.
    assert await status(OKSANA) == 503


# --- pages of history -----------------------------------------------------------------------------------


async def test_pages_of_history_skip_what_is_unreadable(hall: Hall) -> None:
    for number in range(4):
        await hall.becomes("joined" if number % 2 else "world_readable", "public")
        await hall.says(f"{number}a")
        await hall.says(f"{number}b")
    assert await hall.read() == ["0a", "0b", "2a", "2b"]
    assert await hall.read(None, "?limit=3") == ["0b", "2a", "2b"]
    messages = await hall.open.get("/city/rooms/general/messages")
    assert await hall.read(None, f"?before={messages[2]['seq']}") == ["0a", "0b"]
    assert await hall.read(None, f"?after={messages[1]['seq']}&limit=1") == ["2a"]
    assert await hall.read(None, f"?around={messages[1]['id']}&limit=3") == ["0a", "0b", "2a"]


async def test_around_gives_messages_on_both_sides(hall: Hall) -> None:
    for number in range(9):
        await hall.says(str(number))
    messages = await hall.open.get("/city/rooms/general/messages")
    middle = messages[4]["id"]
    assert await hall.read(None, f"?around={middle}&limit=5") == ["2", "3", "4", "5", "6"]
    assert await hall.read(None, f"?around={middle}&limit=4") == ["3", "4", "5", "6"]
    assert await hall.read(None, f"?around={middle}&limit=1") == ["4"]
    assert await hall.read(None, f"?around={messages[0]['id']}&limit=5") == ["0", "1", "2", "3", "4"]
    assert await hall.read(None, f"?after={messages[6]['seq']}") == ["7", "8"]
    for query in ("around=x&before=3", "around=x&after=3", "before=1&after=3"):
        answer = await hall.open.call("GET", f"/city/rooms/general/messages?{query}")
        assert (answer.status, answer.content["code"]) == (422, "invalid")
    answer = await hall.open.call("GET", "/city/rooms/general/messages?around=nothing")
    assert (answer.status, answer.content["code"]) == (404, "no_such_message")


# --- sockets --------------------------------------------------------------------------------------------


@asynccontextmanager
async def socket(
    hall: Hall, token: str | None = None, query: str = ""
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    port = hall.open.city.settings.api.port
    query = f"?token={token or ''}{query}" if token else f"?{query}"
    async with hall.open.session.ws_connect(f"http://{HOST}:{port}/ws/city/rooms/general{query}") as opened:
        yield opened


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def is_looked_on(hall: Hall, count: int = 1) -> None:
    streams = hall.open.city.room_streams
    await until(lambda: sum(len(room.listeners) for room in streams._streams.values()) == count)


async def frames(opened: aiohttp.ClientWebSocketResponse) -> tuple[list[dict[str, Any]], int | None]:
    """All that is told until the end, and the close code."""
    told = []
    while (message := await opened.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
        told.append(message.json())
    return told, message.data


async def test_sockets_of_outsiders_close_when_a_room_becomes_private(hall: Hall) -> None:
    await hall.member(OKSANA_GHOST, "join")
    async with socket(hall) as outside, socket(hall, OKSANA) as inside:
        await is_looked_on(hall, 2)
        await hall.says("для всіх")
        await hall.becomes("joined")
        await hall.says("для своїх")
        told, code = await frames(outside)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert "для своїх" not in str(told)
        assert (told[0]["message"]["body"], told[-1]["code"]) == ("для всіх", "members_only")
        bodies: list[str] = []
        while len(bodies) < 2:
            frame = await inside.receive_json(timeout=10)
            bodies += [frame["message"]["body"]] if frame["event"] == "city.room.message" else []
        assert bodies == ["для всіх", "для своїх"]


async def test_socket_of_a_member_closes_when_they_leave(hall: Hall) -> None:
    await hall.becomes("shared", "public")
    await hall.member(OKSANA_GHOST, "join")
    async with socket(hall, OKSANA) as opened:
        await is_looked_on(hall)
        await hall.member(OKSANA_GHOST, "leave")
        await hall.says("без неї")
        told, code = await frames(opened)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert [frame["event"] for frame in told if "seq" in frame] == ["city.room.leave"]
        assert told[-1]["code"] == "members_only"


async def test_socket_of_an_outsider_is_refused(hall: Hall) -> None:
    await hall.becomes("shared", "public")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with socket(hall, TARAS):
            pass
    assert refused.value.status == 403


async def test_socket_of_a_secret_room_is_not_found(secret: Hall) -> None:
    for token in (None, TARAS):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with socket(secret, token):
                pass
        assert refused.value.status == 404


async def test_first_frame_may_be_the_token_of_a_member(hall: Hall) -> None:
    await hall.becomes("shared", "public")
    await hall.member(OKSANA_GHOST, "join")
    async with socket(hall) as opened:
        await opened.send_json({"event": "auth", "token": OKSANA})
        await is_looked_on(hall)
        await hall.says("для своїх")
        assert (await opened.receive_json(timeout=10))["message"]["body"] == "для своїх"
    async with socket(hall) as opened:
        await opened.send_json({"event": "auth", "token": TARAS})
        told, code = await frames(opened)
        assert ([frame["code"] for frame in told], code) == (["members_only"], aiohttp.WSCloseCode.POLICY_VIOLATION)


async def test_replay_with_something_unreadable_is_a_resync(hall: Hall) -> None:
    await hall.becomes("joined", "public")
    await hall.says("до неї")
    await hall.member(OKSANA_GHOST, "join")
    async with hall.open.city.database.reading() as tx:
        room = await tx.rooms.get(GENERAL)
    assert room is not None
    async with socket(hall, OKSANA, "&since=0") as opened:
        frame = await opened.receive_json(timeout=10)
        assert (frame["event"], frame["seq"]) == ("city.room.resync", room.last_seq)
    async with socket(hall, OKSANA, f"&since={room.last_seq - 1}") as opened:
        assert (await opened.receive_json(timeout=10))["event"] == "city.room.join"


async def test_change_of_an_unreadable_message_is_a_resync(hall: Hall) -> None:
    await hall.becomes("joined", "public")
    original = await hall.says("до неї")
    await hall.member(OKSANA_GHOST, "join")
    async with socket(hall, OKSANA) as opened:
        await is_looked_on(hall)
        edit = {"rel_type": "m.replace", "event_id": original}
        new = {"msgtype": "m.text", "body": "досі не для неї"}
        await hall.hears("m.room.message", {**new, "m.new_content": new, "m.relates_to": edit})
        await hall.says("для неї")
        first, second = await opened.receive_json(timeout=10), await opened.receive_json(timeout=10)
        assert first["event"] == "city.room.resync"
        assert (second["message"]["body"], second["seq"]) == ("для неї", first["seq"] + 1)


# --- what is stored -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [{}, {"history_visibility": None}, {"history_visibility": "nobody"}, {"x": 1}])
async def test_unknown_visibility_is_shared(hall: Hall, content: Any) -> None:
    await hall.hears("m.room.history_visibility", content, state_key="")
    await hall.says("для своїх")
    assert await hall.read() == []


@pytest.mark.parametrize("more", [{}, {"state_key": "x"}])
async def test_visibility_that_is_no_state_changes_nothing(hall: Hall, more: Any) -> None:
    await hall.hears("m.room.history_visibility", {"history_visibility": "joined"}, **more)
    await hall.says("для всіх")
    assert await hall.read() == ["для всіх"]


periods = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=3)


async def test_query_and_rule_agree(tmp_path: Any) -> None:
    database = Database(f"sqlite:///{tmp_path}/city.db")
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        await tx.connection.execute(
            insert(tables.rooms).values(id=GENERAL, slug="general", name="General", created_at_ms=1)
        )
        said = {"room_id": GENERAL, "author_kind": "matrix", "author_id": ALICE, "author_name": "", "body": "…"}
        rows, seq = [], 0
        for visibility in HistoryVisibility:
            for edit in (None, *HistoryVisibility):
                for _ in range(2):
                    seq += 1
                    rows.append(
                        said
                        | {"id": f"m{seq}", "seq": seq, "msgtype": "m.text", "created_at_ms": 1, "delivery": "sent"}
                        | {
                            "visibility": visibility,
                            "edit_seq": edit and 45 - seq,
                            "edit_visibility": edit or visibility,
                        }
                    )
        await tx.connection.execute(insert(tables.messages), rows)
        everything = await tx.messages.before(GENERAL, None, limit=100)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(periods)
    def agree(stays: list[tuple[int, int, int, bool]]) -> None:
        reading = readable_ranges(
            MembershipPeriod(5 * a, 5 * (a + b) if joined else None, 5 * (a + b + c) if c else None)
            for a, b, c, joined in stays
        )
        wanted = [message.id for message in everything if reading.may_read_message(message)]
        found.append((wanted, reading))

    found: list[tuple[list[Any], Any]] = []
    agree()
    async with database.reading() as tx:
        for wanted, reading in found:
            statement = select(tables.messages.c.id).where(message_is_readable(reading)).order_by(tables.messages.c.seq)
            assert [row.id for row in await tx.connection.execute(statement)] == wanted
    await database.close()
