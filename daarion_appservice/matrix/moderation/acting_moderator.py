"""The moderator of a room who makes one change: with which power level, and as which Matrix user.

A citizen or agent whose ghost has the power level acts as this ghost, so that Matrix clients show who it was. For an admin of
the city, and for a person who has the level by a linked Matrix account only, the bot acts: the service cannot act as that
account.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import orjson

from ...city.identity import Identities
from ...city.message_lookup import may_know_room
from ...city.moderation_rights import ALL_RIGHTS, ModerationRights, rights_of
from ...city.permissions import RoomPermissions
from ...city.power_levels import RoomPowerLevels
from ...city.room_deletions import check_not_being_deleted
from ...city.types import Author, MatrixRoomId, MatrixStatus, Room, UserId
from ...errors import (
    CityError,
    Conflict,
    Forbidden,
    HomeserverRefused,
    NotFound,
    Unavailable,
)
from ...storage.database import Database
from ..client.error_translation import RETRY_S, translate_homeserver_errors
from ..client.homeserver import Homeserver
from ..client.refusals import is_transient
from ..client.room_rules import read_rules


@dataclass(frozen=True, slots=True)
class ActingModerator:
    """A moderator in one room, with the power levels that the homeserver has at the time of the request."""

    room: Room
    matrix_room: MatrixRoomId
    powers: RoomPowerLevels
    level: float
    """The person's power level; infinite for an admin of the city."""
    rights: ModerationRights
    users: tuple[UserId, ...]
    """The users to act as: the ghost if it has the level itself, and then the bot."""

    async def act(self, request: Callable[[UserId], Awaitable[object]]) -> None:
        """Make a request as the first of the users whom the homeserver does not refuse it.

        Raises:
            CityError: the homeserver refuses the request, or does not respond.
        """
        with translate_moderation_errors():
            for user in self.users:
                try:
                    await request(user)
                except HomeserverRefused as error:
                    # The ghost may not have joined the Matrix room yet.
                    if error.status != 403 or user == self.users[-1]:
                        raise
                else:
                    return

    async def act_on(self, users: Collection[UserId], request: Callable[[UserId, UserId], Awaitable[None]]) -> None:
        """Make a request about each of ``users``; ``request`` gets this user and the one to act as. Raises as `act`."""
        for user in users:
            await self.act(partial(request, user))


@dataclass(frozen=True, slots=True)
class Moderators:
    """Determines what an author may change in a room."""

    database: Database
    homeserver: Homeserver
    identities: Identities
    permissions: RoomPermissions

    async def moderator(self, author: Author, room_id: str, *, is_admin: bool) -> ActingModerator:
        """Return a member as a moderator of a room, whatever the member's rights are.

        Args:
            author: the citizen or agent.
            room_id: id or slug of the room.
            is_admin: whether the author is an admin of the city, who has all rights.

        Raises:
            NotFound: there is no such room, or the author may not know of it.
            Conflict: the room is archived, being deleted, or not linked with a Matrix room.
            Forbidden: the author is not a member, or the room is a direct chat.
            CityError: the homeserver refuses the request, or does not respond.
        """
        room = await self._room(author, room_id, is_admin=is_admin)
        assert room.matrix_room_id is not None
        with translate_moderation_errors():
            rules = await read_rules(self.homeserver, room.matrix_room_id, as_user=self.identities.bot)
        async with self.database.read_only() as tx:
            own = await self.permissions.moderator_level(tx, room, author, rules.powers)
            ghost = self.identities.author(author)
            is_member = own is not None and await tx.members.get(room.id, ghost) is not None
        if own is None and not is_admin:
            raise power_too_low(room)
        level = math.inf if is_admin or own is None else own
        acts_itself = is_member and rules.powers.of(ghost) == level
        return ActingModerator(
            room,
            room.matrix_room_id,
            rules.powers,
            level,
            ALL_RIGHTS if is_admin else rights_of(rules.powers, level),
            (ghost, self.identities.bot) if acts_itself else (self.identities.bot,),
        )

    async def _room(self, author: Author, room_id: str, *, is_admin: bool) -> Room:
        async with self.database.read_only() as tx:
            room = await tx.rooms.find(room_id)
            if room is None or not (is_admin or await may_know_room(tx, room, author, self.permissions)):
                raise NotFound("no_such_room", f"there is no room {room_id!r}")
            stored = RoomPowerLevels(orjson.loads(room.power_levels))
            is_member = await self.permissions.moderator_level(tx, room, author, stored) is not None
        # Before any request to the homeserver, which a person without membership cannot cause.
        if room.is_direct or not (is_admin or is_member):
            raise power_too_low(room)
        if room.archived:
            async with self.database.read_only() as tx:
                await check_not_being_deleted(tx, room)
            raise Conflict("room_archived", f"the room {room.slug} is archived: restore it first")
        if room.matrix_room_id is None or room.matrix_status is not MatrixStatus.LINKED:
            raise Conflict("room_not_linked", f"the room {room.slug} is not linked with its Matrix room yet; try again")
        return room


def power_too_low(room: Room) -> Forbidden:
    return Forbidden("power_too_low", f"your power level in the room {room.slug} does not allow this")


def translate_moderation_errors() -> AbstractContextManager[None]:
    """Translate the errors of the homeserver that are raised in the block into errors of the city."""
    return translate_homeserver_errors(
        _refused,
        unavailable="the homeserver does not respond; try again",
        rate_limited="the homeserver limits the rate of changes",
    )


def _refused(error: HomeserverRefused) -> CityError:
    if is_transient(error):
        return Unavailable(
            "homeserver_unavailable", "the homeserver cannot do this at the moment; try again", retry_after_s=RETRY_S
        )
    return Forbidden("homeserver_refused", f"the homeserver refuses this: {error.message}")
