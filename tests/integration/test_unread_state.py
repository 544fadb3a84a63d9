"""What citizens have not read: read marks, mentions and notification modes in lists of rooms and on the WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.events import BusEventsLost, LocalUserRead, MembershipChanged
from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.receipts import ReadPosition, ReceiptKey
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    CitizenId,
    HistoryVisibility,
    Member,
    MessageId,
    RoomId,
    SubjectId,
    UserId,
)
from daarion_appservice.city.unread import ROOM_MENTION
from daarion_appservice.storage.read_marks import ReadMarkRepository
from tests.parts.city import ADMIN_TOKEN, citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.presence_socket import Socket, connected, until

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
GHOST_OF_OKSANA = "@citizen_u_1:city.localhost"
GENERAL = RoomId("city_general")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        writing = asyncio.create_task(city.city.read_mark_writer.run())
        yield city
        writing.cancel()


async def ok(city: InProcessCity, method: str, path: str, content: Any = ..., token: str = OKSANA) -> Any:
    answer = await city.call(method, path, content, token=token)
    assert answer.status in {200, 201, 204}, answer
    return answer.content


async def say(city: InProcessCity, body: str, token: str = TARAS, room: str = "general", **more: Any) -> dict[str, Any]:
    message: dict[str, Any] = await ok(city, "POST", f"/city/rooms/{room}/messages", {"body": body} | more, token)
    return message


async def read(city: InProcessCity, message: dict[str, Any], token: str = OKSANA) -> None:
    await ok(city, "PUT", f"/city/rooms/{message['room_id']}/read", {"message_id": message["id"]}, token)


async def room(city: InProcessCity, slug: str = "general", token: str | None = OKSANA) -> dict[str, Any]:
    listed = await city.get("/city/rooms", token=token)
    found: dict[str, Any] = next(each for each in listed if each["slug"] == slug)
    return found


async def counts(city: InProcessCity, slug: str = "general") -> tuple[int, int]:
    found = await room(city, slug)
    by_id = (await city.get(f"/city/rooms?ids={slug}", token=OKSANA))[0]
    details = await city.get(f"/city/rooms/{slug}", token=OKSANA)
    for each in (by_id, details):
        assert {key: each[key] for key in _STATE} == {key: found[key] for key in _STATE}
    return found["unread"], found["mentions"]


_STATE = ("joined", "unread", "mentions", "read_seq", "notifications")


# --- lists of rooms -------------------------------------------------------------------------------------------


async def test_unread_begins_with_the_join(city: InProcessCity) -> None:
    await say(city, "before")
    assert await room(city) == await room(city) | {"joined": False, "unread": 0, "mentions": 0, "read_seq": None}
    await ok(city, "POST", "/city/rooms/general/join")
    assert await counts(city) == (0, 0)
    await say(city, "after")
    await say(city, "after, too")
    assert await counts(city) == (2, 0)
    assert (await room(city))["joined"] is True


async def test_read_mark_never_moves_backwards(city: InProcessCity) -> None:
    first, second = await say(city, "one"), await say(city, "two")
    await say(city, "three")
    await read(city, second)
    assert await counts(city) == (1, 0)
    await read(city, first)
    assert (await room(city))["read_seq"] == second["seq"]
    assert await counts(city) == (1, 0)


async def test_own_messages_and_changes_are_not_unread(city: InProcessCity) -> None:
    first = await say(city, "one")
    await read(city, first)
    second = await say(city, "two")
    await ok(city, "PUT", f"/city/rooms/general/messages/{first['id']}/reactions/x", token=TARAS)
    assert await counts(city) == (1, 0)
    await ok(city, "DELETE", f"/city/rooms/general/messages/{second['id']}", token=TARAS)
    assert await counts(city) == (0, 0)
    await say(city, "three")
    await say(city, "mine", OKSANA)
    assert await counts(city) == (0, 0)


async def test_threads_count_as_mentions_only(city: InProcessCity) -> None:
    root = await say(city, "root")
    await read(city, root)
    reply = await say(city, f"{GHOST_OF_OKSANA} in a thread", thread_root=root["id"])
    await say(city, "not of you", thread_root=root["id"])
    assert await counts(city) == (0, 1)
    await read(city, reply)
    assert await counts(city) == (0, 0)


async def test_mentions_are_names_room_and_replies(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    mine = await say(city, "mine", OKSANA)
    await say(city, f"{GHOST_OF_OKSANA}, hello")
    await say(city, "an answer", reply_to=mine["id"])
    async with city.city.database.transaction() as tx:
        levels = '{"users": {"@citizen_u_2:city.localhost": 100}}'
        await tx.rooms.set_rules(GENERAL, power_levels=levels)
    await say(city, "@room now")
    await say(city, "of nobody")
    assert await counts(city) == (4, 3)
    # A mention of all members is one of the members only.
    stranger = citizen_token("u_3", "Стороння")
    assert (await room(city, token=stranger))["mentions"] == 0


async def test_mention_in_an_unopened_room_counts(city: InProcessCity) -> None:
    message = await say(city, f"{GHOST_OF_OKSANA}!", room="builders")
    assert await counts(city, "builders") == (0, 1)
    await read(city, message)
    assert await counts(city, "builders") == (0, 0)


async def test_mentions_of_other_rooms_hide_none(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daarion_appservice.storage.mentions._MOST", 2)
    for _ in range(5):
        await say(city, "слово", room="builders")

    async def mention_all(message: dict[str, Any]) -> None:
        async with city.city.database.transaction() as tx:
            stored = await tx.messages.get(MessageId(message["id"]))
            assert stored is not None
            await tx.mentions.put(stored, [ROOM_MENTION])

    for _ in range(2):
        await say(city, f"{GHOST_OF_OKSANA} колись", room="builders")  # numbers in a room say nothing about the time
    for _ in range(2):
        await say(city, f"{GHOST_OF_OKSANA} тепер")
    for _ in range(3):
        await mention_all(await say(city, "увага", room="welcome"))  # of a room that is not joined
    assert (await room(city, "general"))["mentions"] == 2
    assert (await room(city, "welcome"))["mentions"] == 0


async def test_edits_change_mentions(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    message = await say(city, "hello")
    path = f"/city/rooms/general/messages/{message['id']}"
    await ok(city, "PATCH", path, {"body": f"hello {GHOST_OF_OKSANA}"}, TARAS)
    assert await counts(city) == (1, 1)
    await ok(city, "PATCH", path, {"body": "hello all"}, TARAS)
    assert await counts(city) == (1, 0)
    await ok(city, "PATCH", path, {"body": f"hello {GHOST_OF_OKSANA}"}, TARAS)
    await ok(city, "DELETE", path, token=TARAS)
    assert await counts(city) == (0, 0)


async def test_leaving_ends_counting(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    await say(city, f"{GHOST_OF_OKSANA}?")
    assert await counts(city) == (1, 1)
    await ok(city, "POST", "/city/rooms/general/leave")
    await say(city, "later")
    assert await counts(city) == (0, 0)


async def test_leaving_deletes_marks_of_running_batch(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    message = await say(city, "read while leaving")
    writer, citizen, general = city.city.read_mark_writer, CitizenId("u_1"), RoomId("city_general")
    async with city.city.database.transaction() as tx:
        await tx.read_marks.forget(general, [citizen])
    writer.on_local_read(
        LocalUserRead(general, Author(AuthorKind.CITIZEN, citizen, ""), MessageId(message["id"]), message["seq"])
    )
    await writer.flush(citizen)
    # The leave was committed before the batch, and is published after it.
    writer.on_membership_changed(MembershipChanged(general, SubjectId(citizen), joined=False))
    await writer.flush(citizen)
    async with city.city.database.read_only() as tx:
        assert await tx.read_marks.of(citizen, {}, None) == {}


async def test_leaving_twice_deletes_marks_of_second_batch(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await say(city, "read before each leave")
    writer, citizen, general = city.city.read_mark_writer, CitizenId("u_1"), RoomId("city_general")
    read = LocalUserRead(general, Author(AuthorKind.CITIZEN, citizen, ""), MessageId(message["id"]), message["seq"])
    left = MembershipChanged(general, SubjectId(citizen), joined=False)
    writer.on_local_read(read)
    await writer.flush(citizen)
    writer.on_membership_changed(left)
    writer.on_local_read(read)
    advance = ReadMarkRepository.advance

    async def leaves_meanwhile(repository: ReadMarkRepository, marks: Any, **options: Any) -> None:
        await advance(repository, marks, **options)
        writer.on_membership_changed(left)

    with monkeypatch.context() as patch:
        patch.setattr(ReadMarkRepository, "advance", leaves_meanwhile)
        await writer.flush(citizen)
    await writer.flush(citizen)
    async with city.city.database.read_only() as tx:
        assert await tx.read_marks.of(citizen, {}, None) == {}


async def test_private_rooms_count_for_members_only(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/builders/join")
    await ok(city, "POST", "/city/rooms/builders/join", token=TARAS)
    async with city.city.database.transaction() as tx:
        found = await tx.rooms.lock("builders")
        assert found is not None
        await tx.rooms.set_rules(found.id, join_rule="invite", history_visibility=HistoryVisibility.JOINED)
    await say(city, f"{GHOST_OF_OKSANA} @citizen_u_3:city.localhost", room="builders")
    assert await counts(city, "builders") == (1, 1)
    assert (await room(city, "builders"))["last_message"]["text"].startswith("@citizen_u_1")
    slugs = {each["slug"] for each in await city.get("/city/rooms", token=citizen_token("u_3", "Чужа"))}
    assert "builders" not in slugs


async def test_linked_account_reads_for_the_citizen(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    alice = UserId("@alice:hs")
    async with city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_1"), alice), now_ms=1)
        await city.city.room_members.join(tx, GENERAL, [Member(GENERAL, alice, "Alice")])
    await city.city.account_cache.load()
    message = await say(city, "hello @alice:hs")
    assert await counts(city) == (1, 1)
    key = ReceiptKey(GENERAL, SubjectId(alice))
    async with city.city.database.transaction() as tx:
        await tx.receipts.advance({key: ReadPosition(MessageId(message["id"]), message["seq"], 1)})
    assert await counts(city) == (0, 0)


async def test_lists_show_the_last_readable_message(city: InProcessCity) -> None:
    assert (await room(city, token=None))["last_message"] is None
    first = await say(city, "**перше** слово")
    second = await say(city, "друге")
    await say(city, "у гілці", thread_root=first["id"])
    listed = await room(city, token=None)
    assert listed["last_message"]["text"] == "друге"
    assert not set(_STATE) & listed.keys()
    await ok(city, "DELETE", f"/city/rooms/general/messages/{second['id']}", token=TARAS)
    last = (await room(city, token=None))["last_message"]
    assert last == last | {"id": first["id"], "seq": first["seq"], "text": "перше слово", "msgtype": "m.text"}
    assert last["author"]["display_name"] == "Тарас"


async def test_notification_mode_is_stored(city: InProcessCity) -> None:
    path = "/city/rooms/general/notifications"
    assert await ok(city, "PUT", path, {"mode": "none"}) == {"room_id": "city_general", "mode": "none"}
    assert (await room(city))["notifications"] == "none"
    await ok(city, "PUT", path, {"mode": "all"})
    assert (await room(city))["notifications"] == "all"
    assert (await city.call("PUT", path, {"mode": "loud"}, token=OKSANA)).status == 422
    assert (await city.call("PUT", path, {"mode": "all"})).status == 401
    assert (await city.call("PUT", "/city/rooms/x/notifications", {"mode": "all"}, token=OKSANA)).status == 404


# --- the WebSocket --------------------------------------------------------------------------------------------


def state(socket: Socket, room_id: str = "city_general") -> dict[str, Any]:
    """Return the state of a room as the events tell it, with the last message that they told."""
    told: dict[str, Any] = {}
    for event in socket.events:
        if event["event"] == "city.unread.snapshot":
            told = {each["room_id"]: each for each in event["rooms"]}
        elif event["event"] == "city.unread":
            for each in event["rooms"]:
                told[each["room_id"]] = told.get(each["room_id"], {}) | each
    found: dict[str, Any] = told.get(room_id, {})
    return found


async def shows(socket: Socket, **wanted: Any) -> None:
    await until(lambda: wanted.items() <= state(socket).items())


async def test_socket_tells_counts_and_last_message(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    await say(city, "before")
    async with connected(city, "?unread=1", OKSANA) as one, connected(city, "?unread=1", OKSANA) as other:
        await shows(one, joined=True, unread=1, mentions=0)
        await shows(other, unread=1)
        message = await say(city, f"{GHOST_OF_OKSANA}, hello")
        await shows(one, unread=2, mentions=1)
        assert state(one)["last_message"]["id"] == message["id"]
        await read(city, message)
        await shows(one, unread=0, mentions=0, read_seq=message["seq"])
        await shows(other, unread=0, mentions=0)
        await ok(city, "PUT", "/city/rooms/general/notifications", {"mode": "mentions"})
        await shows(other, notifications="mentions")


async def test_socket_tells_mention_by_edit_in_unopened_room(city: InProcessCity) -> None:
    message = await say(city, "hello")
    async with connected(city, "?unread=1", OKSANA) as socket:
        path = f"/city/rooms/general/messages/{message['id']}"
        await ok(city, "PATCH", path, {"body": f"hello {GHOST_OF_OKSANA}"}, TARAS)
        await shows(socket, joined=False, unread=0, mentions=1)


async def test_socket_agrees_with_lists_after_each_change(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    async with connected(city, "?unread=1", OKSANA) as socket:
        await shows(socket, unread=0)

        async def agrees() -> bool:
            unread, mentions = await counts(city)
            return {"unread": unread, "mentions": mentions}.items() <= state(socket).items()

        first = await say(city, f"{GHOST_OF_OKSANA} one")
        second = await say(city, "two")
        third = await say(city, "three")
        await eventually(agrees)
        path = "/city/rooms/general/messages/"
        await ok(city, "PATCH", path + second["id"], {"body": f"two {GHOST_OF_OKSANA}"}, TARAS)
        await shows(socket, unread=3, mentions=2)
        await ok(city, "DELETE", path + first["id"], token=TARAS)
        await shows(socket, unread=2, mentions=1)
        await read(city, second)
        await shows(socket, unread=1, mentions=0, read_seq=second["seq"])
        await ok(city, "DELETE", path + third["id"], token=TARAS)
        await shows(socket, unread=0)
        await eventually(agrees)
        mine = await say(city, "mine", OKSANA)
        await shows(socket, read_seq=mine["seq"])
        await ok(city, "POST", "/city/rooms/general/leave")
        await shows(socket, joined=False, read_seq=None)
        await say(city, "after")
        await eventually(agrees)


async def test_socket_does_not_name_unreadable_rooms(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/builders/join", token=TARAS)
    async with city.city.database.transaction() as tx:
        found = await tx.rooms.lock("builders")
        assert found is not None
        await tx.rooms.set_rules(found.id, join_rule="invite", history_visibility=HistoryVisibility.JOINED)
    async with connected(city, "?unread=1", OKSANA) as socket:
        await ok(city, "PATCH", "/city/rooms/builders", {"description": "changed"}, ADMIN_TOKEN)
        await say(city, f"{GHOST_OF_OKSANA} @room", room="builders")
        await say(city, f"{GHOST_OF_OKSANA}?")
        await shows(socket, mentions=1)
        assert "builders" not in str([each for each in socket.events if each["event"].startswith("city.unread")])


async def test_lost_bus_events_send_a_new_snapshot(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    async with connected(city, "?unread=1", OKSANA) as socket:
        await shows(socket, unread=0)
        city.city.bus.publish_remote(BusEventsLost())
        await until(lambda: [each["event"] for each in socket.events].count("city.unread.snapshot") == 2)


async def test_only_citizens_that_ask_get_unread(city: InProcessCity) -> None:
    await ok(city, "POST", "/city/rooms/general/join")
    async with (
        connected(city, "?unread=1") as anonymous,
        connected(city, "", OKSANA) as silent,
        connected(city, "?unread=1", OKSANA) as socket,
    ):
        await say(city, "hello")
        await shows(socket, unread=1)
        for other in (anonymous, silent):
            assert not [each for each in other.events if each["event"].startswith("city.unread")]
        await anonymous.socket.send_json({"event": "auth", "token": OKSANA})
        await shows(anonymous, unread=1)
