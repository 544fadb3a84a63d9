"""The read cache is valid until any process commits; dedicated connections survive the loss of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Executable, insert, select, text, update

from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import ReceivedEvent
from daarion_appservice.storage.inbox_writer import ReceivedTransaction
from daarion_appservice.storage.read_cache import ReadCache
from daarion_appservice.storage.read_versions import Versions
from tests.parts.city import eventually
from tests.parts.waiting import WAIT_S

KEY = "how often"


@dataclass
class Counter:
    """A number in the database, and how often it was read from there."""

    database: Database
    reads: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> int:
        async with self.database.read_only() as tx:
            value = (
                await tx.connection.execute(select(tables.key_values.c.value).where(tables.key_values.c.key == KEY))
            ).scalar()
        self.reads += 1
        await self.hold.wait()
        return int(value or 0)

    async def get(self, key: str = "counter") -> int:
        return await self.database.read_cache.get(key, self.read, _small)


async def put(database: Database, value: int) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(
            update(tables.key_values).where(tables.key_values.c.key == KEY).values(value=str(value))
        )


def _small(_value: object) -> int:
    return 10


@pytest.fixture
async def counter(database_url: str) -> AsyncIterator[Counter]:
    async with _opened(database_url) as database:
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            await tx.connection.execute(insert(tables.key_values).values(key=KEY, value="0"))
        counter = Counter(database)
        counter.hold.set()
        yield counter


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


# --- what was read ------------------------------------------------------------------------------------


async def test_unchanged_value_is_loaded_once(counter: Counter) -> None:
    assert [await counter.get() for _ in range(5)] == [0] * 5
    assert counter.reads == 1


async def test_own_commit_invalidates(counter: Counter) -> None:
    for value in range(1, 6):
        await put(counter.database, value)
        assert await counter.get() == value


async def test_commit_of_other_process_invalidates(counter: Counter, database_url: str) -> None:
    async with _opened(database_url) as other:
        for value in range(1, 6):
            await put(other, value)
            assert await counter.get() == value
    assert counter.reads == 5


async def test_inbox_write_invalidates(counter: Counter) -> None:
    await counter.get()
    await counter.database.inbox_writer.store(ReceivedTransaction("1", "0", [ReceivedEvent("$1", "!r", "{}")], 1))
    await counter.get()
    assert counter.reads == 2


async def test_reads_do_not_invalidate(counter: Counter) -> None:
    for _ in range(3):
        await counter.get()
        async with counter.database.read_only() as tx:
            await tx.rooms.all()
    assert counter.reads == 1


async def test_concurrent_gets_share_one_query(counter: Counter) -> None:
    counter.hold.clear()
    gets = [asyncio.create_task(counter.get()) for _ in range(50)]
    while not counter.reads:
        await asyncio.sleep(0.001)
    gets += [asyncio.create_task(counter.get()) for _ in range(50)]
    counter.hold.set()
    assert await asyncio.gather(*gets) == [0] * 100
    assert counter.reads == 1


async def test_get_after_commit_returns_new_value(counter: Counter) -> None:
    counter.hold.clear()
    early = asyncio.create_task(counter.get())
    while not counter.reads:
        await asyncio.sleep(0.001)
    await put(counter.database, 1)
    late = asyncio.create_task(counter.get())
    while counter.reads < 2:
        await asyncio.sleep(0.001)
    counter.hold.set()
    assert (await early, await late) == (0, 1)
    assert await counter.get() == 1


async def test_concurrent_readers_see_no_older_value(counter: Counter, database_url: str) -> None:
    stored = 0

    async def write(other: Database) -> None:
        nonlocal stored
        for value in range(1, 101):
            await put(other, value)
            stored = value

    async def look(until: asyncio.Task[None]) -> None:
        while not until.done():
            known = stored
            assert await counter.get() >= known

    async with _opened(database_url) as other:
        writing = asyncio.create_task(write(other))
        await asyncio.gather(writing, *(look(writing) for _ in range(5)))
    assert await counter.get() == 100


async def test_commit_elsewhere_keeps_value_of_room(counter: Counter) -> None:
    database = counter.database
    await _add_rooms(database)

    async def get(name: str) -> int:
        return await database.read_cache.get(name, counter.read, _small, room=name)

    assert [await get("r0"), await get("r0")] == [0, 0]
    await put(database, 1)
    await _do(database, update(tables.rooms).where(tables.rooms.c.slug == "r1").values(last_seq=9))
    assert await get("r0") == 0, "nothing of the room has changed"
    assert counter.reads == 1
    await _do(database, update(tables.rooms).where(tables.rooms.c.slug == "r0").values(last_seq=9))
    assert [await get("r0"), await get("r0")] == [1, 1]
    assert counter.reads == 2


async def test_room_changed_during_load_is_read_again(counter: Counter) -> None:
    database = counter.database
    await _add_rooms(database)

    async def get() -> int:
        return await database.read_cache.get("r0", counter.read, _small, room="r0")

    counter.hold.clear()
    early = asyncio.create_task(get())
    while not counter.reads:
        await asyncio.sleep(0.001)
    await put(database, 1)
    await _do(database, update(tables.rooms).where(tables.rooms.c.slug == "r0").values(last_seq=9))
    counter.hold.set()
    assert await early == 0
    assert await get() == 1
    assert counter.reads == 2


async def test_values_of_many_rooms_share_one_query(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    await _add_rooms(counter.database)
    cache = counter.database.read_cache
    queries: list[set[str]] = []
    read = cache._versions.read

    async def counted(rooms: Collection[str]) -> Versions:
        queries.append(set(rooms))
        return await read(rooms)

    monkeypatch.setattr(cache, "_versions", type("Counted", (), {"read": staticmethod(counted)}))
    names = ["r0", "r1", "city_r0", "none"]
    gets = [cache.get(name, counter.read, _small, room=name) for name in names]
    await asyncio.gather(*gets, counter.get())
    assert queries == [set(names)]


async def test_each_room_change_changes_version(counter: Counter) -> None:
    room = tables.rooms.c.slug == "r0"
    changes: list[Executable] = [
        update(tables.rooms).where(room).values(last_seq=9),
        update(tables.rooms).where(room).values(first_seq=-1),
        update(tables.rooms).where(room).values(name="Інша"),
    ]
    elsewhere: list[Executable] = [
        update(tables.rooms).where(tables.rooms.c.slug == "r1").values(last_seq=9),
        update(tables.key_values).where(tables.key_values.c.key == KEY).values(value="1"),
        insert(tables.messages).values(_message(5, room="city_r1")),
    ]
    database = counter.database
    await _add_rooms(database)

    async def version_of(name: str) -> object:
        return (await database.read_cache._versions.read([name])).rooms[name]

    seen = [await version_of("r0")]
    for change in changes:
        await _do(database, change)
        seen.append(await version_of("r0"))
        assert seen[-1] != seen[-2]
        assert seen[-1] == await version_of("city_r0")
    for change in elsewhere:
        await _do(database, change)
        assert await version_of("r0") == seen[-1]
    for other in ("r1", "r2"):
        assert await version_of(other) != seen[-1]


async def _add_rooms(database: Database) -> None:
    rooms = [{"id": f"city_r{n}", "slug": f"r{n}", "name": "Room", "created_at_ms": n} for n in range(2)]
    await _do(database, insert(tables.rooms).values(rooms))


async def _do(database: Database, *changes: Executable) -> None:
    async with database.transaction() as tx:
        for change in changes:
            await tx.connection.execute(change)


def _message(seq: int, room: str = "city_r0") -> dict[str, object]:
    author = {"author_kind": "citizen", "author_id": "u_1", "author_name": "Оксана"}
    fields = {"body": "Добрий вечір", "msgtype": "m.text", "created_at_ms": seq, "delivery": "pending"}
    return {"id": f"{seq:026}", "room_id": room, "seq": seq, **author, **fields}


async def test_failed_load_is_not_cached(counter: Counter) -> None:
    async def fail() -> int:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            await counter.database.read_cache.get("counter", fail, _small)
    assert await counter.get() == 0


async def test_least_recently_used_is_evicted(counter: Counter) -> None:
    remembered = ReadCache(_Still(), max_bytes=1600)
    read: list[str] = []

    def reading(key: str) -> Callable[[], Coroutine[None, None, str]]:
        async def read_it() -> str:
            read.append(key)
            return key

        return read_it

    async def get(key: str, size: int = 100) -> str:
        return await remembered.get(key, reading(key), lambda _: size)

    keys = [f"{number}" for number in range(16)]
    for key in keys:
        await get(key)
    await get("0")
    await get("one more")
    read.clear()
    for key in (*keys[2:], "0", "one more"):
        await get(key)
    assert read == []
    for _ in range(2):
        await get("too large", 101)
    await get("1")
    assert read == ["too large", "too large", "1"]


class _Still:
    """Nothing is ever stored."""

    async def read(self, rooms: Collection[str]) -> Versions:
        return Versions("still", dict.fromkeys(rooms))


# --- connections that are kept ------------------------------------------------------------------------


_CONNECTIONS_OF_OTHERS = "pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"


async def test_closed_connections_are_reopened(postgres_url: str) -> None:
    async with _opened(postgres_url) as database, _opened(postgres_url) as other:
        await migrate.upgrade(database)
        counter = Counter(database)
        counter.hold.set()
        for number in range(3):
            event = ReceivedEvent(f"${number}", "!r", "{}")
            assert await database.inbox_writer.store(ReceivedTransaction(f"{number}", "0", [event], 1))
            await counter.get()
            async with other.transaction() as tx:
                await tx.connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM {_CONNECTIONS_OF_OTHERS}"))

            async def are_closed() -> bool:
                async with other.read_only() as tx:
                    return not await tx.connection.scalar(text(f"SELECT count(*) FROM {_CONNECTIONS_OF_OTHERS}"))

            await eventually(are_closed)
            await asyncio.sleep(0.2)  # until the event loop has read the ends
        async with database.read_only() as tx:
            assert len(await tx.inbox.waiting(after_id=0, limit=9)) == 3


async def test_dedicated_connections_leave_pool_free(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1)
    await migrate.upgrade(database)
    lease = await database.dedicated()
    await database.inbox_writer.store(ReceivedTransaction("1", "0", [], 1))
    counter = Counter(database)
    counter.hold.set()
    await counter.get()
    async with database.read_only() as tx, asyncio.timeout(WAIT_S):
        assert await tx.rooms.all() == []
    await lease.close()
    await database.close()


async def test_closed_database_reopens(counter: Counter) -> None:
    assert await counter.get() == 0
    await counter.database.close()
    await put(counter.database, 1)
    assert await counter.get() == 1
