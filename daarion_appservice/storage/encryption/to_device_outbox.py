"""To-device messages between the commit of their ratchets and their delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import delete, func, insert, select

from ...city.types import UserId
from ...json_encoding import encode_json
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_to_device_outbox as outbox


@dataclass(frozen=True, slots=True)
class ToDeviceRow:
    """One request ``PUT /sendToDevice/{event_type}/{txn_id}`` of a ghost."""

    id: int
    ghost: UserId
    event_type: str
    txn_id: str
    messages: dict[str, dict[str, Any]]
    """Contents by user id and device id."""


_row: Final = RowMapper(ToDeviceRow, messages=lambda row: orjson.loads(row.messages))


class ToDeviceOutboxRepository(Repository):
    """The table ``encryption_to_device_outbox``."""

    async def add(
        self, ghost: UserId, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]], *, now_ms: int
    ) -> int:
        """Store a request that is to be sent.

        Args:
            ghost: The sender.
            event_type: The type of the to-device events.
            txn_id: The Matrix transaction id, unique for the ghost and the type.
            messages: Contents by user id and device id.
            now_ms: The time now.

        Returns:
            The id of the row; a later row of a ghost has a higher id.

        Raises:
            ConstraintViolated: A waiting request has the same transaction id.
        """
        values = {
            "ghost": ghost,
            "event_type": event_type,
            "txn_id": txn_id,
            "messages": encode_json(messages).decode(),
            "created_at_ms": now_ms,
        }
        added = await self._connection.execute(insert(outbox).values(values).returning(outbox.c.id))
        return int(added.scalar_one())

    async def waiting(self, ghost: UserId) -> list[ToDeviceRow]:
        """Return the requests of a ghost in the order in which they were stored."""
        rows = await self._connection.execute(select(outbox).where(outbox.c.ghost == ghost).order_by(outbox.c.id))
        return [_row(row) for row in rows]

    async def ghosts_waiting(self) -> list[UserId]:
        """Return the ghosts with requests that wait, the one with the oldest request first."""
        ghosts = await self._connection.scalars(
            select(outbox.c.ghost).group_by(outbox.c.ghost).order_by(func.min(outbox.c.id))
        )
        return [UserId(ghost) for ghost in ghosts]

    async def delete_all(self, ghost: UserId) -> None:
        """Delete all requests of a ghost: they name a device that it has no longer."""
        await self._connection.execute(delete(outbox).where(outbox.c.ghost == ghost))

    async def delete(self, row_id: int) -> None:
        """Delete a request that was sent or will never be sent."""
        await self._connection.execute(delete(outbox).where(outbox.c.id == row_id))
