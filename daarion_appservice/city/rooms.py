"""Opening, changing and archiving city rooms."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from ..errors import Conflict, InvalidInput, NotFound
from .events import CityEvent, RegistryChanged, RoomChanged, RoomRemoved
from .feed import FeedWriter
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .room_deletions import check_not_being_deleted
from .slugs import MAX_LENGTH, RESERVED, slug_of
from .text_sanitizing import MAX_TOPIC_CHARS, one_line, storable
from .types import Author, HistoryVisibility, MatrixRoomId, MatrixStatus, Room, RoomId

_SLUG: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_LENGTH - 1}}}")


@dataclass(frozen=True, slots=True)
class RoomUpdate:
    """Changes of a room; None leaves a field as it is."""

    name: str | None = None
    description: str | None = None
    archived: bool | None = None
    """An archived room is read-only and in no list."""

    def check(self) -> None:
        """Raise InvalidInput for an empty name."""
        if self.name is not None:
            _name(self.name)

    def of(self, room: Room) -> Room:
        """Return the room with these changes. Raises InvalidInput for an empty name."""
        return replace(
            room,
            name=room.name if self.name is None else _name(self.name),
            description=room.description if self.description is None else self.description.strip(),
            archived=room.archived if self.archived is None else self.archived,
        )


def room_id_of(slug: str) -> RoomId:
    return RoomId(f"city_{slug}")


def name_from_matrix(name: str, slug: str) -> str:
    """Return the city's name of a room whose Matrix room has the name ``name``.

    Matrix clients show a room without a name by its alias ``#city_<slug>``, and the city by its slug.

    Args:
        name: The name in ``m.room.name``; empty if there is none, or it was redacted.
        slug: The room's slug.
    """
    return one_line(name) or slug


def check_slug(slug: str) -> None:
    """Raise InvalidInput unless ``slug`` is valid and not reserved."""
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(
            "slug_invalid",
            f"the slug {slug!r} must be 1 to {MAX_LENGTH} of a-z, 0-9, _ and -, and start with a letter or digit",
            status=422,
        )
    if slug in RESERVED:
        detail = f"the slug {slug!r} is reserved: /city/{slug} is another page of the city"
        raise InvalidInput("slug_invalid", detail, status=422)


class Rooms:
    """Opens, changes and archives rooms, and applies changes from Matrix."""

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
        """Open a room.

        Unless ``matrix_room`` is given, the reconciler creates its Matrix room; ``matrix_status`` is pending until then.

        Args:
            name: The room's name, reduced to one line.
            description: The topic.
            slug: The slug; None derives it from the name.
            is_default: Whether this is one of the city's default rooms.
            created_by: The author of the room, for the feed.
            matrix_room: An existing Matrix room to link.
            join_rule: The join rule of ``matrix_room``; rooms that the city creates are public.
            history_visibility: The history visibility of ``matrix_room``.

        Raises:
            Conflict: The slug is taken.
            InvalidInput: The name is empty, or the slug is not valid.
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
            # A request names a room by id or slug, so a room's slug must not be another room's id.
            taken = await tx.rooms.find(slug) or await tx.rooms.find(room.id)
            if taken or not await tx.rooms.add(room, created_by=created_by.id if created_by else None):
                raise Conflict("slug_taken", f"there is a room with the slug {slug!r} already")
            await tx.feed.add([self._feed.room_created(room, created_by)])
        publish_all(self._publish, [RoomChanged(room), RegistryChanged()])
        return room

    async def open_missing(self, seeds: list[tuple[str, str, str]]) -> None:
        """Open the default rooms, given as (slug, name, description), that do not exist."""
        known = await self._slugs()
        for slug, name, description in seeds:
            if slug in known:
                continue
            try:
                await self.open(name, description, slug=slug, is_default=True)
            except Conflict:
                if slug not in await self._slugs():
                    raise
                # Another process of the city opened the room at the same time.

    async def _slugs(self) -> set[str]:
        async with self._store.read_only() as tx:
            return {room.slug for room in await tx.rooms.all()}

    async def change(self, id_or_slug: str, change: RoomUpdate) -> Room:
        """Rename, describe, archive or reopen a room; the reconciler applies the change to Matrix.

        An equal value changes nothing.

        Raises:
            NotFound: The room does not exist.
            Conflict: The room is being deleted.
            InvalidInput: The name is empty.
        """
        async with self._store.transaction() as tx:
            room = await tx.rooms.lock(id_or_slug)
            if room is None:
                raise NotFound("no_such_room", f"there is no room {id_or_slug!r}")
            await check_not_being_deleted(tx, room)
            changed = change.of(room)
            events = await self._change(tx, room, changed)
        publish_all(self._publish, [*events, RegistryChanged()] if events else [])
        return changed

    async def remove(self, id_or_slug: str, *, is_continued: bool = False) -> bool:
        """Remove a room with all its messages, or begin to; the reconciler leaves its Matrix room.

        A large room takes several transactions, so that other writers do not wait. The first one archives it and stores that
        it is to be removed; `RoomDeletions` does the rest.

        Args:
            id_or_slug: The room's id or slug.
            is_continued: Whether to go on with a removal only. Another process may have removed the room meanwhile, and a
                citizen may have opened another one with the same id, which stays.

        Returns:
            Whether the room is removed; False if that was begun.

        Raises:
            NotFound: The room does not exist, or its removal, which is to go on, was not begun.
        """
        async with self._store.transaction() as tx:
            room = await tx.rooms.lock(id_or_slug)
            if room is None or (is_continued and not await tx.removed_rooms.is_begun(room.id)):
                raise NotFound("no_such_room", f"there is no room {id_or_slug!r}")
            events: list[CityEvent]
            if is_unfinished := await tx.removed_rooms.delete_portion(room.id):
                await tx.removed_rooms.begin(room.id)
                events = await self._change(tx, room, replace(room, archived=True))
                await tx.rooms.mark_history_changed(room.id)
            else:
                await tx.removed_rooms.add(room)
                events = [RoomRemoved(room.id)]
        publish_all(self._publish, [*events, RegistryChanged()] if events else [])
        return not is_unfinished

    async def receive(
        self, tx: CityTransaction, room: Room, *, name: str | None = None, description: str | None = None
    ) -> list[CityEvent]:
        """Apply a name or topic that was set on Matrix, or taken away (an empty string).

        Returns the events to publish after the commit.
        """
        # The room's row is locked and read again, because a citizen may change the room at the same time.
        room = await tx.rooms.lock(room.id) or room
        # Names are compared as the city shows them: a difference in form on Matrix remains there.
        name = name_from_matrix(name, room.slug) if name is not None else None
        description = storable(description)[:MAX_TOPIC_CHARS] if description is not None else None
        await tx.matrix_rooms.set_applied_text(room.id, name=name, topic=description)
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
        raise InvalidInput("name_required", "the room's name is empty; send a name", status=422)
    return name
