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


class RoomPermissions:
    """What a Matrix room's moderators allow a citizen or an agent. Checks raise Forbidden if they do not allow it."""

    def __init__(self, identities: Identities, agents: AgentDirectory) -> None:
        self._identities = identities
        self._agents = agents
        self._readers = ReaderMemberships(identities)

    async def check_may_send(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden unless the author may send messages in the room."""
        await self._check_may_send(tx, room, author, "m.room.message")

    async def check_may_react(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden unless the author may react in the room."""
        await self._check_may_send(tx, room, author, "m.reaction")

    async def check_may_join(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden if the author is banned, or needs an invitation to join."""
        restriction = await self._restriction(tx, room, author)
        _check_not_banned(room, restriction)
        await self._check_can_enter(tx, room, author, restriction)

    async def check_not_removed(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden if the author is banned or was kicked."""
        _check_not_removed(room, await self._restriction(tx, room, author))

    async def reading(self, tx: CityTransaction, room: Room, author: Author) -> ReadableRanges:
        """Return the ranges of the room's history that the author may read. Raises nothing."""
        return await self._readers.reading(tx, room, author)

    async def _check_may_send(self, tx: CityTransaction, room: Room, author: Author, event_type: str) -> None:
        restriction = await self._restriction(tx, room, author)
        _check_not_removed(room, restriction)
        await self._check_can_enter(tx, room, author, restriction)
        if not may_send(room.power_levels, self._user(author), event_type):
            raise Forbidden("muted", f"the power levels of the room {room.slug} do not allow you to write")

    async def _check_can_enter(
        self, tx: CityTransaction, room: Room, author: Author, restriction: Restriction | None
    ) -> None:
        """Raise Forbidden for an author who is neither a member of a room that is not public nor invited to it."""
        if room.join_rule == "public" or self._agents.is_assigned_to(author, room):
            return
        is_invited = restriction is not None and restriction.kind is RestrictionKind.INVITED
        if not is_invited and await tx.members.get(room.id, self._user(author)) is None:
            raise Forbidden("invite_only", f"the room {room.slug} can be joined by an invitation on Matrix only")

    async def _restriction(self, tx: CityTransaction, room: Room, author: Author) -> Restriction | None:
        return await tx.restrictions.get(room.id, self._user(author))

    def _user(self, author: Author) -> UserId:
        return self._identities.author(author)


def _check_not_removed(room: Room, restriction: Restriction | None) -> None:
    _check_not_banned(room, restriction)
    if restriction is not None and restriction.kind is RestrictionKind.KICKED:
        raise Forbidden(
            "kicked", f"you were kicked from the room {room.slug}{_because(restriction)}; join it again first"
        )


def _check_not_banned(room: Room, restriction: Restriction | None) -> None:
    if restriction is not None and restriction.kind is RestrictionKind.BANNED:
        raise Forbidden("banned", f"you are banned from the room {room.slug}{_because(restriction)}")


def _because(restriction: Restriction) -> str:
    return f": {restriction.reason}" if restriction.reason else ""
