"""The inbox, when events turn up that should have come earlier; on both databases."""

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


async def come(database: Database, *received: ReceivedEvent) -> None:
    async with database.transaction() as tx:
        await tx.inbox.add(list(received), now_ms=1)


async def put(database: Database, *ids: str) -> int | None:
    async with database.transaction() as tx:
        return await tx.inbox_order.put_in_order(ROOM, events(*ids), now_ms=2)


async def waiting(database: Database) -> list[str]:
    async with database.reading() as tx:
        return [row.event_id for row in await tx.inbox.waiting(after_id=0, limit=100)]


async def handle(database: Database, *ids: str) -> None:
    async with database.transaction() as tx:
        rows = await tx.inbox.waiting(after_id=0, limit=100)
        await tx.inbox.done([row.id for row in rows if row.event_id in ids])


async def test_what_was_missed_waits_before_what_came_after_it(database: Database) -> None:
    await come(database, *events("$3"))
    assert await put(database, "$1", "$2", "$3") == 2
    assert await waiting(database) == ["$1", "$2", "$3"]


async def test_what_came_in_since_history_was_read_stays_behind(database: Database) -> None:
    await come(database, *events("$3", "$4"))
    assert await put(database, "$1", "$2", "$3") == 2
    assert await waiting(database) == ["$1", "$2", "$3", "$4"]


async def test_nothing_is_touched_where_nothing_was_missed(database: Database) -> None:
    await come(database, *events("$1", "$2", "$3"))
    assert await put(database, "$1", "$2") is None
    assert await put(database) is None
    assert await waiting(database) == ["$1", "$2", "$3"]


async def test_what_was_handled_before_does_not_come_back(database: Database) -> None:
    await come(database, *events("$1", "$2"))
    await handle(database, "$1")
    async with database.reading() as tx:
        assert await tx.inbox.handled(["$1", "$2", "$3"]) == {"$1"}
    assert await put(database, "$1", "$2", "$3") == 1
    assert await put(database, "$1", "$2", "$3") is None
    assert await waiting(database) == ["$2", "$3"]


async def test_other_rooms_are_left_alone(database: Database) -> None:
    await come(database, *events("$a", room=OTHER_ROOM), *events("$2"), *events("$b", room=OTHER_ROOM))
    assert await put(database, "$1", "$2") == 1
    assert await waiting(database) == ["$a", "$b", "$1", "$2"]


async def test_an_event_that_comes_while_the_order_is_made_gets_its_number_after_it(database: Database) -> None:
    await come(database, *events("$3"))
    async with database.transaction() as tx:
        await tx.inbox.lock(ROOM)
        arrives = asyncio.create_task(database.intake.store(ReceivedTransaction("t", "", events("$4"), 3)))
        # On PostgreSQL the transaction of the other connection waits for ours, and would be through long before it.
        await asyncio.wait([arrives], timeout=0.5)
        assert not arrives.done()
        await tx.inbox_order.put_in_order(ROOM, events("$1", "$2", "$3"), now_ms=2)
    assert await arrives
    assert await waiting(database) == ["$1", "$2", "$3", "$4"]


async def test_of_two_who_handle_the_same_event_only_one_does(database: Database) -> None:
    await come(database, *events("$1"))
    async with database.reading() as tx:
        (row,) = await tx.inbox.waiting(after_id=0, limit=9)
    async with database.transaction() as tx:
        assert await tx.inbox.done([row.id])
    async with database.transaction() as tx:
        assert not await tx.inbox.done([row.id])


async def test_a_place_that_was_found_later_is_noted_though_the_order_stays(database: Database) -> None:
    await come(database, *events("$1"))
    (event,) = events("$1")
    async with database.transaction() as tx:
        await tx.inbox_order.put_in_order(ROOM, [replace(event, before_message="m", is_confirmed=True)], now_ms=2)
    async with database.reading() as tx:
        (row,) = await tx.inbox.waiting(after_id=0, limit=9)
    assert (row.before_message, row.is_confirmed) == ("m", True)


async def test_of_each_room_the_last_handled_event_is_remembered_for_ever(database: Database) -> None:
    await come(database, *events("$1", "$2"), *events("$a", room=OTHER_ROOM))
    await handle(database, "$1", "$2", "$a")
    async with database.transaction() as tx:
        await tx.inbox.prune(before_ms=1_000)
    async with database.reading() as tx:
        assert await tx.inbox.handled(["$1", "$2", "$a"]) == {"$2", "$a"}
