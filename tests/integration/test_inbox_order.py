"""The order of the inbox when earlier events arrive late, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import ReceivedEvent
from daarion_appservice.storage.inbox_writer import ReceivedTransaction

ROOM, OTHER_ROOM = "!room", "!other"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await migrate.upgrade(database)
    yield database
    await database.close()


def events(*ids: str, room: str = ROOM) -> list[ReceivedEvent]:
    return [ReceivedEvent(each, room, f'"{each}"') for each in ids]


async def receive(database: Database, *received: ReceivedEvent) -> None:
    async with database.transaction() as tx:
        await tx.inbox.add(list(received), now_ms=1)


async def put(database: Database, *ids: str) -> int | None:
    async with database.transaction() as tx:
        return await tx.inbox_order.reorder(ROOM, events(*ids), now_ms=2)


async def waiting(database: Database) -> list[str]:
    async with database.read_only() as tx:
        return [row.event_id for row in await tx.inbox.waiting(after_id=0, limit=100)]


async def handle(database: Database, *ids: str) -> None:
    async with database.transaction() as tx:
        rows = await tx.inbox.waiting(after_id=0, limit=100)
        await tx.inbox.mark_processed([row for row in rows if row.event_id in ids])


async def test_missed_events_precede_later_ones(database: Database) -> None:
    await receive(database, *events("$3"))
    assert await put(database, "$1", "$2", "$3") == 2
    assert await waiting(database) == ["$1", "$2", "$3"]


async def test_newer_events_stay_behind(database: Database) -> None:
    await receive(database, *events("$3", "$4"))
    assert await put(database, "$1", "$2", "$3") == 2
    assert await waiting(database) == ["$1", "$2", "$3", "$4"]


async def test_complete_inbox_stays_unchanged(database: Database) -> None:
    await receive(database, *events("$1", "$2", "$3"))
    assert await put(database, "$1", "$2") is None
    assert await put(database) is None
    assert await waiting(database) == ["$1", "$2", "$3"]


async def test_processed_events_stay_processed(database: Database) -> None:
    await receive(database, *events("$1", "$2"))
    await handle(database, "$1")
    async with database.read_only() as tx:
        assert await tx.inbox.find_processed(["$1", "$2", "$3"]) == {"$1"}
    assert await put(database, "$1", "$2", "$3") == 1
    assert await put(database, "$1", "$2", "$3") is None
    assert await waiting(database) == ["$2", "$3"]


async def test_other_rooms_keep_their_order(database: Database) -> None:
    await receive(database, *events("$a", room=OTHER_ROOM), *events("$2"), *events("$b", room=OTHER_ROOM))
    assert await put(database, "$1", "$2") == 1
    assert await waiting(database) == ["$a", "$b", "$1", "$2"]


async def test_event_during_reordering_comes_last(database: Database) -> None:
    await receive(database, *events("$3"))
    async with database.transaction() as tx:
        await tx.inbox.lock(ROOM)
        arrives = asyncio.create_task(database.inbox_writer.store(ReceivedTransaction("t", "", events("$4"), 3)))
        # On PostgreSQL the transaction of the other connection waits for ours, and would be through long before it.
        await asyncio.wait([arrives], timeout=0.5)
        assert not arrives.done()
        await tx.inbox_order.reorder(ROOM, events("$1", "$2", "$3"), now_ms=2)
    assert await arrives
    assert await waiting(database) == ["$1", "$2", "$3", "$4"]


async def test_one_of_two_workers_takes_an_event(database: Database) -> None:
    await receive(database, *events("$1"))
    async with database.read_only() as tx:
        (row,) = await tx.inbox.waiting(after_id=0, limit=9)
    async with database.transaction() as tx:
        assert await tx.inbox.mark_processed([row])
    async with database.transaction() as tx:
        assert not await tx.inbox.mark_processed([row])


async def test_moved_event_is_not_mistaken_for_the_one_that_has_its_id(database: Database) -> None:
    """SQLite gives the highest ids again: a worker that has read a row must not end another one."""
    await receive(database, *events("$2"))
    async with database.read_only() as tx:
        read = await tx.inbox.waiting(after_id=0, limit=9)
    assert await put(database, "$1", "$2") == 1  # as a chat's history or a room's upgrade does
    with pytest.raises(AssertionError, match="moved"):
        async with database.transaction() as tx:
            assert await tx.inbox.mark_processed(read), "moved"
    async with database.transaction() as tx:
        await tx.inbox.record_failure(read[0], "RuntimeError", retry_at_ms=None)
        assert await tx.inbox.dead_letters() == []
    assert await waiting(database) == ["$1", "$2"]


async def test_late_position_is_stored_in_same_order(database: Database) -> None:
    await receive(database, *events("$1"))
    (event,) = events("$1")
    async with database.transaction() as tx:
        await tx.inbox_order.reorder(ROOM, [replace(event, before_message="m", is_confirmed=True)], now_ms=2)
    async with database.read_only() as tx:
        (row,) = await tx.inbox.waiting(after_id=0, limit=9)
    assert (row.before_message, row.is_confirmed) == ("m", True)


async def test_last_event_of_room_is_never_pruned(database: Database) -> None:
    await receive(database, *events("$1", "$2"), *events("$a", room=OTHER_ROOM))
    await handle(database, "$1", "$2", "$a")
    async with database.transaction() as tx:
        await tx.inbox.prune(before_ms=1_000)
    async with database.read_only() as tx:
        assert await tx.inbox.find_processed(["$1", "$2", "$a"]) == {"$2", "$a"}
