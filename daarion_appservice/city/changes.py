"""Messages that are edited and deleted, from the city's side and from Matrix.

What comes from the city is stored together with its way to Matrix; what comes from Matrix is taken over inside the caller's
transaction. Either is part of the room's history.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import Conflict, NotAllowed
from .events import OutboxFilled, RoomHappened
from .feed import FeedWriter
from .history import record
from .messages import check_content, find_open
from .ports import CityStore, CityTransaction, Doorkeeper, NewId, NowMs, Publish, Wording, publish_all
from .types import Author, Content, Message, OutboxKind, RoomEventKind


class Changes:
    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        wording: Wording,
        doorkeeper: Doorkeeper,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._wording = wording
        self._doorkeeper = doorkeeper
        self._now_ms = now_ms
        self._new_id = new_id
        self._feed = FeedWriter(new_id)

    async def edit(self, author: Author, room_id: str, message_id: str, body: str) -> Message:
        """Have one's own message say something else. The same text again changes nothing.

        Raises NotFound, NotAllowed for another's message or somebody who may not speak there, Conflict for a deleted one and in
        an archived room, InvalidInput for a body that cannot be.
        """
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._doorkeeper)
            if message.author.subject != author.subject:
                raise NotAllowed("not_yours", "only their author may edit messages")
            if message.deleted:
                raise Conflict("message_deleted", "this message is deleted: there is nothing left to edit")
            content = self._wording.content(body, msgtype=message.msgtype, media=message.media)
            check_content(content)
            await self._doorkeeper.check_may_speak(tx, room, author)
            if content == content_of(message):
                return message
            happened = await self._edited(tx, message, content, author, self._now_ms())
            await tx.outbox.add(OutboxKind.EDIT, message.id, room.id, txn_id=self._new_id())
        publish_all(self._publish, [happened, OutboxFilled()])
        return _as_it_stands(happened)

    async def delete(self, author: Author, room_id: str, message_id: str, *, may_moderate: bool) -> Message:
        """Take back one's own message, or anybody's (``may_moderate``); one that is deleted already is fine.

        Raises NotFound, NotAllowed, and Conflict in an archived room.
        """
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._doorkeeper)
            is_own = message.author.subject == author.subject
            if not is_own and not may_moderate:
                raise NotAllowed("not_yours", "only their author and admins may delete messages")
            if message.deleted:
                return message
            happened = await self._deleted(tx, message, author, self._now_ms())
            kind = OutboxKind.DELETE if is_own else OutboxKind.REMOVE
            await tx.outbox.add(kind, message.id, room.id, txn_id=self._new_id())
        publish_all(self._publish, [happened, OutboxFilled()])
        return _as_it_stands(happened)

    async def receive_edit(
        self, tx: CityTransaction, message: Message, content: Content, editor: Author, at_ms: int
    ) -> RoomHappened | None:
        """Somebody edited a message on Matrix; None when that changes nothing, or is not theirs to do."""
        if message.deleted or message.author.subject != editor.subject or content == content_of(message):
            return None
        return await self._edited(tx, message, content, editor, min(at_ms, self._now_ms()))

    async def receive_deletion(self, tx: CityTransaction, message: Message, by: Author) -> RoomHappened | None:
        """Somebody deleted a message on Matrix, where that they may was checked; None when it is deleted already."""
        return None if message.deleted else await self._deleted(tx, message, by, self._now_ms())

    async def _edited(
        self, tx: CityTransaction, message: Message, content: Content, editor: Author, at_ms: int
    ) -> RoomHappened:
        message = replace(
            message,
            body=content.body,
            formatted_body=content.formatted_body,
            msgtype=content.msgtype,
            media=content.media,
            mentions=content.mentions,
            edited_at_ms=at_ms,
        )
        happened = await record(tx, RoomEventKind.UPDATED, message, editor, at_ms)
        seq, visibility = happened.event.seq, happened.event.visibility
        message = replace(message, edit_seq=seq, edit_visibility=visibility)
        await tx.messages.edit(message.id, content, edited_at_ms=at_ms, seq=seq, visibility=visibility)
        await tx.feed.reword(self._feed.message(message))
        return RoomHappened(replace(happened.event, message=message))

    async def _deleted(self, tx: CityTransaction, message: Message, by: Author, at_ms: int) -> RoomHappened:
        await tx.messages.delete(message.id)
        await tx.reactions.drop_all_of(message.id)
        await tx.feed.forget(message.id)
        message = replace(message, body="", formatted_body=None, media=None, mentions=(), reactions=(), deleted=True)
        return await record(tx, RoomEventKind.DELETED, message, by, at_ms)


def content_of(message: Message) -> Content:
    return Content(message.body, message.formatted_body, message.msgtype, message.media, message.mentions)


def _as_it_stands(happened: RoomHappened) -> Message:
    assert happened.event.message is not None
    return happened.event.message
