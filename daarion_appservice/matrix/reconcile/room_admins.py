"""Makes the users of ``city.admins`` admins of the city's rooms and space, and invites them to the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from ...city.granted_levels import with_granted_levels
from ...city.identity import Identities
from ...city.power_levels import RoomPowerLevels
from ...city.types import MatrixRoomId, UserId
from ...errors import HomeserverRefused
from ..client.homeserver import Homeserver
from ..client.room_rules import change_levels

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RoomAdmins:
    """Grants power levels as the bot.

    Attributes:
        admins: the users to make admins. A user who is not named any more stays an admin: Matrix does not let a user of
            level 100, the bot before room version 12, take the level from another.
    """

    homeserver: Homeserver
    identities: Identities
    admins: tuple[UserId, ...]

    async def grant(
        self, room: MatrixRoomId, powers: RoomPowerLevels, *, with_observer: bool, more: Sequence[UserId] = ()
    ) -> RoomPowerLevels:
        """Grant the power levels that are missing; return the levels after that.

        Args:
            room: the Matrix room or the space.
            powers: its power levels.
            with_observer: whether the observer gets its level, too.
            more: other users to make admins.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        bot, observer = self.identities.bot, self.identities.observer if with_observer else None
        change = partial(with_granted_levels, bot=bot, admins=(*self.admins, *more), observer=observer)
        return await change_levels(self.homeserver, room, powers, change, as_user=bot)

    async def invite(self, space: MatrixRoomId) -> None:
        """Invite the admins who never were members of the space; who declined or left is not invited again.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        bot = self.identities.bot
        for admin in self.admins:
            try:
                if await self.homeserver.state(space, "m.room.member", admin, as_user=bot) is None:
                    await self.homeserver.invite(space, admin, as_user=bot)
            except HomeserverRefused as error:
                log.warning("admin_invitation_failed", user=admin, error=str(error), help="is city.admins right?")
