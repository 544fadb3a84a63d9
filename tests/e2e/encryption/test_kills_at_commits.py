"""SIGKILL of the service within each transaction of an encrypted conversation, before its commit.

A lock on a table of PostgreSQL stops the service at its first write to that table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest
import pytest_asyncio

from daarion_appservice.storage.database import Database, Transaction
from tests.parts.agents_core import answer_to
from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, EncryptedCity

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("module_database_url", ["postgresql"], indirect=True, scope="module"),
]

TABLES: Final = [
    # What a pull brings.
    "encryption_accounts",
    "encryption_olm_sessions",
    "encryption_inbound_sessions",
    # The message, decrypted.
    "encryption_message_indexes",
    "messages",
    # The devices of the person.
    "encryption_tracked_users",
    "encryption_devices",
    # The answer, encrypted, and its key.
    "encryption_outbound_sessions",
    "encryption_shared_keys",
    "encryption_to_device_outbox",
    "encryption_entries",
    # What waits to be received and to be sent.
    "inbox",
    "outbox",
]
_SHORT: Final = {
    "encryption_accounts",
    "encryption_message_indexes",
    "encryption_devices",
    "encryption_outbound_sessions",
    "outbox",
}
"""One table of each transaction."""


@dataclass(frozen=True)
class TableLock:
    """A lock on a table of PostgreSQL, held in one transaction and watched in another."""

    table: str
    watch: Transaction

    async def is_waited_for(self) -> bool:
        """Return whether a connection waits for the lock."""
        return bool(await self._waiting("count(*)"))

    async def end_waiting(self) -> None:
        """End the connections that wait: their client was killed, which PostgreSQL would not see until the lock ends."""
        await self._waiting("count(pg_terminate_backend(pid))")

    async def _waiting(self, result: str) -> int:
        sql = (
            f"SELECT {result} FROM pg_locks WHERE NOT granted AND relation = '{self.table}'::regclass "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return int((await self.watch.connection.exec_driver_sql(sql)).scalar_one())


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[TableLock]:
    """Block writes to a table."""
    database = Database(url)
    try:
        async with database.transaction() as tx, database.transaction() as watch:
            await tx.connection.exec_driver_sql(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield TableLock(table, watch)
    finally:
        await database.close()


@pytest_asyncio.fixture(loop_scope="module")
async def city(own_city: EncryptedCity) -> EncryptedCity:
    """The module's own city."""
    return own_city


@pytest.mark.parametrize(
    "table", [pytest.param(table, marks=[] if table in _SHORT else pytest.mark.soak) for table in TABLES]
)
async def test_kill_before_a_commit_loses_nothing(city: EncryptedCity, module_database_url: str, table: str) -> None:
    person = await city.arrive(city.city, f"k{TABLES.index(table)}")
    room = await person.open_chat(DAARWIZZ)
    await person.wait_for_event(
        lambda event: event.get("state_key") == DAARWIZZ and event["content"].get("membership") == "join"
    )
    async with locked(module_database_url, table) as lock:
        await person.send_text(room, "перше")
        await eventually(lock.is_waited_for, 60, lambda: "\n".join(city.city.service.last_lines(40)))
        city.city.service.kill()
        await lock.end_waiting()
    await city.start()
    await city.answer(person, room, "перше")
    await city.ask(person, room, "друге")
    city.check_answers(person, room, ["перше", "друге"])
    assert await city.bodies(room) == ["перше", answer_to("перше"), "друге", answer_to("друге")]
    city.check_encrypted(room)
