"""Permissions: whether a Matrix room's power levels, join rule and restrictions allow an author to join and to send."""

from __future__ import annotations

from ..errors import Forbidden
from .agents import AgentDirectory
from .history_visibility import ReadableRanges
from .identity import Identities
from .ports import CityTransaction
from .power_levels import may_send
from .reader_memberships import ReaderMemberships
from .restrictions import Restriction, RestrictionKind
from .types import Author, Room, UserId


class MatrixRoomPermissions:
    """Checks of the permissions of citizens and agents in rooms; see `RoomPermissions`."""

    def __init__(self, identities: Identities, agents: AgentDirectory) -> None:
        self._identities = identities
        self._agents = agents
        self._readers = ReaderMemberships(identities)

    async def check_may_send(self, tx: CityTransaction, room: Room, author: Author) -> None:
        await self._check_may_send(tx, room, author, "m.room.message")

    async def check_may_react(self, tx: CityTransaction, room: Room, author: Author) -> None:
        await self._check_may_send(tx, room, author, "m.reaction")

    async def check_may_join(self, tx: CityTransaction, room: Room, author: Author) -> None:
        stands = await self._stands(tx, room, author)
        _check_not_banned(room, stands)
        await self._check_let_in(tx, room, author, stands)

    async def check_not_removed(self, tx: CityTransaction, room: Room, author: Author) -> None:
        _check_not_put_out(room, await self._stands(tx, room, author))

    async def reading(self, tx: CityTransaction, room: Room, author: Author) -> ReadableRanges:
        return await self._readers.reading(tx, room, author)

    async def _check_may_send(self, tx: CityTransaction, room: Room, author: Author, event_type: str) -> None:
        stands = await self._stands(tx, room, author)
        _check_not_put_out(room, stands)
        await self._check_let_in(tx, room, author, stands)
        if not may_send(room.power_levels, self._user(author), event_type):
            raise Forbidden("muted", f"those who look after the room {room.slug} let you read, but not write there")

    async def _check_let_in(self, tx: CityTransaction, room: Room, author: Author, stands: Restriction | None) -> None:
        """Raise Forbidden for an author who is neither a member of a room that is not public nor invited to it."""
        if room.join_rule == "public" or self._agents.lives_in(author, room):
            return
        is_invited = stands is not None and stands.kind is RestrictionKind.INVITED
        if not is_invited and await tx.members.get(room.id, self._user(author)) is None:
            raise Forbidden("invite_only", f"only those whom somebody invites on Matrix come into the room {room.slug}")

    async def _stands(self, tx: CityTransaction, room: Room, author: Author) -> Restriction | None:
        return await tx.restrictions.get(room.id, self._user(author))

    def _user(self, author: Author) -> UserId:
        return self._identities.author(author)


def _check_not_put_out(room: Room, stands: Restriction | None) -> None:
    _check_not_banned(room, stands)
    if stands is not None and stands.kind is RestrictionKind.KICKED:
        raise Forbidden("kicked", f"you were put out of the room {room.slug}{_because(stands)}; join it again first")


def _check_not_banned(room: Room, stands: Restriction | None) -> None:
    if stands is not None and stands.kind is RestrictionKind.BANNED:
        raise Forbidden("banned", f"you are banned from the room {room.slug}{_because(stands)}")


def _because(stands: Restriction) -> str:
    return f": {stands.reason}" if stands.reason else ""
