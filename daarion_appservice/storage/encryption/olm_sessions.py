"""The Olm sessions of ghosts with devices, and the times of their recoveries."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import delete, select

from ...city.types import UserId
from ...encryption.rows import OlmSessionRow
from ..parameter_lists import parts
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_devices
from ..tables import encryption_olm_recoveries as recoveries
from ..tables import encryption_olm_sessions as sessions
from .saved_rows import save_rows

_session: Final = RowMapper(OlmSessionRow)
_NEWEST_FIRST: Final = (sessions.c.used_at_ms.desc(), sessions.c.session_id.desc())


class OlmSessionRepository(Repository):
    """The tables ``encryption_olm_sessions`` and ``encryption_olm_recoveries``."""

    async def with_device(self, ghost: UserId, curve25519: str) -> list[OlmSessionRow]:
        """Return the sessions of a ghost with a device, the one used last first."""
        rows = await self._connection.execute(
            select(sessions)
            .where(sessions.c.ghost == ghost, sessions.c.curve25519 == curve25519)
            .order_by(*_NEWEST_FIRST)
        )
        return [_session(row) for row in rows]

    async def with_devices(self, ghost: UserId, curves: Collection[str]) -> dict[str, list[OlmSessionRow]]:
        """Return the sessions of a ghost with each of these devices, the one used last first.

        Args:
            curves: The identity keys of the devices. Those without a session have an empty list.
        """
        found: dict[str, list[OlmSessionRow]] = {curve25519: [] for curve25519 in curves}
        for part in parts(curves):
            rows = await self._connection.execute(
                select(sessions)
                .where(sessions.c.ghost == ghost, sessions.c.curve25519.in_(part))
                .order_by(*_NEWEST_FIRST)
            )
            for session in map(_session, rows):
                found[session.curve25519].append(session)
        return found

    async def save(self, rows: Iterable[OlmSessionRow]) -> None:
        """Store sessions, or replace the stored ones."""
        await save_rows(self._connection, sessions, map(_session.values, rows))

    async def delete(self, rows: Iterable[OlmSessionRow]) -> None:
        """Delete sessions."""
        for row in rows:
            await self._connection.execute(
                delete(sessions).where(
                    sessions.c.ghost == row.ghost,
                    sessions.c.curve25519 == row.curve25519,
                    sessions.c.session_id == row.session_id,
                )
            )

    async def prune(self, before_ms: int) -> None:
        """Delete sessions that were last used before a time, with keys that no known device has.

        Anybody can start sessions with any number of invented identity keys.

        Args:
            before_ms: Milliseconds since 1970.
        """
        known = select(encryption_devices.c.curve25519)
        await self._connection.execute(
            delete(sessions).where(sessions.c.used_at_ms < before_ms, sessions.c.curve25519.not_in(known))
        )

    async def delete_all(self, ghost: UserId) -> None:
        """Delete all sessions of a ghost and the times of its recoveries."""
        for table in (sessions, recoveries):
            await self._connection.execute(delete(table).where(table.c.ghost == ghost))

    async def last_recovery(self, ghost: UserId, curve25519: str) -> int | None:
        """Return when a ghost last started a new session with a device whose messages it was not able to decrypt.

        Returns:
            Milliseconds since 1970; None if it never did.
        """
        at_ms: int | None = await self._connection.scalar(
            select(recoveries.c.at_ms).where(recoveries.c.ghost == ghost, recoveries.c.curve25519 == curve25519)
        )
        return at_ms

    async def set_recovery(self, ghost: UserId, curve25519: str, at_ms: int) -> None:
        """Store the time of a recovery in milliseconds since 1970."""
        row = {"ghost": ghost, "curve25519": curve25519, "at_ms": at_ms}
        await save_rows(self._connection, recoveries, [row])
