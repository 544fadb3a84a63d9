"""Opening and closing public rooms."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from ..errors import Conflict, InvalidInput, NotFound
from .events import CityEvent, RegistryChanged, RoomChanged
from .feed import FeedWriter
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .slugs import MAX_LENGTH, RESERVED, slug_of
from .text_sanitizing import MAX_TOPIC_CHARS, one_line, storable
from .types import Author, HistoryVisibility, MatrixRoomId, MatrixStatus, Room, RoomId

_SLUG: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_LENGTH - 1}}}")


@dataclass(frozen=True, slots=True)
class RoomUpdate:
    """What is to be different about a room; None leaves it as it is."""

    name: str | None = None
    description: str | None = None
    archived: bool | None = None
    """A room that is archived can be read, but not written to, and is in no list."""

    def of(self, room: Room) -> Room:
        """Raises InvalidInput for a name that is none."""
        return replace(
            room,
            name=room.name if self.name is None else _name(self.name),
            description=room.description if self.description is None else self.description.strip(),
            archived=room.archived if self.archived is None else self.archived,
        )


def room_id_of(slug: str) -> RoomId:
    return RoomId(f"city_{slug}")


def check_slug(slug: str) -> None:
    """Raise InvalidInput unless ``slug`` can be one."""
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(
            "slug_wrong",
            f"the slug {slug!r} must be 1 to {MAX_LENGTH} of a-z, 0-9, _ and -, and start with a letter or digit",
            status=422,
        )
    if slug in RESERVED:
        detail = f"the slug {slug!r} cannot be a room's: /city/{slug} is an address of the city's own"
        raise InvalidInput("slug_wrong", detail, status=422)


class Rooms:
    def __init__(self, store: CityStore, publish: Publish, now_ms: NowMs, new_id: NewId) -> None:
        self._store = store
        self._publish = publish
        self._now_ms = now_ms
        self._feed = FeedWriter(new_id)

    async def open(
        self,
        name: str,
        description: str = "",
        *,
        slug: str | None = None,
        is_default: bool = False,
        created_by: Author | None = None,
        matrix_room: MatrixRoomId | None = None,
        join_rule: str = "public",
        history_visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> Room:
        """Open a room. Its Matrix room follows, unless ``matrix_room`` is it; until then ``matrix_status`` is pending.

        ``join_rule`` and ``history_visibility`` are those of ``matrix_room``; the city's own rooms are public.

        Raises Conflict when the slug is taken, InvalidInput when it cannot be one.
        """
        name = _name(name)
        if slug is None:
            slug = slug_of(name)
        check_slug(slug)
        room = Room(
            id=room_id_of(slug),
            slug=slug,
            name=name,
            description=description.strip(),
            is_default=is_default,
            archived=False,
            created_at_ms=self._now_ms(),
            matrix_room_id=matrix_room,
            matrix_status=MatrixStatus.LINKED if matrix_room else MatrixStatus.PENDING,
            join_rule=join_rule,
            history_visibility=history_visibility,
            was_public=history_visibility is HistoryVisibility.WORLD_READABLE,
            was_private=history_visibility is not HistoryVisibility.WORLD_READABLE,
        )
        async with self._store.transaction() as tx:
            # Rooms are found by id or slug, so neither may be the other's in another room.
            taken = await tx.rooms.find(slug) or await tx.rooms.find(room.id)
            if taken or not await tx.rooms.add(room, created_by=created_by.id if created_by else None):
                raise Conflict("slug_taken", f"there is a room with the slug {slug!r} already")
            await tx.feed.add([self._feed.room_created(room, created_by)])
        publish_all(self._publish, [RoomChanged(room), RegistryChanged()])
        return room

    async def open_missing(self, seeds: list[tuple[str, str, str]]) -> None:
        """Open those of the default rooms, given as (slug, name, description), that are not there yet."""
        known = await self._slugs()
        for slug, name, description in seeds:
            if slug in known:
                continue
            try:
                await self.open(name, description, slug=slug, is_default=True)
            except Conflict:
                if slug not in await self._slugs():
                    raise
                # Another process of the city opened it meanwhile.

    async def _slugs(self) -> set[str]:
        async with self._store.reading() as tx:
            return {room.slug for room in await tx.rooms.all()}

    async def change(self, id_or_slug: str, change: RoomUpdate) -> Room:
        """Rename, describe, archive or open again; on Matrix that follows. What is so already changes nothing.

        Raises NotFound, and InvalidInput for a name that is none.
        """
        async with self._store.transaction() as tx:
            room = await tx.rooms.hold(id_or_slug)
            if room is None:
                raise NotFound("no_such_room", f"there is no room {id_or_slug!r}")
            changed = change.of(room)
            happened = await self._change(tx, room, changed)
        publish_all(self._publish, [*happened, RegistryChanged()] if happened else [])
        return changed

    async def receive(
        self, tx: CityTransaction, room: Room, *, name: str | None = None, description: str | None = None
    ) -> list[CityEvent]:
        """Take over a name or topic that the room was given on Matrix; returns what to publish once that is committed."""
        # Held, and read anew: somebody in the city may change it at the same time.
        room = await tx.rooms.hold(room.id) or room
        # As it is shown here: what differs from that on Matrix is left as it is there.
        name = one_line(name) or room.name if name is not None else None
        description = storable(description)[:MAX_TOPIC_CHARS] if description is not None else None
        await tx.rooms.has_on_matrix(room.id, name=name, topic=description)
        name = room.name if name is None else name
        description = room.description if description is None else description
        return await self._change(tx, room, replace(room, name=name, description=description))

    async def _change(self, tx: CityTransaction, room: Room, changed: Room) -> list[CityEvent]:
        if changed == room:
            return []
        now_ms = self._now_ms()
        await tx.rooms.change(changed)
        if changed.name != room.name:
            await tx.feed.add([self._feed.renamed(changed, room.name, now_ms)])
        if changed.archived != room.archived:
            await tx.feed.add([self._feed.archived(changed, now_ms)])
        return [RoomChanged(changed)]


def _name(name: str) -> str:
    name = one_line(name)
    if not name:
        raise InvalidInput("name_needed", "a room needs a name", status=422)
    return name
