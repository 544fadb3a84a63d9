"""The section ``retention``: what is older goes in small portions, and what stays is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from daarion_appservice.city.types import MatrixRoomId, RoomId
from daarion_appservice.clock import now_ms
from daarion_appservice.errors import DatabaseUnavailable
from daarion_appservice.storage import tables as t
from daarion_appservice.storage.personal_data import retention
from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.messaging import link

GENERAL = RoomId("city_general")
DAY_MS = 24 * 3_600_000
READER = citizen_token("u_reader")
AUTHOR = {"author_kind": "citizen", "author_id": "u_1", "author_name": "Оксана"}


def message(name: str, seq: int, age_days: int, **more: Any) -> dict[str, Any]:
    row = {"id": name, "room_id": GENERAL, "seq": seq, **AUTHOR, "body": f"{name} text", "msgtype": "m.text"}
    return row | {"created_at_ms": now_ms() - age_days * DAY_MS, "delivery": "sent"} | more


ROWS: list[tuple[Any, list[dict[str, Any]]]] = [
    (
        t.messages,
        [
            message("old1", 11, 40, matrix_event_id="$old1"),
            message("old2", 12, 39),
            message("root", 13, 38, thread="[2, 1, []]", thread_last_seq=17),
            message("old_reply", 14, 37, thread_root="root"),
            message("unsent", 15, 36, delivery="pending"),
            message("new1", 16, 2, reply_to="old1"),
            message("new_reply", 17, 1, thread_root="root"),
            message("new2", 18, 1, reply_to="new1"),
        ],
    ),
    (t.revisions, [{"id": "r", "message_id": "old1", "body": "x", "msgtype": "m.text", "at_ms": 1}]),
    (t.reactions, [{"id": "re", "message_id": "old1", **AUTHOR, "key": "x", "at_ms": 1}]),
    (
        t.room_events,
        [{"room_id": GENERAL, "seq": seq, "kind": "join", **AUTHOR, "at_ms": 1} for seq in range(1, 11)],
    ),
    (
        t.feed,
        [
            {"id": "f1", "kind": "room_message", "created_at_ms": now_ms(), "room_id": GENERAL, "message_id": "old1"},
            {"id": "f2", "kind": "system", "created_at_ms": 1},
            {"id": "f3", "kind": "system", "created_at_ms": now_ms()},
        ],
    ),
    (
        t.interactions,
        [
            {"id": name, "user_id": "u", "prompt": "p", "response": "r", "latency_ms": 1, "created_at_ms": at}
            for name, at in (("i1", 1), ("i2", now_ms()))
        ],
    ),
    (
        t.inbox,
        [
            {"event_id": name, "event": "{}", "received_at_ms": at, "state": "dead"}
            for name, at in (("$d1", 1), ("$d2", now_ms()))
        ],
    ),
    (
        t.media,
        [
            {"mxc": "mxc://x/old", "uploader_kind": "citizen", "uploader_id": "u_1", "created_at_ms": 1},
            {"mxc": "mxc://x/avatar", "uploader_id": "u_1", "is_avatar": True, "created_at_ms": 1},
            {"mxc": "mxc://x/shown", "uploader_id": "u_1", "created_at_ms": 1},
        ],
    ),
    (t.media_shown, [{"mxc": "mxc://x/shown", "message_id": "new1"}]),
]


async def fill(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await link(tx, GENERAL, MatrixRoomId("!general"))
        for table, rows in ROWS:
            for row in rows:
                await tx.connection.execute(insert(table).values(**row))
        await tx.connection.execute(update(t.rooms).where(t.rooms.c.id == GENERAL).values(last_seq=18))


async def ids(city: InProcessCity, table: Any, key: Any) -> set[str]:
    async with city.city.database.read_only() as tx:
        return set(await tx.connection.scalars(select(key).select_from(table)))


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    days = dict.fromkeys(["messages_days", "feed_days", "interactions_days", "dead_letters_days", "media_days"], 30)
    async with in_process_city(database_url, [], retention=days) as city:
        await fill(city)
        yield city


async def test_old_messages_go_and_history_stays_whole(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 1)
    before = await city.get("/city/rooms/general/messages?limit=50", token=READER)
    assert "old1" in {each["id"] for each in before}
    await city.city.retention.step()
    # The cached page of the room is not used any more.
    messages = {each["id"]: each for each in await city.get("/city/rooms/general/messages?limit=50", token=READER)}
    assert "old1 text" not in str(messages)
    # The root stays for its newer reply, and a message that is not on Matrix yet stays, too.
    assert await ids(city, t.messages, t.messages.c.id) == {"root", "unsent", "new1", "new_reply", "new2"}
    assert (messages["new1"]["reply_to"], messages["new2"]["reply_to"]) == (None, "new1")
    assert messages["root"]["thread"]["count"] == 1
    for table in (t.revisions, t.reactions):
        assert await ids(city, table, table.c.id) == set()
    async with city.city.database.read_only() as tx:
        joins = select(func.count()).select_from(t.room_events).where(t.room_events.c.kind == "join")
        assert (await tx.connection.execute(joins)).scalar() == 0


async def test_interrupted_retention_is_seen_by_readers(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(retention.RetentionRepository, "forget_replies", fail)
    before = await city.get("/city/rooms/general/messages?limit=50", token=READER)
    assert "old1 text" in str(before)
    with pytest.raises(DatabaseUnavailable):
        await city.city.retention.step()
    assert "old1 text" not in str(await city.get("/city/rooms/general/messages?limit=50", token=READER))
    # The next run tells the clients, though it finds no old message any more.
    monkeypatch.undo()
    resyncs = select(func.count()).select_from(t.room_events).where(t.room_events.c.kind == "city.room.resync")
    for _ in range(2):
        await city.city.retention.step()
        async with city.city.database.read_only() as tx:
            assert (await tx.connection.execute(resyncs)).scalar() == 1


@pytest.mark.parametrize("is_empty", [False, True])
async def test_interrupted_retention_deletes_events_later(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch, is_empty: bool
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(retention.RetentionRepository, "delete_room_events", fail)
    with pytest.raises(DatabaseUnavailable):
        await city.city.retention.step()
    monkeypatch.undo()
    async with city.city.database.transaction() as tx:
        if is_empty:
            await tx.connection.execute(delete(t.messages))
    await city.city.retention.step()
    joins = select(func.count()).select_from(t.room_events).where(t.room_events.c.kind == "join")
    async with city.city.database.read_only() as tx:
        assert (await tx.connection.execute(joins)).scalar() == 0


async def test_room_removed_during_retention_leaves_nothing(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = retention.RetentionRepository.delete_room_events

    async def remove_room(repository: retention.RetentionRepository, *_: Any, **__: Any) -> int:
        await repository._connection.execute(delete(t.rooms).where(t.rooms.c.id == GENERAL))
        return 0

    monkeypatch.setattr(retention.RetentionRepository, "delete_room_events", remove_room)
    await city.city.retention.step()
    monkeypatch.setattr(retention.RetentionRepository, "delete_room_events", removed)
    await city.city.retention.step()
    async with city.city.database.read_only() as tx:
        assert await tx.key_values.unfinished_retentions() == set()


async def test_other_old_things_go(city: InProcessCity) -> None:
    await city.city.retention.step()
    assert await ids(city, t.feed, t.feed.c.id) >= {"f3"}
    assert not await ids(city, t.feed, t.feed.c.id) & {"f1", "f2"}
    assert await ids(city, t.interactions, t.interactions.c.id) == {"i2"}
    async with city.city.database.read_only() as tx:
        assert [row.event_id for row in await tx.inbox.dead_letters()] == ["$d2"]
        assert await tx.inbox.find_processed(["$d1"]) == {"$d1"}
    assert await ids(city, t.media, t.media.c.mxc) == {"mxc://x/avatar", "mxc://x/shown"}


async def test_second_step_deletes_nothing(city: InProcessCity) -> None:
    await city.city.retention.step()
    before = await city.get("/city/rooms/general")
    await city.city.retention.step()
    assert (await city.get("/city/rooms/general"))["last_seq"] == before["last_seq"]


async def test_client_from_before_loads_room_again(city: InProcessCity) -> None:
    await city.city.retention.step()
    url = f"http://{city.city.settings.api.host}:{city.city.settings.api.port}/ws/city/rooms/general?since=5&token={READER}"
    async with city.session.ws_connect(url) as socket:
        assert (await next_frame(socket))["event"] == "city.room.resync"


async def test_old_event_from_matrix_is_not_imported(city: InProcessCity) -> None:
    for name, age in (("$ancient", 31), ("$recent", 29)):
        event = {
            "event_id": name,
            "room_id": "!general",
            "type": "m.room.message",
            "sender": "@alice:city.localhost",
            "origin_server_ts": now_ms() - age * DAY_MS,
            "content": {"msgtype": "m.text", "body": "hi"},
        }
        async with city.city.database.transaction() as tx:
            await city.city.handlers.handle(tx, event)
    found = await ids(city, t.messages, t.messages.c.matrix_event_id)
    assert ("$ancient" in found, "$recent" in found) == (False, True)


async def test_everything_stays_by_default(database_url: str) -> None:
    async with in_process_city(database_url, []) as city:
        await fill(city)
        await city.city.retention.step()
        assert {"old1", "old2"} <= await ids(city, t.messages, t.messages.c.id)
        assert {"f1", "f2"} <= await ids(city, t.feed, t.feed.c.id)
