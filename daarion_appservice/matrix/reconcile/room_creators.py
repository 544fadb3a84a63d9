"""The power level of a room's creator, which the reconciler grants once: to the ghost and the linked Matrix account."""

from __future__ import annotations

from dataclasses import dataclass

from ...city.identity import Identities
from ...city.reader_memberships import ReaderMemberships
from ...city.types import Author, AuthorKind, RoomId, UserId
from ...storage.database import Database


@dataclass(frozen=True, slots=True)
class RoomCreators:
    """Determines who created a room in the city and has not got the power level yet."""

    database: Database
    identities: Identities

    async def without_level(self, room: RoomId) -> tuple[UserId, ...]:
        """Return the Matrix users of the creator; none if the level is granted, or if the creator has left the room."""
        readers = ReaderMemberships(self.identities)
        async with self.database.read_only() as tx:
            creator = await tx.matrix_rooms.creator_without_level(room)
            author = None if creator is None else Author(AuthorKind.CITIZEN, creator, creator)
            users = await readers.users(tx, author)
            periods = await tx.membership_periods.readable_ranges(room, users)
        return users if periods.is_empty or periods.is_member else ()

    async def note_level(self, room: RoomId) -> None:
        """Note that the creator needs no level any more, which moderators may change from then on."""
        async with self.database.transaction() as tx:
            if await tx.matrix_rooms.creator_without_level(room) is not None:
                await tx.matrix_rooms.note_level_of_creator(room)
