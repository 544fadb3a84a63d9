"""Transactions that write the same rows of encryption at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption.errors import ReplayedMessage
from daarion_appservice.storage.database import Database, Transaction
from tests.parts.encryption_rows import (
    ALICE,
    BOB,
    LAST_INDEX,
    OTHER_CURVE,
    OTHER_SESSION,
    ROOM,
    SCRIBE,
    SESSION,
    account_row,
    device_row,
    inbound_row,
    index_row,
    outbound_row,
    undecrypted_row,
)
from tests.parts.encryption_tables import stored_accounts, undecrypted_of

Write = Callable[[Transaction], Awaitable[object]]
_WAIT_S = 0.2
"""The time in which the second transaction reaches the row that the first one has locked."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def overlapping(database: Database, first: Write, second: Write) -> None:
    """Run the second write while the transaction of the first is open.

    Raises:
        Exception: The second write failed.
    """

    async def write() -> None:
        async with database.transaction() as tx:
            await second(tx)

    async with database.transaction() as tx:
        await first(tx)
        task = asyncio.create_task(write())
        await asyncio.wait([task], timeout=_WAIT_S)
    await task


async def test_later_save_of_account_wins(database: Database) -> None:
    first, second = account_row(pickle="first"), account_row(pickle="second")
    await overlapping(
        database, lambda tx: tx.encryption_accounts.save(first), lambda tx: tx.encryption_accounts.save(second)
    )
    async with database.read_only() as tx:
        assert [stored.account for stored in await stored_accounts(tx)] == [second]


async def test_later_outbound_session_wins(database: Database) -> None:
    await overlapping(
        database,
        lambda tx: tx.megolm_sessions.save_outbound(outbound_row()),
        lambda tx: tx.megolm_sessions.save_outbound(outbound_row(OTHER_SESSION)),
    )
    async with database.read_only() as tx:
        assert await tx.megolm_sessions.outbound(SCRIBE, ROOM) == outbound_row(OTHER_SESSION)


async def test_one_of_two_events_gets_the_index(database: Database) -> None:
    with pytest.raises(ReplayedMessage):
        await overlapping(
            database,
            lambda tx: tx.megolm_sessions.add_index(index_row("$1")),
            lambda tx: tx.megolm_sessions.add_index(index_row("$2")),
        )
    async with database.read_only() as tx:
        assert await tx.megolm_sessions.index(ROOM, SESSION, ALICE, LAST_INDEX) == index_row("$1")


async def test_devices_of_two_replacements_are_not_mixed(database: Database) -> None:
    laptop = device_row(device_id="LAPTOP", curve25519=OTHER_CURVE)
    await overlapping(
        database,
        lambda tx: tx.encryption_devices.replace(ALICE, [device_row()]),
        lambda tx: tx.encryption_devices.replace(ALICE, [laptop]),
    )
    async with database.read_only() as tx:
        assert await tx.encryption_devices.of_users([ALICE]) == {ALICE: {"LAPTOP": laptop}}


async def test_two_changes_of_device_list_both_count(database: Database) -> None:
    await overlapping(
        database,
        lambda tx: tx.encryption_devices.add_stale([ALICE, BOB]),
        lambda tx: tx.encryption_devices.add_stale([BOB, ALICE]),
    )
    async with database.read_only() as tx:
        assert await tx.encryption_devices.changes([ALICE, BOB]) == {ALICE: 2, BOB: 2}


async def test_event_of_two_transactions_is_stored_once(database: Database) -> None:
    await overlapping(
        database, lambda tx: tx.undecrypted.add(undecrypted_row()), lambda tx: tx.undecrypted.add(undecrypted_row())
    )
    async with database.read_only() as tx:
        assert await undecrypted_of(tx, ROOM) == [undecrypted_row()]


async def test_opposite_orders_of_rows_do_not_deadlock(database: Database) -> None:
    rows = [inbound_row(str(number)) for number in range(300)]
    users = [UserId(f"@u{number}:x") for number in range(300)]

    async def save(order: int) -> None:
        async with database.transaction() as tx:
            await tx.megolm_sessions.save_inbound(rows[::order])

    async def add(order: int) -> None:
        async with database.transaction() as tx:
            await tx.encryption_devices.add_stale(users[::order])

    for write in (save, add):
        await asyncio.gather(*(write(order) for order in (1, -1) * 4))
    async with database.read_only() as tx:
        assert await tx.encryption_devices.changes(users) == dict.fromkeys(users, 8)


async def test_marking_and_replacing_lists_never_deadlocks(database: Database) -> None:
    """The rows lie on the disk in another order than that of the replacements."""
    users = [UserId(f"@u{number}:x") for number in range(300)]
    async with database.transaction() as tx:
        for user in reversed(users):
            await tx.encryption_devices.add_stale([user])

    async def replace_all() -> None:
        async with database.transaction() as tx:
            for user in sorted(users):
                await tx.encryption_devices.replace(user, [])

    async def mark() -> None:
        async with database.transaction() as tx:
            await tx.encryption_devices.mark_stale(set(users))

    async def mark_all() -> None:
        async with database.transaction() as tx:
            await tx.encryption_devices.mark_all_stale()

    for _ in range(3):
        await asyncio.gather(replace_all(), mark(), replace_all(), mark_all())
