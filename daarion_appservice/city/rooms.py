"""Opening and closing public rooms."""

from __future__ import annotations

import re
from typing import Final

from ..errors import Conflict, InvalidInput, NotFound
from .events import RegistryChanged
from .feed import FeedWriter
from .ports import CityStore, NewId, NowMs, Publish
from .slugs import MAX_LENGTH, slug_of
from .types import MatrixRoomId, MatrixStatus, Room, RoomId

_SLUG: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_LENGTH - 1}}}")


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
        created_by: str | None = None,
        matrix_room: MatrixRoomId | None = None,
    ) -> Room:
        """Open a public room. Its Matrix room follows, unless ``matrix_room`` is it; until then ``matrix_status`` is pending.

        Raises Conflict when the slug is taken, InvalidInput when it cannot be one.
        """
        name = name.strip()
        if not name:
            raise InvalidInput("name_needed", "a room needs a name", status=422)
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
        )
        async with self._store.transaction() as tx:
            # Rooms are found by id or slug, so neither may be the other's in another room.
            taken = await tx.rooms.find(slug) or await tx.rooms.find(room.id)
            if taken or not await tx.rooms.add(room, created_by=created_by):
                raise Conflict("slug_taken", f"there is a room with the slug {slug!r} already")
            await tx.feed.add([self._feed.room_created(room)])
        self._publish(RegistryChanged())
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

    async def archive(self, id_or_slug: str) -> Room:
        """Close a room for good: it can still be read, but not written to."""
        async with self._store.transaction() as tx:
            room = await tx.rooms.find(id_or_slug)
            if room is None:
                raise NotFound("no_such_room", f"there is no room {id_or_slug!r}")
            await tx.rooms.archive(room.id)
        self._publish(RegistryChanged())
        return room
