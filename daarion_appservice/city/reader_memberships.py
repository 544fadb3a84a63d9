"""A reader's memberships and restrictions: those of the reader's ghost and of the linked Matrix account."""

from __future__ import annotations

from ..errors import InvalidInput
from .history_visibility import ReadableRanges
from .identity import Identities
from .ports import CityTransaction
from .restrictions import Restriction, strictest
from .types import Author, AuthorKind, CitizenId, Room, RoomId, SubjectId, UserId


class ReaderMemberships:
    """Finds what readers may read, and what restricts them.

    ``who`` is None for a reader without memberships: anonymous, a service, the admin token.
    """

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    async def users(self, tx: CityTransaction, who: Author | None) -> tuple[UserId, ...]:
        """Return the Matrix users of a reader: the ghost first, then the linked account."""
        if who is None or (ghost := self._ghost(who)) is None:
            return ()
        account = await tx.accounts.of(CitizenId(who.id)) if who.kind is AuthorKind.CITIZEN else None
        return (ghost,) if account is None else (ghost, account)

    def authors(self, who: Author | None) -> tuple[Author, ...]:
        """Return the authors whose messages are the reader's own."""
        return () if who is None else self._identities.accounts.authors_of(who)

    async def readable_ranges(self, tx: CityTransaction, room: Room, who: Author | None) -> ReadableRanges:
        """Return what the reader may read in one room."""
        return await tx.membership_periods.readable_ranges(room.id, await self.users(tx, who))

    async def ranges_by_room(self, tx: CityTransaction, who: Author | None) -> dict[RoomId, ReadableRanges]:
        """Return the same for each room with private history that the reader was a member of or invited to."""
        return await tx.membership_periods.ranges_by_room(await self.users(tx, who))

    async def restriction(self, tx: CityTransaction, room: RoomId, who: Author | None) -> Restriction | None:
        """Return what restricts the reader in a room: a ban or kick of one of the users is one of the person."""
        return (await self.users_and_restriction(tx, room, who))[1]

    async def users_and_restriction(
        self, tx: CityTransaction, room: RoomId, who: Author | None
    ) -> tuple[tuple[UserId, ...], Restriction | None]:
        """Return ``users`` and ``restriction``, which one statement reads."""
        if who is None or (ghost := self._ghost(who)) is None:
            return (), None
        if who.kind is not AuthorKind.CITIZEN:
            return (ghost,), await tx.restrictions.get(room, ghost)
        account, restrictions = await tx.restrictions.of_person(room, ghost, CitizenId(who.id))
        users = (ghost,) if account is None else (ghost, account)
        return users, strictest([restrictions.get(user) for user in users])

    def _ghost(self, who: Author) -> UserId | None:
        try:
            return self._identities.author(who)
        except InvalidInput:
            return None  # no ghost can have this id, so the id has no membership

    def subjects(self, users: tuple[UserId, ...]) -> frozenset[SubjectId]:
        """Return the subjects of these users in joins and leaves."""
        return frozenset(subject for user in users if (subject := self._identities.subject(user)))
