"""Counts of the rows of encryption, for administrators; no secret is read."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Label, Table, func, select

from ...city.types import AgentSlug, UserId
from ..repository import Repository
from ..tables import (
    encryption_accounts,
    encryption_inbound_sessions,
    encryption_olm_sessions,
    encryption_outbound_sessions,
    encryption_to_device_outbox,
    encryption_undecrypted,
    rooms,
)


@dataclass(frozen=True, slots=True)
class DeviceOverview:
    """The encryption device of a ghost, with the number of its sessions."""

    ghost: UserId
    device_id: str
    is_uploaded: bool
    """Whether the homeserver has the device keys and the cross-signing keys."""
    is_reset_requested: bool
    """Whether an administrator asked for a new device."""
    olm_sessions: int
    """Olm sessions with devices of people, at most five for each."""
    outbound_sessions: int
    """Rooms in which the ghost has encrypted."""
    to_device_waiting: int
    """To-device requests that are to be sent."""


@dataclass(frozen=True, slots=True)
class EncryptionTotals:
    """Counts that belong to no single ghost."""

    inbound_sessions: int
    """Megolm sessions that decrypt; all ghosts share them."""
    waiting_events: int
    """Encrypted room events that wait for their key."""
    oldest_waiting_ms: int | None
    """The time at which the oldest of them came, in milliseconds since 1970."""


class EncryptionOverviewRepository(Repository):
    """Counts over the tables of encryption."""

    async def devices(self) -> list[DeviceOverview]:
        """Return the device of each ghost that has an account, ordered by ghost."""
        columns = encryption_accounts.c
        rows = await self._connection.execute(
            select(
                columns.ghost,
                columns.device_id,
                columns.is_uploaded,
                columns.is_reset_requested,
                _count_of(encryption_olm_sessions, columns.ghost),
                _count_of(encryption_outbound_sessions, columns.ghost),
                _count_of(encryption_to_device_outbox, columns.ghost),
            ).order_by(columns.ghost)
        )
        return [DeviceOverview(UserId(row[0]), *row[1:]) for row in rows]

    async def waiting_by_agent(self) -> dict[AgentSlug, int]:
        """Return how many events wait for their key in the chats that are read as each agent, without zeros."""
        rows = await self._connection.execute(
            select(rooms.c.agent, func.count())
            .select_from(
                encryption_undecrypted.join(rooms, rooms.c.matrix_room_id == encryption_undecrypted.c.matrix_room_id)
            )
            .where(rooms.c.agent.is_not(None))
            .group_by(rooms.c.agent)
        )
        return {AgentSlug(slug): count for slug, count in rows}

    async def totals(self) -> EncryptionTotals:
        """Return the counts that belong to no single ghost."""
        inbound = await self._connection.scalar(select(func.count()).select_from(encryption_inbound_sessions))
        waiting = await self._connection.execute(
            select(func.count(), func.min(encryption_undecrypted.c.received_at_ms))
        )
        count, oldest_ms = waiting.one()
        return EncryptionTotals(int(inbound or 0), int(count), oldest_ms)


def _count_of(table: Table, ghost: ColumnElement[str]) -> Label[int]:
    return select(func.count()).select_from(table).where(table.c.ghost == ghost).scalar_subquery().label(table.name)
