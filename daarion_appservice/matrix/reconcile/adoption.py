"""Adoption: makes an existing Matrix room the Matrix room of a new city room."""

from __future__ import annotations

from ...city.identity import Identities
from ...city.rooms import Rooms, check_slug, name_from_matrix
from ...city.text_sanitizing import MAX_TOPIC_CHARS, storable
from ...city.types import MatrixRoomId, Room
from ...errors import Conflict, HomeserverRefused, NotFound
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.room_rules import read_rules
from .rooms import MatrixRooms


class Adoption:
    """Adopts Matrix rooms, for ``room adopt``."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        rooms: Rooms,
        matrix_rooms: MatrixRooms,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._rooms = rooms
        self._matrix_rooms = matrix_rooms

    async def adopt(self, id_or_alias: str, slug: str) -> Room:
        """Open a city room for an existing Matrix room, which gets the alias ``#city_<slug>``.

        Args:
            id_or_alias: the Matrix room; the bot must be able to join it.
            slug: the slug of the new city room.

        Raises:
            NotFound: the homeserver knows no such room.
            Conflict: the bot may not join, the room or the slug belongs to a city room, or the alias is taken.
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        check_slug(slug)
        matrix_room, bot = await self._join(id_or_alias), self._identities.bot
        async with self._database.transaction() as tx:
            await tx.direct_chats.replace_by_city_room(matrix_room)
            if existing := await tx.rooms.by_matrix_id(matrix_room):
                raise Conflict("adopted_already", f"{id_or_alias} is the room {existing.slug} already")
            if await tx.rooms.find(slug):
                raise Conflict("slug_taken", f"there is a room with the slug {slug!r} already")
        # The alias first: a running service may reconcile the new room at once, and must find the alias.
        await self._take_alias(matrix_room, slug)
        name = await self._homeserver.state(matrix_room, "m.room.name", as_user=bot) or {}
        topic = await self._homeserver.state(matrix_room, "m.room.topic", as_user=bot) or {}
        rules = await read_rules(self._homeserver, matrix_room, as_user=bot)
        room = await self._rooms.open(
            name_from_matrix(str(name.get("name") or ""), slug),
            storable(str(topic.get("topic", "")))[:MAX_TOPIC_CHARS],
            slug=slug,
            matrix_room=matrix_room,
            join_rule=rules.join_rule,
            history_visibility=rules.visibility,
        )
        return await self._matrix_rooms.reconcile(room)

    async def _join(self, id_or_alias: str) -> MatrixRoomId:
        bot = self._identities.bot
        try:
            return await self._homeserver.join(id_or_alias, as_user=bot)
        except HomeserverRefused as error:
            if error.status == 404:
                raise NotFound("no_such_matrix_room", f"the homeserver knows no room {id_or_alias}") from error
            raise Conflict(
                "cannot_join", f"{bot} may not join {id_or_alias} ({error.message}): invite it there, then try again"
            ) from error

    async def _take_alias(self, matrix_room: MatrixRoomId, slug: str) -> None:
        alias = self._identities.room_alias(slug)
        current = await self._homeserver.room_of_alias(alias)
        if current is None:
            await self._homeserver.set_alias(alias, matrix_room, as_user=self._identities.bot)
        elif current != matrix_room:
            raise Conflict("alias_taken", f"{alias} is another room's alias: adopt that one, or choose another --slug")
