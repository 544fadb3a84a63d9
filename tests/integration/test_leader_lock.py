"""The leader lock on PostgreSQL: one leader, and another one after its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from daarion_appservice.storage import leader_lock as lease_module
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.leader_lock import LeaderLock
from tests.parts.city import eventually
from tests.parts.waiting import WAIT_S


@pytest.fixture
async def databases(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Database]]:
    """As two processes have them."""
    monkeypatch.setattr(lease_module, "_TRY_EVERY_S", 0.05)
    monkeypatch.setattr(lease_module, "_CHECK_EVERY_S", 0.05)
    both = [Database(postgres_url) for _ in range(2)]
    yield both
    for database in both:
        await database.close()


@pytest.fixture
async def leases(databases: list[Database]) -> AsyncIterator[list[LeaderLock]]:
    both = [LeaderLock(database) for database in databases]
    yield both
    for lease in both:
        await lease.release()


async def test_one_process_leads_until_release(leases: list[LeaderLock]) -> None:
    one, other = leases
    await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    assert (one.is_held, other.is_held) == (True, False)
    await one.release()
    await asyncio.wait_for(waiting, WAIT_S)
    assert (one.is_held, other.is_held) == (False, True)


@pytest.mark.parametrize("shares_presence", [True, False])
async def test_standby_without_redis_gives_warning(databases: list[Database], shares_presence: bool) -> None:
    leader, standby = (LeaderLock(database, shares_presence=shares_presence) for database in databases)
    await leader.acquire()
    with capture_logs() as logs:
        waiting = asyncio.create_task(standby.acquire())

        async def logged() -> bool:
            return bool(logs)

        await eventually(logged)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await leader.release()
    await standby.release()
    assert [line["event"] for line in logs] == ["another_process_leads"]
    assert logs[0]["log_level"] == ("info" if shares_presence else "warning")
    assert ("redis.url" in logs[0]["help"]) is not shares_presence


async def test_cancelled_waiter_leaves_lock_free(leases: list[LeaderLock]) -> None:
    one, other = leases
    for pause_s in (0, 0.001, 0.003, 0.01, 0.03):
        waiting = asyncio.create_task(one.acquire())
        await asyncio.sleep(pause_s)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await one.release()
        await asyncio.wait_for(other.acquire(), WAIT_S)
        await other.release()


async def test_lost_connection_ends_leadership(databases: list[Database], leases: list[LeaderLock]) -> None:
    one, other = leases
    await one.acquire()
    losing = asyncio.create_task(one.lost())
    async with databases[1].transaction() as tx:
        await tx.connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        )
    await asyncio.wait_for(losing, WAIT_S)
    assert not one.is_held
    await asyncio.wait_for(other.acquire(), WAIT_S)


async def test_frozen_leader_is_replaced(leases: list[LeaderLock], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_SILENCE_MS", 3_000)
    one, other = leases
    await one.acquire()
    losing = asyncio.create_task(one.lost())
    await asyncio.sleep(4)
    assert not losing.done(), "whoever says a word now and then goes on leading"
    losing.cancel()
    await asyncio.wait([losing])
    await asyncio.wait_for(other.acquire(), WAIT_S)

    async def is_lost() -> bool:
        return not one.is_held

    going_on = asyncio.create_task(one.lost())
    await eventually(is_lost)
    await going_on
    assert other.is_held
