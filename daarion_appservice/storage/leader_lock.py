"""Elects the leader among the processes that share one database: exactly one, and another as soon as that one ends.

On PostgreSQL the leader holds a session-level advisory lock on a connection of its own. When the process dies or
freezes, the server closes the connection and frees the lock. SQLite belongs to one process, which always leads.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import DatabaseError
from .database import Database
from .driver_errors import translate_driver_errors

_TRY_EVERY_S: Final = 1.0
_CHECK_EVERY_S: Final = 1.0
_CHECK_S: Final = 5.0
"""How long the database may take to confirm that the connection with the lock is alive, in seconds."""
_KEY: Final = 0xDAA210
"""Number of the advisory lock; any number that no other lock in the database uses."""
_KEEPALIVE: Final = {"tcp_keepalives_idle": 5, "tcp_keepalives_interval": 2, "tcp_keepalives_count": 3}
"""Idle seconds, interval and number of TCP keepalives until PostgreSQL closes the connection of a dead machine."""

_SILENCE_MS: Final = 10_000
"""Idle time after which PostgreSQL closes the connection of a frozen process, in ms: the kernel of a frozen process
still answers keepalives. Longer than any check of this module takes. PostgreSQL has this setting since version 14.
"""
_END_WHEN_SILENT: Final = "SELECT set_config(name, :ms, false) FROM pg_settings WHERE name = 'idle_session_timeout'"
_TRY: Final = "SELECT pg_try_advisory_lock(:key)"
_TAKES_OVER: Final = "this one takes over when that one ends"
_NO_REQUESTS: Final = (
    "until then it must get no requests, and /readyz is 503: without redis.url the processes do not "
    "share presence; set redis.url in both, or stop one"
)

log = structlog.get_logger()


async def waiting_sessions(connection: AsyncConnection) -> int:
    """Return how many processes wait for the leader lock of this PostgreSQL database: the last statement of each tries it."""
    found = await connection.execute(
        text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND query LIKE :statement AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :key)"
        ),
        {"statement": f"{_TRY.partition('(')[0]}(%", "key": _KEY},
    )
    return int(found.scalar() or 0)


async def is_led(connection: AsyncConnection) -> bool:
    """Return whether a process holds the leader lock of this PostgreSQL database."""
    found = await connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = :key AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        ),
        {"key": _KEY},
    )
    return bool(found.scalar())


class LeaderLock:
    """The leader lock of this process."""

    def __init__(self, database: Database, *, shares_presence: bool = True) -> None:
        self._database = database
        self._shares_presence = shares_presence
        self._connection: AsyncConnection | None = None
        self.is_held = False
        self.is_elsewhere = False
        """Whether another process leads, according to the last answer of the database."""

    async def acquire(self) -> None:
        """Wait until this process is the leader."""
        is_logged = False
        while (may_lead := await self._may_lead()) is not True:
            self.is_elsewhere = may_lead is False
            if may_lead is False and not is_logged:
                if self._shares_presence:
                    log.info("another_process_leads", help=_TAKES_OVER)
                else:
                    log.warning("another_process_leads", help=f"{_TAKES_OVER}; {_NO_REQUESTS}")
                is_logged = True
            await asyncio.sleep(_TRY_EVERY_S)
        self.is_held, self.is_elsewhere = True, False
        log.info("leading")

    async def _may_lead(self) -> bool | None:
        """Return whether this process may lead; None if the database does not answer."""
        if self._database.is_sqlite:
            return True
        try:
            return await self._try()
        except DatabaseError as error:
            log.warning("leader_lock_unavailable", error=str(error), help="the database does not answer; trying again")
            return None

    async def lost(self) -> None:
        """Wait until this process is no longer the leader; indefinitely on SQLite."""
        while self._connection is not None and await self._is_ours(self._connection):  # noqa: ASYNC110 -- no event
            await asyncio.sleep(_CHECK_EVERY_S)
        if self._database.is_sqlite:
            await asyncio.Event().wait()
        log.warning("leadership_lost", help="the database was unavailable, so another process may lead now")
        await self.release()

    async def release(self) -> None:
        """Free the lock, so that another process can lead."""
        self.is_held = False
        connection, self._connection = self._connection, None
        if connection is not None:
            # Close the connection: a connection in the pool would still hold the lock.
            with suppress(DatabaseError), translate_driver_errors():
                await connection.invalidate()
            await connection.close()

    async def _try(self) -> bool:
        try:
            with translate_driver_errors():
                if self._connection is None:
                    await self._connect()
                assert self._connection is not None
                found = await self._connection.execute(text(_TRY), {"key": _KEY})
                return bool(found.scalar())
        except BaseException:
            await self.release()
            raise

    async def _connect(self) -> None:
        self._connection = connection = await self._database.dedicated()
        for name, value in _KEEPALIVE.items():
            await connection.execute(text(f"SET {name} = {value}"))
        await connection.execute(text(_END_WHEN_SILENT), {"ms": str(_SILENCE_MS)})

    async def _is_ours(self, connection: AsyncConnection) -> bool:
        try:
            with translate_driver_errors():
                async with asyncio.timeout(_CHECK_S):
                    await connection.execute(text("SELECT 1"))
        except (DatabaseError, TimeoutError):
            return False
        return True
