"""Whose memberships count for a reader of the city: those of their ghost, and of the Matrix account that they linked."""

from __future__ import annotations

from ..errors import InvalidInput
from .history_visibility import ReadableRanges
from .identity import Identities
from .ports import CityTransaction
from .types import Author, AuthorKind, CitizenId, Room, RoomId, SubjectId, UserId


class ReaderMemberships:
    """``who`` is None for somebody who is nobody in a room: an anonymous reader, a service, the admin token."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    async def users(self, tx: CityTransaction, who: Author | None) -> tuple[UserId, ...]:
        if who is None:
            return ()
        try:
            ghost = self._identities.author(who)
        except InvalidInput:
            return ()  # no ghost can have this id, so it is in no room
        account = await tx.accounts.of(CitizenId(who.id)) if who.kind is AuthorKind.CITIZEN else None
        return (ghost,) if account is None else (ghost, account)

    async def reading(self, tx: CityTransaction, room: Room, who: Author | None) -> ReadableRanges:
        """What they may read in one room."""
        return await tx.membership_periods.reading(room.id, await self.users(tx, who))

    async def readings(self, tx: CityTransaction, who: Author | None) -> dict[RoomId, ReadableRanges]:
        """The same for each room in which something is not for everybody and they were, or are invited."""
        return await tx.membership_periods.readings(await self.users(tx, who))

    def subjects(self, users: tuple[UserId, ...]) -> frozenset[SubjectId]:
        """As what they are seen coming and going."""
        return frozenset(subject for user in users if (subject := self._identities.subject(user)))
