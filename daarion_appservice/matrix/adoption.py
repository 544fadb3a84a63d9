"""Rooms that were on Matrix before the city knew them: taken over, with their history."""

from __future__ import annotations

from typing import Final

from ..city.prepared import prepared
from ..city.rooms import Rooms, check_slug
from ..city.texts import MAX_TOPIC_CHARS, one_line, storable
from ..city.types import HistoryVisibility, MatrixRoomId, Room
from ..errors import Conflict, HomeserverRefused, NotFound
from ..storage.database import Database
from .events import MESSAGES, SAID, Event, inner, type_of
from .histories import Stretch
from .homeserver import Homeserver
from .late_events import LateEvents
from .message_events import MessageEvents
from .missed_metrics import Missed
from .namespace import Namespace
from .room_rules import read_rules, visibility_in
from .rooms import MatrixRooms

_PAGE: Final = 100


class Adoption:
    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        namespace: Namespace,
        rooms: Rooms,
        matrix_rooms: MatrixRooms,
        late: LateEvents,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._namespace = namespace
        self._rooms = rooms
        self._matrix_rooms = matrix_rooms
        self._late = late

    async def adopt(self, id_or_alias: str, slug: str) -> Room:
        """Make a room that exists on Matrix a room of the city, under the alias ``#city_<slug>``."""
        check_slug(slug)
        matrix_room, bot = await self._join(id_or_alias), self._namespace.bot
        async with self._database.transaction() as tx:
            await tx.rooms.give_way(matrix_room)
            if known := await tx.rooms.by_matrix_id(matrix_room):
                raise Conflict("adopted_already", f"{id_or_alias} is the room {known.slug} already")
            if await tx.rooms.find(slug):
                raise Conflict("slug_taken", f"there is a room with the slug {slug!r} already")
        # The alias first: a running service that sees the new room at once finds everything in place.
        await self._take_alias(matrix_room, slug)
        name = await self._homeserver.state(matrix_room, "m.room.name", as_user=bot) or {}
        topic = await self._homeserver.state(matrix_room, "m.room.topic", as_user=bot) or {}
        rules = await read_rules(self._homeserver, matrix_room, as_user=bot)
        room = await self._rooms.open(
            one_line(str(name.get("name") or "")) or slug,
            storable(str(topic.get("topic", "")))[:MAX_TOPIC_CHARS],
            slug=slug,
            matrix_room=matrix_room,
            join_rule=rules.join_rule,
            history_visibility=rules.visibility,
        )
        return await self._matrix_rooms.keep(room)

    async def backfill(self, room: Room, messages: MessageEvents) -> int:
        """Bring what was written in the Matrix room and the city does not have into the city; returns how many events.

        What is older than the oldest message that the city has is brought in at once. What is newer takes its place among the
        messages as soon as the service handles it.
        """
        if room.matrix_room_id is None:
            raise Conflict("not_linked", f"the room {room.slug} has no Matrix room yet")
        async with self._database.reading() as tx:
            oldest = await tx.messages.oldest_from_matrix(room.id)
        place = _Place(await self._visibility(room.matrix_room_id))
        cursor: str | None = None
        count = 0
        is_older = oldest is None
        newer: list[Event] = []
        while True:
            events, cursor = await self._homeserver.messages_before(
                room.matrix_room_id, cursor, limit=_PAGE, as_user=self._namespace.bot
            )
            async with self._database.reading() as tx:
                texts = await messages.ahead(tx, events)
            async with prepared(texts), self._database.transaction() as tx:
                for event in events:
                    place.go_back(event)
                    if not is_older:
                        newer.append(event)
                        is_older = event.get("event_id") == oldest
                    elif type_of(event) in MESSAGES:
                        count += (
                            await messages.take(tx, room, event, is_history=True, visibility=place.visibility) != []
                        )
            if cursor is None or not events:
                return count + await self._fill_holes(room.matrix_room_id, newer[::-1])

    async def _fill_holes(self, matrix_room: MatrixRoomId, events: list[Event]) -> int:
        """State is left to housekeeping, which reads what holds now."""
        said = [event | {"room_id": matrix_room} for event in events if type_of(event) in SAID]
        async with self._database.transaction() as tx:
            brought = await self._late.bring(tx, Stretch(matrix_room, said, len(said)))
        self._late.tell(Missed.BACKFILL, {matrix_room: brought.missing})
        return brought.missing

    async def _visibility(self, matrix_room: MatrixRoomId) -> HistoryVisibility:
        content = await self._homeserver.state(matrix_room, "m.room.history_visibility", as_user=self._namespace.bot)
        return visibility_in(content or {})

    async def _join(self, id_or_alias: str) -> MatrixRoomId:
        bot = self._namespace.bot
        try:
            return await self._homeserver.join(id_or_alias, as_user=bot)
        except HomeserverRefused as error:
            if error.status == 404:
                raise NotFound("no_such_matrix_room", f"the homeserver knows no room {id_or_alias}") from error
            raise Conflict(
                "cannot_join", f"{bot} may not join {id_or_alias} ({error.message}): invite it there, then try again"
            ) from error

    async def _take_alias(self, matrix_room: MatrixRoomId, slug: str) -> None:
        alias = self._namespace.room_alias(slug)
        there = await self._homeserver.room_of_alias(alias)
        if there is None:
            await self._homeserver.set_alias(alias, matrix_room, as_user=self._namespace.bot)
        elif there != matrix_room:
            raise Conflict("alias_taken", f"{alias} is another room's alias: adopt that one, or choose another --slug")


class _Place:
    """A place in a room's history, on the way back from its end, and who may read what was said there."""

    def __init__(self, visibility: HistoryVisibility) -> None:
        self.visibility = visibility

    def go_back(self, event: Event) -> None:
        """``event`` is the one before the events that were passed so far."""
        if type_of(event) == "m.room.history_visibility" and event.get("state_key") == "":
            # Before the first of these events the room had none, which means the default.
            self.visibility = visibility_in(inner(inner(event, "unsigned"), "prev_content"))
