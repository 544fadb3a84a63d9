"""The city's space ``#city``: the parent of all rooms that are not archived (client-server API, "Spaces")."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from ...city.avatars import Emblem, EmblemAvatar
from ...city.identity import Identities
from ...city.types import MatrixRoomId, Room
from ...errors import HomeserverRefused
from ..client.homeserver import Homeserver
from ..client.room_rules import read_rules
from .reconciled_rooms import ReconciledRooms, matrix_room_of
from .room_admins import RoomAdmins
from .room_appearance import RoomAppearance
from .room_creation import RoomCreator

log = structlog.get_logger()


@dataclass(slots=True)
class CitySpace:
    """Creates the space, and adds and removes its rooms."""

    homeserver: Homeserver
    identities: Identities
    creator: RoomCreator
    store: ReconciledRooms
    admins: RoomAdmins
    appearance: RoomAppearance
    is_set_up: bool = False
    """Whether avatar and admins have been set since the start of the reconciler."""
    id: MatrixRoomId | None = None
    """None until ``ensure`` has found or created the space."""

    async def ensure(self) -> MatrixRoomId:
        """Return the space, and create it if there is none.

        The first call after the start asks the homeserver; later calls return the same room.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the bot may not create or join the space, or the alias is an ordinary room's.
        """
        if self.id is not None:
            return self.id
        alias = self.identities.space_alias
        space = await self.homeserver.room_of_alias(alias)
        if space is None:
            space = await self.creator.create_space()
            log.info("space_created", alias=alias, room=space)
        else:
            await self.homeserver.join(alias, as_user=self.identities.bot)
            await self._check_is_space(space)
        self.id = space
        return space

    async def set_up(self) -> None:
        """Set the avatar and the admins of the space, which ``ensure`` has found, once.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        if self.is_set_up or self.id is None:
            return
        rules = await read_rules(self.homeserver, self.id, as_user=self.identities.bot)
        powers = await self.admins.grant(self.id, rules.powers, with_observer=False)
        await self.admins.invite(self.id)
        await self.appearance.update_avatar(self.id, EmblemAvatar(Emblem.CITY), powers)
        await self.appearance.update_service_members(self.id, powers)
        self.is_set_up = True

    async def _check_is_space(self, room: MatrixRoomId) -> None:
        create_event = await self.homeserver.state(room, "m.room.create", as_user=self.identities.bot) or {}
        if create_event.get("type") != "m.space":
            raise HomeserverRefused(
                409,
                "DAARION_NOT_A_SPACE",
                f"{self.identities.space_alias} is an ordinary room, and the city's space needs that alias: remove the alias "
                "from the room (in Element: room settings, local addresses)",
            )

    async def update_child(self, room: Room) -> None:
        """Make a room a child of the space, or remove it if it is archived, and remove the rooms that it replaced.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        applied, matrix_room = await self.store.applied_state(room), matrix_room_of(room)
        parent = None if room.archived else self.id
        if self.id is None or applied.in_space == parent:
            return
        if parent is None:
            await self._remove_child(self.id, matrix_room)
        else:
            await self._add_child(parent, matrix_room, is_suggested=room.is_default)
        await self._remove_former_children(room, self.id)
        await self.store.set_applied_state(room, replace(applied, in_space=parent))

    async def _add_child(self, space: MatrixRoomId, child: MatrixRoomId, *, is_suggested: bool) -> None:
        bot, via = self.identities.bot, [self.identities.domain]
        content = {"via": via, "suggested": is_suggested}
        await self.homeserver.set_state(space, "m.space.child", content, child, as_user=bot)
        parent = {"via": via, "canonical": True}
        await self.homeserver.set_state(child, "m.space.parent", parent, space, as_user=bot)

    async def _remove_child(self, space: MatrixRoomId, child: MatrixRoomId) -> None:
        await self.homeserver.set_state(space, "m.space.child", {}, child, as_user=self.identities.bot)

    async def _remove_former_children(self, room: Room, space: MatrixRoomId) -> None:
        async with self.store.database.read_only() as tx:
            former = await tx.matrix_rooms.former_of(room.id)
        for each in former:
            if await self.homeserver.state(space, "m.space.child", each, as_user=self.identities.bot):
                await self._remove_child(space, each)
