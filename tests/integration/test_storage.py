"""Transactions and constraints of the database, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from daarion_appservice.city.rooms import Rooms, room_id_of
from daarion_appservice.city.tokens import new_token
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Member,
    Room,
    UserId,
)
from daarion_appservice.clock import new_id
from daarion_appservice.errors import Conflict, ConstraintViolated
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.inbox import ReceivedEvent
from tests.parts.migrations import EMPTY

SCRIBE = Agent("scribe", AgentSlug("scribe"), "Писар", rooms=("general",))
GENERAL = Room(room_id_of("general"), "general", "General", "", is_default=True, archived=False, created_at_ms=1)

# --- SQLite -------------------------------------------------------------------------------------------


@EMPTY
@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
async def test_sqlite_pragmas_are_durable(sqlite_url: str, pragma: str, value: object) -> None:
    database = Database(sqlite_url)
    async with database.read_only() as one, database.read_only() as other:
        for tx in (one, other):
            assert (await tx.connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value
    await database.close()


async def test_sqlite_writers_wait_for_each_other(sqlite_url: str) -> None:
    service, command_line = Database(sqlite_url), Database(sqlite_url)
    await migrate.upgrade(service)

    async def add(database: Database, number: int) -> None:
        async with database.transaction() as tx:
            before = (await tx.connection.execute(select(func.count()).select_from(tables.key_values))).scalar_one()
            await asyncio.sleep(0)
            await tx.connection.execute(tables.key_values.insert().values(key=str(number), value=str(before)))

    await asyncio.gather(
        *(add(database, 10 * who + n) for n in range(5) for who, database in enumerate((service, command_line)))
    )

    async with service.read_only() as tx:
        seen = (await tx.connection.execute(select(tables.key_values.c.value))).scalars().all()
    assert sorted(map(int, seen)) == list(range(10)), "each saw what the one before it wrote"
    await service.close()
    await command_line.close()


# --- transactions -------------------------------------------------------------------------------------


async def test_failed_transaction_rolls_back(database: Database) -> None:
    await migrate.upgrade(database)

    async def fail(tx: Transaction) -> None:
        await tx.rooms.add(GENERAL, created_by=None)
        await tx.agents.put(SCRIBE, now_ms=1)
        await tx.inbox.add([ReceivedEvent("$1", "!room", "{}")], now_ms=1)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        async with database.transaction() as tx:
            await fail(tx)

    async with database.read_only() as tx:
        assert await tx.rooms.all() == []
        assert await tx.agents.all() == []
        assert await tx.inbox.counts() == {}
        assert (await tx.key_values.registry_changes()).version == 0


async def test_database_error_hides_parameters(database: Database) -> None:
    await migrate.upgrade(database)
    with pytest.raises(ConstraintViolated) as raised:
        async with database.transaction() as tx:
            await tx.agents.add_token("01", SCRIBE, "a secret", now_ms=1)
    assert "a secret" not in f"{raised.value} {raised.value.__cause__}"


async def test_room_takes_33000_members(database: Database) -> None:
    await migrate.upgrade(database)
    known = Member(GENERAL.id, UserId("@last:hs"), "Last")
    users = [*(UserId(f"@u{n}:hs") for n in range(33_000)), known.user_id]
    async with database.transaction() as tx:
        await tx.rooms.add(GENERAL, created_by=None)
        await tx.members.put([known])
        assert await tx.members.some(GENERAL.id, users) == [known]
        await tx.members.remove(GENERAL.id, users)
        assert await tx.members.of_room(GENERAL.id) == []


async def test_foreign_keys_are_enforced(database: Database) -> None:
    await migrate.upgrade(database)
    with pytest.raises(ConstraintViolated):
        async with database.transaction() as tx:
            await tx.agents.add_token("01", SCRIBE, "0" * 64, now_ms=1)


async def test_concurrent_sequence_numbers_have_no_gap(database: Database) -> None:
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        await tx.rooms.add(GENERAL, created_by=None)

    async def next_seq(now_ms: int) -> int:
        async with database.transaction() as tx:
            seq = await tx.rooms.next_seq(GENERAL.id, now_ms=now_ms)
            await asyncio.sleep(0)
            return seq

    async def give_back() -> None:
        async with database.transaction() as tx:
            await tx.rooms.next_seq(GENERAL.id, now_ms=5)
            raise RuntimeError

    taken = await asyncio.gather(
        *(next_seq(now_ms) for now_ms in range(25)), *(give_back() for _ in range(5)), return_exceptions=True
    )

    assert sorted(seq for seq in taken if isinstance(seq, int)) == list(range(1, 26))
    assert [await _earlier(database) for _ in range(3)] == [0, -1, -2]


async def _earlier(database: Database) -> int:
    async with database.transaction() as tx:
        return await tx.rooms.earlier_seq(GENERAL.id)


async def test_registry_version_changes_with_each_write(
    database: Database,
) -> None:
    await migrate.upgrade(database)
    token = new_token("01")
    versions = [await _version(database)]

    async def change(work: str) -> None:
        async with database.transaction() as tx:
            match work:
                case "new agent" | "agent described anew":
                    await tx.agents.put(SCRIBE, now_ms=1)
                case "new token":
                    await tx.agents.add_token(token.id, SCRIBE, token.secret_sha256, now_ms=1)
                case "token revoked":
                    assert await tx.agents.revoke_tokens(SCRIBE, None, now_ms=1) == 1
                case "new room":
                    await tx.rooms.add(GENERAL, created_by=None)
                case "room archived":
                    await tx.rooms.change(replace(GENERAL, archived=True))
        versions.append(await _version(database))

    for work in ("new agent", "agent described anew", "new token", "token revoked", "new room", "room archived"):
        await change(work)

    assert len(set(versions)) == len(versions)


async def _version(database: Database) -> int:
    async with database.read_only() as tx:
        return (await tx.key_values.registry_changes()).version


async def test_concurrent_processes_create_default_rooms(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    await migrate.upgrade(databases[0])
    seeds = [(f"room-{number}", f"Room {number}", "") for number in range(10)]
    await asyncio.gather(*(Rooms(each, lambda _: None, lambda: 0, new_id).open_missing(seeds) for each in databases))
    async with databases[0].read_only() as tx:
        assert sorted(room.slug for room in await tx.rooms.all()) == [slug for slug, _, _ in seeds]
    for each in databases:
        await each.close()


async def test_default_room_with_taken_name_is_created(database: Database) -> None:
    await migrate.upgrade(database)
    rooms = Rooms(database, lambda _: None, lambda: 0, new_id)
    await rooms.open_missing([("general", "General", "")])
    with pytest.raises(Conflict):
        await rooms.open_missing([("city_general", "General", "")])


async def test_concurrent_adds_of_one_agent_succeed(database: Database) -> None:
    await migrate.upgrade(database)

    async def add() -> None:
        async with database.transaction() as tx:
            await tx.agents.put(SCRIBE, now_ms=1)

    await asyncio.gather(*(add() for _ in range(5)))

    async with database.read_only() as tx:
        assert await tx.agents.all() == [SCRIBE]
