"""The ciphertexts of outgoing events between their encryption and their delivery.

An event is encrypted once: the ratchet moves on in the transaction that stores the ciphertext, and every attempt to
send the event sends the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select

from ...city.types import MatrixRoomId, UserId
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_entries as entries
from .saved_rows import COLUMNS


@dataclass(frozen=True, slots=True)
class EncryptedEntry:
    """The content of one ``m.room.encrypted`` event that is to be sent."""

    key: str
    """The Matrix transaction id of the event."""
    ghost: UserId
    room: MatrixRoomId
    session_id: str
    content: bytes
    """The JSON of the content."""


_entry: Final = RowMapper(EncryptedEntry, COLUMNS)


class EncryptedEntryRepository(Repository):
    """The table ``encryption_entries``."""

    async def get(self, key: str) -> EncryptedEntry | None:
        """Return the ciphertext of an event by the Matrix transaction id of the event."""
        row = (await self._connection.execute(select(entries).where(entries.c.key == key))).first()
        return _entry(row) if row else None

    async def add(self, entry: EncryptedEntry) -> None:
        """Store the ciphertext of an event.

        Raises:
            ConstraintViolated: The event was encrypted before; a second ciphertext would be a second event.
        """
        await self._connection.execute(insert(entries).values(_entry.values(entry)))

    async def delete_all(self, ghost: UserId) -> None:
        """Delete the ciphertexts of a ghost, whose keys were for a device that it has no longer."""
        await self._connection.execute(delete(entries).where(entries.c.ghost == ghost))

    async def delete(self, key: str) -> None:
        """Delete the ciphertext of an event that was sent or will never be sent."""
        await self._connection.execute(delete(entries).where(entries.c.key == key))
