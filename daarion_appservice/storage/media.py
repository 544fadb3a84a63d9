"""Files that the city shows, with their uploaders. The service fetches no file that is not listed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, delete, exists, or_, select
from sqlalchemy import insert as plain_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.history_visibility import ReadableRanges
from ..city.media import is_mxc
from ..city.types import Author, Media, MessageId, RoomId
from .readable import is_in_shown_room, message_is_readable_in, room_is_listed
from .repository import Repository
from .tables import media, media_shown, messages, reactions, rooms
from .upsert import insert


class MediaRepository(Repository):
    """The tables ``media`` and ``media_shown``."""

    async def add_upload(self, uploader: Author, upload: Media, *, now_ms: int) -> None:
        """Store an upload by a citizen or agent. Homeservers give each upload a new ``mxc://`` URI."""
        values = {
            "uploader_kind": uploader.kind,
            "uploader_id": uploader.id,
            "mimetype": upload.mimetype,
            "filename": upload.filename,
            "size": upload.size,
            "width": upload.width,
            "height": upload.height,
        }
        statement = insert(self._connection, media).values(mxc=upload.mxc, created_at_ms=now_ms, **values)
        await self._connection.execute(statement.on_conflict_do_update(index_elements=[media.c.mxc], set_=values))

    async def upload_of(self, uploader: Author, mxc: str) -> Media | None:
        """Return a file if ``uploader`` uploaded it."""
        row = (
            await self._connection.execute(
                select(media).where(
                    media.c.mxc == mxc,
                    media.c.uploader_kind == uploader.kind,
                    media.c.uploader_id == uploader.id,
                )
            )
        ).first()
        if row is None:
            return None
        return Media(row.mxc, row.mimetype, row.filename, row.size, row.width, row.height)

    async def is_in_use(self, mxc: str) -> bool:
        """Return whether the file is an avatar, a room's picture, in a message or in a reaction, readable or not."""
        in_message = exists().where(media_shown.c.mxc == mxc)
        in_reaction = exists().where(reactions.c.key == mxc, ~reactions.c.removed)
        as_avatar = exists().where(media.c.mxc == mxc, media.c.is_avatar)
        of_room = exists().where(rooms.c.avatar_url == mxc)
        return await self._is_any(in_message, in_reaction, as_avatar, of_room)

    async def is_shown(self, mxc: str, ranges_by_room: Mapping[RoomId, ReadableRanges] | None = None) -> bool:
        """Return whether the reader may have the file.

        It may be an avatar of a person, the picture of a room that the reader may see, or in a message or reaction that the
        reader may read.

        Args:
            ranges_by_room: readable ranges of the reader in restricted rooms.
        """
        may_read = message_is_readable_in(ranges_by_room or {})
        in_reaction = exists().where(
            reactions.c.key == mxc,
            ~reactions.c.removed,
            messages.c.id == reactions.c.message_id,
            messages.c.room_id == rooms.c.id,
            is_in_shown_room(ranges_by_room or {}),
            may_read,
        )
        in_message = exists().where(
            media_shown.c.mxc == mxc,
            messages.c.id == media_shown.c.message_id,
            messages.c.room_id == rooms.c.id,
            is_in_shown_room(ranges_by_room or {}),
            may_read,
        )
        as_avatar = exists().where(media.c.mxc == mxc, media.c.is_avatar)
        current = [room for room, readable in (ranges_by_room or {}).items() if readable.is_current]
        may_see_room = or_(room_is_listed(), rooms.c.id.in_(current))
        of_room = exists().where(rooms.c.avatar_url == mxc, rooms.c.agent.is_(None), may_see_room)
        return await self._is_any(in_message, in_reaction, as_avatar, of_room)

    async def _is_any(self, *conditions: ColumnElement[bool]) -> bool:
        return bool((await self._connection.execute(select(or_(*conditions)))).scalar_one())


async def note_avatars(connection: AsyncConnection, addresses: Iterable[str | None]) -> None:
    """Record files as avatars permanently: old messages keep the avatar that they were sent with."""
    new = [{"mxc": mxc, "is_avatar": True} for mxc in dict.fromkeys(addresses) if mxc and is_mxc(mxc)]
    if new:
        statement = insert(connection, media)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=[media.c.mxc], set_={"is_avatar": True}), new
        )


async def add_shown(connection: AsyncConnection, message: MessageId, addresses: list[str]) -> None:
    """Note the files that a message shows."""
    if addresses:
        rows = [{"mxc": mxc, "message_id": message} for mxc in addresses]
        await connection.execute(plain_insert(media_shown), rows)


async def remove_shown(connection: AsyncConnection, message: MessageId) -> None:
    """Note that a message shows no files any more."""
    await connection.execute(delete(media_shown).where(media_shown.c.message_id == message))
