"""Messages that are edited and deleted, from the city's side and from Matrix.

What comes from the city is stored together with its way to Matrix; what comes from Matrix is taken over inside the caller's
transaction. Either is part of the room's history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import Conflict, Forbidden
from .agent_replies import AgentReplies
from .events import CityEvent, OutboxChanged, RepliesPending, RoomEventStored
from .feed import FeedWriter
from .messages import check_content, check_size, find_open
from .parsing_threads import parsed_ahead, prose_ahead
from .ports import CityStore, CityTransaction, MessageFormatter, NewId, NowMs, Publish, RoomPermissions, publish_all
from .room_sequence import record
from .timestamps import plausible_ms
from .types import (
    Author,
    AuthorKind,
    Content,
    EventId,
    HistoryVisibility,
    Message,
    MessageId,
    OutboxKind,
    Revision,
    Room,
    RoomEventKind,
)


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit, apart from what the message says then."""

    id: str
    at_ms: int
    event_id: EventId | None = None
    history: HistoryVisibility | None = None


class MessageEdits:
    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        formatter: MessageFormatter,
        permissions: RoomPermissions,
        answers: AgentReplies,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._formatter = formatter
        self._permissions = permissions
        self._answers = answers
        self._now_ms = now_ms
        self._new_id = new_id
        self._feed = FeedWriter(new_id)

    async def edit(self, author: Author, room_id: str, message_id: str, body: str) -> Message:
        """Have one's own message say something else. The same text again changes nothing.

        Raises NotFound, Forbidden for another's message or somebody who may not speak there, Conflict for a deleted one and in
        an archived room, InvalidInput for a body that cannot be.
        """
        check_size(body)
        # Before the transaction: nobody who writes has to wait until it is rendered.
        worded = await self._formatter.content(body, msgtype="m.text", media=None)
        check_content(worded)
        async with parsed_ahead(await self._texts_to_parse(author, message_id, body)), self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._permissions)
            if message.author.subject != author.subject:
                raise Forbidden("not_yours", "only their author may edit messages")
            if message.deleted:
                raise Conflict("message_deleted", "this message is deleted: there is nothing left to edit")
            content = replace(worded, msgtype=message.msgtype, media=message.media)
            await self._permissions.check_may_speak(tx, room, author)
            if content == message.content:
                return message
            edit_id = self._new_id()
            happened = await self._edited(tx, message, content, author, Edit(edit_id, self._now_ms()))
            assert happened is not None
            await tx.outbox.add(OutboxKind.EDIT, message.id, room.id, txn_id=edit_id)
            asked = await self.asked_by_edit(tx, room, message, _as_it_stands(happened))
        publish_all(self._publish, [happened, OutboxChanged(), *asked])
        return _as_it_stands(happened)

    async def _texts_to_parse(self, author: Author, message_id: str, body: str) -> list[Callable[[], object]]:
        """Return calls for `parsed_ahead` that parse the new text and the old one; none for agents, whose edits ask nobody."""
        if author.kind is AuthorKind.AGENT:
            return []
        async with self._store.reading() as tx:
            before = await tx.messages.get(MessageId(message_id))
        return prose_ahead(body, before.body if before else "")

    async def asked_by_edit(self, tx: CityTransaction, room: Room, before: Message, after: Message) -> list[CityEvent]:
        """Write down the agents that a message asks only since it was edited; returns what to publish once that is committed."""
        owed = await self._answers.note_edit(tx, room, before, after)
        return [RepliesPending()] if owed else []

    async def delete(self, author: Author, room_id: str, message_id: str, *, may_moderate: bool) -> Message:
        """Take back one's own message, or anybody's (``may_moderate``); one that is deleted already is fine.

        Raises NotFound, Forbidden, and Conflict in an archived room.
        """
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._permissions)
            is_own = message.author.subject == author.subject
            if not is_own and not may_moderate:
                raise Forbidden("not_yours", "only their author and admins may delete messages")
            if message.deleted:
                return message
            happened = await self._deleted(tx, message, author, self._now_ms())
            kind = OutboxKind.DELETE if is_own else OutboxKind.REMOVE
            await tx.outbox.add(kind, message.id, room.id, txn_id=self._new_id())
        publish_all(self._publish, [happened, OutboxChanged()])
        return _as_it_stands(happened)

    async def receive_edit(
        self,
        tx: CityTransaction,
        message: Message,
        content: Content,
        editor: Author,
        *,
        event_id: EventId,
        at_ms: int,
        history: HistoryVisibility | None = None,
    ) -> RoomEventStored | None:
        """Take over an edit from Matrix; None when it changes nothing, is known, or is not theirs to make.

        ``history`` is of an edit that is brought in with its message: who may read it; nothing is told of it.
        """
        if message.deleted or message.author.subject != editor.subject or await tx.revisions.by_event_id(event_id):
            return None
        edit = Edit(self._new_id(), plausible_ms(at_ms, self._now_ms()), event_id, history)
        return await self._edited(tx, message, content, editor, edit)

    async def receive_edit_removal(
        self, tx: CityTransaction, message: Message, revision: Revision, by: Author
    ) -> RoomEventStored | None:
        """Somebody redacted an edit on Matrix: the newest edit that is left is shown, or the first text.

        None when another edit is shown.
        """
        shown = await tx.revisions.newest(message.id)
        await tx.revisions.drop(revision.id)
        left = await tx.revisions.newest(message.id)
        if message.deleted or left is None or shown is None or shown.id != revision.id:
            return None
        happened = await record(tx, RoomEventKind.UPDATED, message, by, self._now_ms())
        return await self._show(tx, message, left, happened)

    async def receive_deletion(self, tx: CityTransaction, message: Message, by: Author) -> RoomEventStored | None:
        """Somebody deleted a message on Matrix, where that they may was checked; None when it is deleted already."""
        return None if message.deleted else await self._deleted(tx, message, by, self._now_ms())

    async def _edited(
        self, tx: CityTransaction, message: Message, content: Content, editor: Author, edit: Edit
    ) -> RoomEventStored | None:
        shown = await tx.revisions.newest(message.id)
        if shown is None:
            shown = Revision(
                self._new_id(),
                message.id,
                message.content,
                message.edited_at_ms or message.created_at_ms,
                visibility=message.visibility,
            )
            await tx.revisions.add(shown)
        # The newest counts by its time (client-server API, "Event replacements"), in whichever order they come.
        is_shown = content != message.content and (shown.seq is None or edit.at_ms >= shown.at_ms)
        happened = None
        if is_shown and edit.history is None:
            happened = await record(tx, RoomEventKind.UPDATED, message, editor, edit.at_ms)
            seq, visibility = happened.event.seq, happened.event.visibility
        elif edit.history is None:
            seqs, visibility = await tx.rooms.next_seqs(message.room_id, 0)
            seq = seqs.stop - 1
        else:
            seq, visibility = message.seq, edit.history
        revision = Revision(edit.id, message.id, content, edit.at_ms, seq, visibility, edit.event_id)
        await tx.revisions.add(revision)
        return await self._show(tx, message, revision, happened) if is_shown else None

    async def _show(
        self, tx: CityTransaction, message: Message, revision: Revision, happened: RoomEventStored | None
    ) -> RoomEventStored | None:
        """Have the message say what this revision says; ``happened`` is what tells of it."""
        content, is_first = revision.content, revision.seq is None
        edited_at_ms = None if is_first and revision.at_ms == message.created_at_ms else revision.at_ms
        message = replace(
            message,
            body=content.body,
            formatted_body=content.formatted_body,
            msgtype=content.msgtype,
            media=content.media,
            mentions=content.mentions,
            edited_at_ms=edited_at_ms,
            edit_seq=revision.seq,
            edit_visibility=revision.visibility,
        )
        await tx.messages.edit(
            message.id, content, edited_at_ms=edited_at_ms, seq=revision.seq, visibility=revision.visibility
        )
        await tx.feed.reword(self._feed.message(message))
        return happened and RoomEventStored(replace(happened.event, message=message))

    async def _deleted(self, tx: CityTransaction, message: Message, by: Author, at_ms: int) -> RoomEventStored:
        await tx.messages.delete(message.id)
        await tx.reactions.drop_all_of(message.id)
        await tx.revisions.drop_all_of(message.id)
        if message.matrix_event_id is not None:
            await tx.revisions.drop_early(message.matrix_event_id)
        await tx.feed.forget(message.id)
        message = replace(message, body="", formatted_body=None, media=None, mentions=(), reactions=(), deleted=True)
        return await record(tx, RoomEventKind.DELETED, message, by, at_ms)


def _as_it_stands(happened: RoomEventStored) -> Message:
    assert happened.event.message is not None
    return happened.event.message
