"""Links city rooms with their Matrix rooms: by room id, by the alias ``#city_<slug>``, or by a new room.

no Matrix room yet  ─► create it ─► is #city_<slug> taken? ─► adopt that room ─► linked
has a Matrix room   ─► join it ─► was it upgraded? follow ─► does #city_<slug> lead to it? ─► linked
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from ...city.identity import Identities
from ...city.member_log import MemberLog
from ...city.ports import publish_all
from ...city.types import MatrixRoomId, Room
from ...errors import HomeserverRefused, RoomLinkBroken
from ..client.homeserver import Homeserver
from ..client.room_rules import read_rules
from .reconciled_rooms import ReconciledRooms, matrix_room_of
from .room_creation import RoomCreator
from .upgrades import RoomUpgrades

log = structlog.get_logger()


@dataclass(slots=True)
class RoomLinks:
    """Creates and checks the links."""

    homeserver: Homeserver
    identities: Identities
    members: MemberLog
    creator: RoomCreator
    upgrades: RoomUpgrades
    store: ReconciledRooms
    slugs_being_resolved: set[str] = field(default_factory=set)
    """Rooms whose alias the city is looking up. The homeserver may send such a look-up back as a query."""

    async def ensure(self, room: Room) -> Room:
        """Link a room with its Matrix room, which the bot has then joined; return the stored room.

        Raises:
            RoomLinkBroken: the alias leads to another room, or an upgrade cannot be followed.
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        alias = self.identities.room_alias(room.slug)
        if room.matrix_room_id is not None and await self._rejoin(room.matrix_room_id):
            room = await self.upgrades.follow(room)
            await self._ensure_alias(room, alias)
            return room
        # A room is created without a look-up of its alias: the homeserver would send the look-up back as a query, and
        # while that is open, `alias_exists` answers no to all clients.
        matrix_room = None if room.matrix_room_id is None else await self._resolve(room.slug, alias)
        matrix_room = matrix_room or await self._create_or_adopt(room, alias)
        if other := await self._other_room_with(matrix_room, room):
            raise RoomLinkBroken(_alias_taken(alias, f"the city's room {other.slug} ({matrix_room})"))
        await self.homeserver.join(matrix_room, as_user=self.identities.bot)
        if matrix_room != room.matrix_room_id:
            log.info("room_linked", room=room.slug, alias=alias, matrix_room=matrix_room)
            await self._link(room, matrix_room)
        return await self.store.get(room)

    async def restore_alias(self, room: Room) -> bool:
        """Set the alias of a linked room, which does not exist, without a look-up; return whether it exists then.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        if room.matrix_room_id is None:
            return False
        try:
            await self._set_alias(room, self.identities.room_alias(room.slug))
        except HomeserverRefused as error:
            return error.status == 409  # A concurrent request has set it.
        return True

    async def joined_rooms(self) -> set[MatrixRoomId]:
        """Return the Matrix rooms that the bot is in."""
        return await self.homeserver.joined_rooms(as_user=self.identities.bot)

    async def misplaced(self, rooms: list[Room]) -> list[Room]:
        """Return the rooms that the bot has left or whose alias leads elsewhere, which no event may have reported."""
        joined = await self.joined_rooms()
        return [
            room
            for room in rooms
            if room.matrix_room_id not in joined
            or await self._resolve(room.slug, self.identities.room_alias(room.slug)) != room.matrix_room_id
        ]

    async def _link(self, room: Room, matrix_room: MatrixRoomId) -> None:
        rules = await read_rules(self.homeserver, matrix_room, as_user=self.identities.bot)
        async with self.store.database.transaction() as tx:
            # In the same transaction: no message counts as public before the history visibility is known.
            await tx.matrix_rooms.link(room.id, matrix_room, rules.visibility)
            await tx.rooms.set_rules(room.id, join_rule=rules.join_rule)
            # The restrictions belong to the former Matrix room.
            await tx.restrictions.delete_all(room.id)
            former_members = [member.user_id for member in await tx.members.of_room(room.id)]
            events = await self.members.leave(tx, room.id, former_members)
        publish_all(self.store.publish, events)

    async def _rejoin(self, matrix_room: MatrixRoomId) -> bool:
        """Join the bot to its room, which it may have been kicked from; return False if the room no longer exists."""
        try:
            await self.homeserver.join(matrix_room, as_user=self.identities.bot)
        except HomeserverRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _ensure_alias(self, room: Room, alias: str) -> None:
        current = await self._resolve(room.slug, alias)
        if current == room.matrix_room_id:
            return
        if current is not None:
            other = await self._other_room_with(current, room)
            raise RoomLinkBroken(_alias_taken(alias, f"the city's room {other.slug} ({current})" if other else current))
        await self._set_alias(room, alias)

    async def _set_alias(self, room: Room, alias: str) -> None:
        await self.homeserver.set_alias(alias, matrix_room_of(room), as_user=self.identities.bot)
        log.info("alias_set_again", room=room.slug, alias=alias)

    async def _other_room_with(self, matrix_room: MatrixRoomId, room: Room) -> Room | None:
        """Return the other city room that has this Matrix room."""
        async with self.store.database.read_only() as tx:
            other = await tx.rooms.by_matrix_id(matrix_room)
        return None if other is None or other.id == room.id else other

    async def _resolve(self, slug: str, alias: str) -> MatrixRoomId | None:
        self.slugs_being_resolved.add(slug)
        try:
            return await self.homeserver.room_of_alias(alias)
        finally:
            self.slugs_being_resolved.discard(slug)

    async def _create_or_adopt(self, room: Room, alias: str) -> MatrixRoomId:
        """Create the Matrix room of a city room, or return the room that has its alias."""
        try:
            return await self.creator.create_room(room, alias)
        except HomeserverRefused as error:
            existing = await self._resolve(room.slug, alias) if error.errcode == "M_ROOM_IN_USE" else None
            if existing is None:
                raise
            return existing


def _alias_taken(alias: str, other_room: str) -> str:
    return (
        f"The alias {alias} leads to another room, {other_room}: an admin of the homeserver must remove it there; the service "
        "then sets it again"
    )
