"""Creates the Matrix rooms of the city and its space (client-server API, "Room Creation")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...city.identity import Identities
from ...city.types import MatrixRoomId, Room, UserId
from ..client.homeserver import Homeserver


@dataclass(frozen=True, slots=True)
class RoomCreator:
    """Creates rooms as the bot.

    Attributes:
        city_name: the name of the space.
        version: the room version of new rooms; an empty string for the homeserver's default.
        federate: ``m.federate`` of new rooms.
    """

    homeserver: Homeserver
    identities: Identities
    city_name: str
    version: str
    federate: bool

    async def create_room(self, room: Room, alias: str) -> MatrixRoomId:
        """Create a public room with the name, topic and alias of a city room.

        Raises:
            HomeserverRefused: ``M_ROOM_IN_USE`` if the alias exists.
            HomeserverUnavailable: the homeserver does not answer.
        """
        return await self._create(
            {
                "room_alias_name": alias[1:].partition(":")[0],
                "name": room.name,
                "topic": room.description,
                "creation_content": self._federation(),
            }
        )

    async def create_private_room(self, invited: Sequence[UserId] = ()) -> MatrixRoomId:
        """Create the private room of a direct chat, which is neither encrypted nor in the directory.

        Args:
            invited: Matrix users who are invited.

        Raises:
            HomeserverRefused, HomeserverUnavailable: the request failed.
        """
        return await self._create(
            {
                "preset": "private_chat",
                "visibility": "private",
                "initial_state": [_SHARED],
                "invite": list(invited),
                "is_direct": True,
                "creation_content": {"m.federate": False},
            }
        )

    async def create_space(self) -> MatrixRoomId:
        """Create the space ``#city``, in which only admins can send events.

        Raises:
            HomeserverRefused, HomeserverUnavailable: the request failed.
        """
        return await self._create(
            {
                "room_alias_name": "city",
                "name": self.city_name,
                "creation_content": {"type": "m.space"} | self._federation(),
                "power_level_content_override": {"events_default": 100},
            }
        )

    async def _create(self, request: dict[str, Any]) -> MatrixRoomId:
        common = {
            "preset": "public_chat",
            "visibility": "public",
            "initial_state": [_WORLD_READABLE],
            **({"room_version": self.version} if self.version else {}),
        }
        return await self.homeserver.create_room(common | request, as_user=self.identities.bot)

    def _federation(self) -> dict[str, Any]:
        return {} if self.federate else {"m.federate": False}


_WORLD_READABLE: dict[str, Any] = {
    "type": "m.room.history_visibility",
    "state_key": "",
    "content": {"history_visibility": "world_readable"},
}
"""The city shows its public rooms to every reader."""
_SHARED: dict[str, Any] = _WORLD_READABLE | {"content": {"history_visibility": "shared"}}
