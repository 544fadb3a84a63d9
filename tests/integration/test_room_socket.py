"""``/ws/city/rooms/{room_id}``: live events in order, and replay without gaps after a reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from daarion_appservice.city.events import BusEventsLost, MessagePosted, RoomRemoved, TypingChanged
from daarion_appservice.city.types import MatrixRoomId, Member, Message, RoomId, SubjectId, UserId
from daarion_appservice.realtime import room_replay
from tests.parts.city import eventually
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city
from tests.parts.room_socket import OKSANA, looked_on, looking_on, say
from tests.parts.waiting import WAIT_S

GENERAL = RoomId("city_general")
ALICE = UserId("@alice:city.localhost")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def member(city: InProcessCity, user: UserId, *, joins: bool) -> None:
    members = city.city.room_members
    async with city.city.database.transaction() as tx:
        happened = await (
            members.join(tx, GENERAL, [Member(GENERAL, user, "Аліса")]) if joins else members.leave(tx, GENERAL, [user])
        )
    for event in happened:
        city.city.bus.publish(event)


async def test_message_reaches_all_subscribers_in_order(city: InProcessCity) -> None:
    async with looking_on(city) as one, looking_on(city, room="city_general", query=f"?token={OKSANA}") as other:
        await looked_on(city, 2)
        await other.send(event="city.room.send", body="Привіт", client_id="c1")
        first, second = await one.next(), await other.next()
        assert first == second
        assert (first["event"], first["room_id"], first["seq"]) == ("city.room.message", GENERAL, 1)
        message = first["message"]
        assert (message["body"], message["client_id"], message["author"]["id"]) == ("Привіт", "c1", "u_1")
        assert message == (await city.get("/city/rooms/general/messages"))[0]


async def test_repeated_client_id_posts_once(city: InProcessCity) -> None:
    async with looking_on(city, f"?token={OKSANA}") as socket:
        for body in ("один", "один", "два"):
            await socket.send(event="city.room.send", body=body, client_id=body)
        assert await socket.bodies(2) == [(1, "один"), (2, "два")]


async def test_joins_and_leaves_are_events(city: InProcessCity) -> None:
    async with looking_on(city) as socket:
        await looked_on(city)
        await member(city, ALICE, joins=True)
        await member(city, ALICE, joins=True)
        await say(city, "хто тут?")
        await member(city, ALICE, joins=False)
        await member(city, ALICE, joins=False)
        events = [await socket.next() for _ in range(3)]
    assert [(event["event"], event["seq"]) for event in events] == [
        ("city.room.join", 1),
        ("city.room.message", 2),
        ("city.room.leave", 3),
    ]
    assert events[0]["member"] == {
        "kind": "matrix", "id": ALICE, "display_name": "Аліса", "matrix_user_id": ALICE, "avatar_url": None
    }  # fmt: skip
    async with looking_on(city, "?since=0") as socket:
        assert [await socket.next() for _ in range(3)] == events


@pytest.mark.parametrize(
    ("membership", "by", "reason", "cause"),
    [
        ("leave", "@olena:city.localhost", "галас", ("kicked", "Олена", "галас")),
        ("ban", "@olena:city.localhost", None, ("banned", "Олена", None)),
        ("ban", "@stranger:city.localhost", 7, ("banned", "@stranger:city.localhost", None)),
        ("leave", "@city:city.localhost", "порядок", ("kicked", None, "порядок")),
        ("leave", ALICE, "час іти", ("left", None, None)),
    ],
)
@pytest.mark.parametrize("who", [ALICE, UserId("@citizen_u_7:city.localhost")])
async def test_kick_and_ban_have_a_cause(
    city: InProcessCity, who: UserId, membership: str, by: str, reason: object, cause: tuple[object, ...]
) -> None:
    matrix_room = MatrixRoomId("!general:city.localhost")
    async with city.city.database.transaction() as tx:
        await tx.matrix_rooms.link(GENERAL, matrix_room)

    async def receive_member(user: str, membership: str, **more: object) -> None:
        event = {
            "event_id": f"${user}{membership}",
            "room_id": matrix_room,
            "type": "m.room.member",
            "sender": by if membership != "join" else user,
            "state_key": user,
            "content": {"membership": membership} | more,
            "origin_server_ts": 1_700_000_000_000,
        }
        if event["sender"] == ALICE:
            event["sender"] = user
        await city.handle(event)

    async with looking_on(city) as socket:
        await looked_on(city)
        await receive_member("@olena:city.localhost", "join", displayname="Олена")
        await receive_member(who, "join", displayname="Хтось")
        await receive_member(who, membership, reason=reason)
        events = [await socket.next() for _ in range(3)]
    gone = events[-1]
    assert gone["event"] == "city.room.leave"
    assert (gone["cause"], gone["by"] and gone["by"]["display_name"], gone["reason"]) == cause
    async with looking_on(city, "?since=0") as socket:
        assert [await socket.next() for _ in range(3)] == events


async def test_since_replays_then_continues_live(city: InProcessCity) -> None:
    await say(city, "1", "2", "3")
    async with looking_on(city, "?since=1") as socket:
        assert await socket.bodies(2) == [(2, "2"), (3, "3")]
        await say(city, "4")
        assert await socket.bodies(1) == [(4, "4")]
    async with looking_on(city, "?since=4") as socket:
        await looked_on(city)
        await say(city, "5")
        assert await socket.bodies(1) == [(5, "5")]


async def test_since_too_old_resyncs(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_replay, "MAX_REPLAY", 2)
    await say(city, "1", "2", "3")
    async with looking_on(city, "?since=0") as socket:
        assert await socket.next() == {"event": "city.room.resync", "room_id": GENERAL, "seq": 3}
        await looked_on(city)
        await say(city, "4")
        assert await socket.bodies(1) == [(4, "4")]
    async with looking_on(city, "?since=2") as socket:
        assert await socket.bodies(2) == [(3, "3"), (4, "4")]


async def test_since_in_future_resyncs(city: InProcessCity) -> None:
    await say(city, "1")
    async with looking_on(city, "?since=9") as socket:
        assert await socket.next() == {"event": "city.room.resync", "room_id": GENERAL, "seq": 1}


async def test_missed_notifications_are_read(city: InProcessCity) -> None:
    """Things that other processes did, and that came late, twice, out of order or not at all."""
    bus = city.city.bus
    published: list[MessagePosted] = []
    async with looking_on(city) as socket:
        await looked_on(city)
        publish = city.city.messages._publish
        city.city.messages._publish = published.append  # type: ignore[assignment]
        await say(city, "1", "2", "3", "4")
        bus.publish_remote(published[2])
        assert await socket.bodies(4) == [(1, "1"), (2, "2"), (3, "3"), (4, "4")]
        for late in (published[0], published[3], published[1]):
            bus.publish_remote(late)
        await say(city, "5")
        bus.publish_remote(BusEventsLost())
        assert await socket.bodies(1) == [(5, "5")]
        city.city.messages._publish = publish
        await say(city, "6")
        assert await socket.bodies(1) == [(6, "6")]


async def test_backfilled_history_is_not_sent(city: InProcessCity) -> None:
    async with looking_on(city) as socket:
        await looked_on(city)
        (first,) = await say(city, "новина")
        await socket.next()
        async with city.city.database.transaction() as tx:
            old = await tx.messages.get(first["id"])
            assert old is not None
        city.city.bus.publish(MessagePosted(Message("old", GENERAL, 0, old.author, "давно", 0)))  # type: ignore[arg-type]
        await say(city, "ще новина")
        assert await socket.bodies(1) == [(2, "ще новина")]


async def test_batch_has_presence_of_several_members(city: InProcessCity) -> None:
    agents = ("daarwizz", "scribe")
    for agent in agents:
        await member(city, UserId(f"@agent_{agent}:city.localhost"), joins=True)
    async with looking_on(city, "?batch=1") as batched, looking_on(city) as single:
        await looked_on(city, 2)
        heartbeats = [{"agent_id": agent} for agent in agents]
        await city.call("POST", "/api/v1/agents/heartbeats", {"heartbeats": heartbeats}, token=SERVICE_TOKEN)
        frame = await batched.next()
        shown = {(update["user_id"], update["status"]) for update in frame.pop("updates")}
        assert shown == {("agent:daarwizz", "online"), ("agent:scribe", "online")}
        assert frame == {"event": "city.room.presences", "room_id": GENERAL, "members_online": 2}
        both = [await single.next() for _ in agents]
        assert {(each["event"], each["user_id"]) for each in both} == {
            ("city.room.presence", "agent:daarwizz"),
            ("city.room.presence", "agent:scribe"),
        }
        await say(city, "новина")
        assert await batched.bodies(1) == await single.bodies(1) != []


async def test_presence_and_typing_are_sent(city: InProcessCity) -> None:
    await member(city, UserId("@agent_daarwizz:city.localhost"), joins=True)
    token = await city.agent_token("daarwizz")
    async with looking_on(city) as socket:
        await looked_on(city)
        heartbeat = {"status_msg": "тут"}
        await city.call("POST", "/api/v1/agents/daarwizz/heartbeat", heartbeat, token=token)
        frame = await socket.next()
        assert (frame["event"], frame["user_id"], frame["status"]) == ("city.room.presence", "agent:daarwizz", "online")
        assert (frame["members_online"], frame["status_msg"]) == (1, "тут")
        city.city.bus.publish(TypingChanged(GENERAL, frozenset({SubjectId(ALICE)})))
        assert await socket.next() == {"event": "city.room.typing", "room_id": GENERAL, "typing": [ALICE]}
        await city.call("POST", "/api/v1/agents/scribe/heartbeat", {}, token=await city.agent_token("scribe"))
        await say(city, "хто не тут, того не видно")
        assert (await socket.next())["event"] == "city.room.message"


@pytest.mark.parametrize(
    ("event", "token", "code"),
    [
        ({"event": "city.room.send", "body": "x", "client_id": "c9"}, "", "sign_in"),
        ({"event": "city.room.send", "body": "  ", "client_id": "c9"}, OKSANA, "message_empty"),
        ({"event": "city.room.send", "body": "x" * 50_000, "client_id": "c9"}, OKSANA, "message_too_long"),
        ({"event": "city.room.send", "body": 7, "client_id": "c9"}, OKSANA, "invalid"),
        ({"event": "city.room.send", "body": "x", "reply_to": "nobody", "client_id": "c9"}, OKSANA, "no_such_message"),
        ({"event": "city.room.shout", "client_id": "c9"}, OKSANA, "no_such_event"),
    ],
)
async def test_invalid_event_gets_error_and_stays_open(
    city: InProcessCity, event: dict[str, Any], token: str, code: str
) -> None:
    async with looking_on(city, f"?token={token}") as socket:
        await socket.send(**event)
        frame = await socket.next()
        assert (frame["event"], frame["code"], frame["client_id"]) == ("error", code, "c9")
        await say(city, "далі")
        assert (await socket.next())["message"]["body"] == "далі"
    assert len(await city.get("/city/rooms/general/messages")) == 1


@pytest.mark.parametrize(("room", "status"), [("nowhere", 404), ("%00", 422)])
async def test_invalid_room_refuses_websocket(city: InProcessCity, room: str, status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with looking_on(city, room=room):
            pass
    assert refused.value.status == status


async def test_last_unsubscribe_frees_memory(city: InProcessCity) -> None:
    async with looking_on(city), looking_on(city, "?since=0"):
        await looked_on(city, 2)
    async with asyncio.timeout(WAIT_S):
        while city.city.room_streams._streams:
            await asyncio.sleep(0.005)
    await say(city, "ніхто не чує")


async def test_concurrent_messages_have_one_order(city: InProcessCity) -> None:
    async with looking_on(city) as one, looking_on(city) as other:
        await looked_on(city, 2)
        await asyncio.gather(*(say(city, str(number)) for number in range(30)))
        published = await one.bodies(30)
        assert [seq for seq, _ in published] == list(range(1, 31))
        assert await other.bodies(30) == published


async def test_replay_includes_message_once(city: InProcessCity) -> None:
    (message,) = await say(city, "багато знаків")
    path = f"/city/rooms/general/messages/{message['id']}/reactions/"
    for sign in ("👍", "🎉", "👀"):
        assert (await city.call("PUT", path + quote(sign), token=OKSANA)).status == 200
    async with looking_on(city, "?since=1") as socket:
        frame = [await socket.next() for _ in range(3)]
    assert [(each["seq"], each["emoji"], each["message_id"]) for each in frame] == [
        (2, "👍", message["id"]), (3, "🎉", message["id"]), (4, "👀", message["id"])
    ]  # fmt: skip
    assert [len(each["message"]["reactions"]) if each["message"] else None for each in frame] == [3, None, None]


async def test_replay_over_byte_limit_resyncs(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_replay, "MAX_REPLAY_BYTES", 100_000)
    await say(city, *("x" * 40_000 for _ in range(3)))
    async with looking_on(city, "?since=1") as socket:
        assert [seq for seq, _ in await socket.bodies(2)] == [2, 3]
    async with looking_on(city, "?since=0") as socket:
        frame = [(await socket.next()) for _ in range(3)]
        assert [each["event"] for each in frame] == ["city.room.message", "city.room.message", "city.room.resync"]
        assert frame[-1]["seq"] == 3
        await looked_on(city)
        await say(city, "далі")
        assert (await socket.bodies(1)) == [(4, "далі")]


async def test_slow_reader_gets_all_events(city: InProcessCity) -> None:
    """It takes nothing while others go on speaking, and then finds all of it, in order."""
    await say(city, *("x" * 30_000 for _ in range(12)))
    async with looking_on(city, "?since=0") as socket:
        # aiohttp's client reads ahead a little, the rest waits in the city's database.
        await say(city, *("y" * 30_000 for _ in range(3)))
        assert [seq for seq, _ in await socket.bodies(15)] == list(range(1, 16))


async def test_deletion_of_room_ends_its_sockets(city: InProcessCity) -> None:
    await member(city, ALICE, joins=True)
    async with looking_on(city, "?since=0") as socket:
        await looked_on(city)
        await socket.next()
        async with city.city.database.transaction() as tx:  # as the command line does, without the bus
            room = await tx.rooms.lock("general")
            assert room is not None
            await tx.removed_rooms.add(room)
        city.city.bus.publish(RoomRemoved(GENERAL))  # as the leader does when it finds the removed room
        event = await socket.next()
        assert (event["event"], event["code"]) == ("error", "no_such_room")
        assert not city.city.room_streams._streams
        assert not city.city.online_members.members_of(GENERAL)


async def test_late_removal_leaves_the_members_of_a_room_that_was_opened_again(city: InProcessCity) -> None:
    """The leader finds the removed room after another one with its id was opened."""
    await member(city, ALICE, joins=True)
    members = set(city.city.online_members.members_of(GENERAL))
    assert members
    running = asyncio.create_task(city.city.memberships.run())
    try:
        city.city.bus.publish(RoomRemoved(GENERAL))

        async def are_there() -> bool:
            return set(city.city.online_members.members_of(GENERAL)) == members

        await eventually(are_there)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
