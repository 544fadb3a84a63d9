"""What Matrix clients show of the city's rooms and space beside name and topic: avatar and service members.

``io.element.functional_members`` (MSC4171, ``m.member_hints``) names the bot and the observer. Clients do not count them
when they name a room by its members or decide whether it is a direct chat; the member list shows them all the same, as the
MSC requires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...city.avatars import DrawnAvatar
from ...city.identity import Identities
from ...city.power_levels import RoomPowerLevels
from ...city.types import MatrixRoomId
from ..avatars.drawing import MIMETYPE, SIZE
from ..avatars.drawn_avatars import DrawnAvatars
from ..client.homeserver import Homeserver
from ..client.room_rules import SERVICE_MEMBERS, avatar_in

AVATAR: Final = "m.room.avatar"


@dataclass(frozen=True, slots=True)
class RoomAppearance:
    """Sends both as the bot, where the bot has the power level for it."""

    homeserver: Homeserver
    identities: Identities
    drawn_avatars: DrawnAvatars

    async def update_avatar(self, room: MatrixRoomId, avatar: DrawnAvatar, powers: RoomPowerLevels) -> str | None:
        """Set the avatar, unless the room has one that the service did not draw; an invalid one is replaced.

        Returns:
            The ``mxc://`` URI of the avatar that the service did not draw, or None.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        bot = self.identities.bot
        content = await self.homeserver.state(room, AVATAR, as_user=bot) or {}
        current = avatar_in(content)
        if current is not None and not await self.drawn_avatars.is_drawn(current):
            return current
        if not self._may_send(AVATAR, powers):
            return None
        mxc = await self.drawn_avatars.address(avatar, current=current)
        if mxc is not None and mxc != current:
            info = {"mimetype": MIMETYPE, "w": SIZE, "h": SIZE}
            await self.homeserver.set_state(room, AVATAR, {"url": mxc, "info": info}, as_user=bot)
        return None

    async def update_service_members(self, room: MatrixRoomId, powers: RoomPowerLevels) -> None:
        """Name the bot and the observer as service members, which clients leave out of the name of a room.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        if self._may_send(SERVICE_MEMBERS, powers):
            await self._update_service_members(room)

    def _may_send(self, event_type: str, powers: RoomPowerLevels) -> bool:
        return powers.of(self.identities.bot) >= powers.to_send(event_type, is_state=True)

    async def _update_service_members(self, room: MatrixRoomId) -> None:
        bot, ours = self.identities.bot, [self.identities.bot, self.identities.observer]
        content: dict[str, Any] = await self.homeserver.state(room, SERVICE_MEMBERS, as_user=bot) or {}
        named = content.get("service_members")
        named = named if isinstance(named, list) else []
        if missing := [user for user in ours if user not in named]:
            wanted = content | {"service_members": [*named, *missing]}
            await self.homeserver.set_state(room, SERVICE_MEMBERS, wanted, as_user=bot)
