"""Transactions with deferred writes that are cancelled or fail at any point are stored as a whole or not at all."""

from __future__ import annotations

import asyncio
import random

from sqlalchemy import insert, select

from daarion_appservice.city.types import OutboxKind
from daarion_appservice.errors import DatabaseError
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.tables import key_values, outbox

_WRITES = 4
_RUNS = 150


async def write(tx: Transaction, run: int, chance: random.Random) -> None:
    for number in range(_WRITES):
        name = f"{run}-{number}"
        if chance.random() < 0.7:
            values = {"kind": OutboxKind.JOIN, "user_id": "@ghost:city", "room_id": "room", "txn_id": name}
            await tx.outbox._write(insert(outbox).inline(), values)
        else:
            await tx.outbox._write(insert(key_values).inline(), {"key": f"fuzz:{name}", "value": name})
        match chance.randrange(6):
            case 0:
                await tx.connection.execute(select(outbox.c.id).limit(1))
            case 1:
                await asyncio.sleep(0)
            case 2 if chance.random() < 0.1:
                raise ZeroDivisionError
            case 3 if chance.random() < 0.1:
                await tx.outbox._write(insert(key_values).inline(), {"key": f"fuzz:{name}", "value": None})


async def attempt(database: Database, run: int, seed: int) -> bool:
    try:
        async with database.transaction() as tx:
            await write(tx, run, random.Random(seed))
    except (ZeroDivisionError, DatabaseError):
        return False
    return True


async def test_each_transaction_is_stored_as_a_whole(database_url: str) -> None:
    chance = random.Random(1)
    database = Database(database_url, pool_size=3)
    kept: set[int] = set()
    cancelled: set[int] = set()
    try:
        await migrate.upgrade(database)
        for first in range(0, _RUNS, 5):
            tasks = {run: asyncio.create_task(attempt(database, run, run)) for run in range(first, first + 5)}
            for run, task in tasks.items():
                if chance.random() < 0.4:
                    for _ in range(chance.randrange(60)):
                        await asyncio.sleep(0)
                    if task.cancel():
                        cancelled.add(run)
            for run, task in tasks.items():
                try:
                    if await task:
                        kept.add(run)
                        cancelled.discard(run)
                except asyncio.CancelledError:
                    pass
        async with database.read_only() as tx:
            names = list(await tx.connection.scalars(select(outbox.c.txn_id).order_by(outbox.c.id)))
            names += list(
                await tx.connection.scalars(select(key_values.c.value).where(key_values.c.key.startswith("fuzz:")))
            )
        found: dict[int, list[int]] = {}
        for name in names:
            run, number = map(int, name.split("-"))
            found.setdefault(run, []).append(number)
        assert all(sorted(numbers) == list(range(_WRITES)) for numbers in found.values()), found
        assert kept <= found.keys() <= kept | cancelled
        assert database.pool_usage.in_use == 0
    finally:
        await database.close()
