"""Revisions of edited messages: one row for each edit, and one for the original text."""

from __future__ import annotations

from typing import Any, Final

import orjson
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Row

from ..city.types import Content, EventId, HistoryVisibility, MessageId, Revision, RoomId, SubjectId
from ..city.unread import ROOM_MENTION
from .content_columns import content_values, details_of, media_of, mentions_of
from .repository import Repository
from .tables import early_edits, revisions
from .upsert import insert as insert_unless_there

_MOST: Final = 50
"""Maximum number of revertible edits of one message, the newest first; a growing reply of an agent is edited many
times.
"""
_MOST_EARLY: Final = 200
"""Maximum number of stored edits of unknown messages in one room."""


class RevisionRepository(Repository):
    """The tables ``revisions`` and ``early_edits``."""

    async def add(self, revision: Revision) -> None:
        """Store a revision. Of more than 50 edits of a message the oldest are deleted; the original text stays."""
        await self._connection.execute(
            insert(revisions).values(
                id=revision.id,
                message_id=revision.message_id,
                event_id=revision.event_id,
                at_ms=revision.at_ms,
                seq=revision.seq,
                visibility=revision.visibility,
                **content_values(revision.content),
            )
        )
        too_old = (
            select(revisions.c.id)
            .where(revisions.c.message_id == revision.message_id, revisions.c.seq.is_not(None))
            .order_by(revisions.c.at_ms.desc(), revisions.c.seq.desc())
            .offset(_MOST)
            .limit(_MOST)
        )
        await self._connection.execute(delete(revisions).where(revisions.c.id.in_(too_old)))

    async def newest(self, message: MessageId) -> Revision | None:
        """Return the newest edit, else the original text; None for a message that was never edited."""
        row = (
            await self._connection.execute(
                select(revisions)
                .where(revisions.c.message_id == message)
                .order_by(revisions.c.seq.is_(None), revisions.c.at_ms.desc(), revisions.c.seq.desc())
                .limit(1)
            )
        ).first()
        return _revision(row) if row else None

    async def mentioned_before(self, revision: Revision) -> set[SubjectId]:
        """Return all subjects that earlier revisions of the same message mention, with ``ROOM_MENTION``."""
        is_earlier = revisions.c.seq.is_(None) | (revisions.c.seq < revision.seq)
        rows = await self._connection.execute(
            select(revisions.c.mentions, revisions.c.details).where(
                revisions.c.message_id == revision.message_id, is_earlier
            )
        )
        mentioned: set[SubjectId] = set()
        for row in rows:
            mentioned.update(mentions_of(row.mentions))
            if details_of(row.details).mentions_room:
                mentioned.add(ROOM_MENTION)
        return mentioned

    async def get(self, revision: str) -> Revision | None:
        row = (await self._connection.execute(select(revisions).where(revisions.c.id == revision))).first()
        return _revision(row) if row else None

    async def by_event_id(self, event: EventId) -> Revision | None:
        row = (await self._connection.execute(select(revisions).where(revisions.c.event_id == event))).first()
        return _revision(row) if row else None

    async def set_event(self, revision: str, event: EventId) -> None:
        """Store the Matrix event of an edit."""
        await self._connection.execute(update(revisions).where(revisions.c.id == revision).values(event_id=event))

    async def delete(self, revision: str) -> None:
        await self._connection.execute(delete(revisions).where(revisions.c.id == revision))

    async def delete_all_of(self, message: MessageId) -> None:
        await self._connection.execute(delete(revisions).where(revisions.c.message_id == message))

    # --- edits that arrived before the edited message -----------------------------------------------------

    async def add_early(
        self, event: EventId, room: RoomId, original: EventId, content: dict[str, Any], *, now_ms: int
    ) -> None:
        """Store an edit until the edited message arrives; of too many in one room, only the newest stay."""
        await self._connection.execute(
            insert_unless_there(self._connection, early_edits)
            .values(
                event_id=event,
                room_id=room,
                original_event_id=original,
                event=orjson.dumps(content).decode(),
                received_at_ms=now_ms,
            )
            .on_conflict_do_nothing()
        )
        too_old = (
            select(early_edits.c.event_id)
            .where(early_edits.c.room_id == room)
            .order_by(early_edits.c.received_at_ms.desc())
            .offset(_MOST_EARLY)
            .limit(_MOST_EARLY)
        )
        await self._connection.execute(delete(early_edits).where(early_edits.c.event_id.in_(too_old)))

    async def early(self, originals: list[EventId]) -> list[dict[str, Any]]:
        """Return the events of the edits that arrived before these messages, without removing them."""
        if not originals:
            return []
        rows = await self._connection.scalars(
            select(early_edits.c.event).where(early_edits.c.original_event_id.in_(originals))
        )
        return [orjson.loads(row) for row in rows]

    async def take_early(self, original: EventId) -> list[dict[str, Any]]:
        """Return and delete the edits that arrived before this message, oldest first."""
        rows = await self._connection.execute(
            select(early_edits.c.event)
            .where(early_edits.c.original_event_id == original)
            .order_by(early_edits.c.received_at_ms)
        )
        found = [orjson.loads(row.event) for row in rows]
        if found:
            await self._connection.execute(delete(early_edits).where(early_edits.c.original_event_id == original))
        return found

    async def delete_early(self, event: EventId) -> None:
        """Delete an early edit that was redacted, or whose message was."""
        await self._connection.execute(
            delete(early_edits).where((early_edits.c.event_id == event) | (early_edits.c.original_event_id == event))
        )


def _revision(row: Row[Any]) -> Revision:
    content = Content(
        row.body,
        row.formatted_body,
        row.msgtype,
        media_of(row.media),
        mentions_of(row.mentions),
        details_of(row.details),
    )
    return Revision(
        row.id,
        MessageId(row.message_id),
        content,
        row.at_ms,
        row.seq,
        HistoryVisibility(row.visibility),
        EventId(row.event_id) if row.event_id else None,
    )
