"""Edits and deletions of messages, made in the city or on Matrix.

A change made in the city is stored together with its outbox entry; a change from Matrix is stored in the caller's
transaction. Both are events of the room's history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import Conflict, Forbidden
from .agent_replies import AgentReplies
from .background_parsing import parsed_ahead, prose_ahead
from .events import CityEvent, OutboxChanged, RepliesPending, RoomEventStored
from .feed import FeedWriter
from .message_formatting import MessageFormatter
from .message_kinds import NO_DETAILS
from .message_lookup import find_writable_message
from .message_mentions import mentioned_in
from .message_size import check_body_size, check_content
from .permissions import RoomPermissions, permitted_mentions
from .polls import with_results
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .room_events import RoomEventKind
from .room_sequence import record
from .threads import update_summary
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
    SubjectId,
)
from .unread import mentioned_people


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a message, without its new content."""

    id: str
    at_ms: int
    event_id: EventId | None = None
    history: HistoryVisibility | None = None
    is_growth: bool = False
    """Whether the author continues a message that is still being written: the message does not count as edited."""


class MessageEdits:
    """Edits and deletes messages, and applies edits and deletions from Matrix."""

    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        formatter: MessageFormatter,
        permissions: RoomPermissions,
        agent_replies: AgentReplies,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._formatter = formatter
        self._permissions = permissions
        self._agent_replies = agent_replies
        self._now_ms = now_ms
        self._new_id = new_id
        self._feed = FeedWriter(new_id)

    async def edit(
        self, author: Author, room_id: str, message_id: str, body: str, *, is_growth: bool = False
    ) -> Message:
        """Edit one's own message. An equal text changes nothing.

        Args:
            author: The author of the message.
            room_id: Id or slug of the room.
            message_id: The message.
            body: The new text, in Markdown.
            is_growth: The edit continues a reply that is still being generated: ``edited_at_ms`` does not change.

        Returns:
            The message after the edit.

        Raises:
            NotFound: The room or the message does not exist.
            Forbidden: Another author's message, or the author may not send messages in the room.
            Conflict: The message is deleted, the author sent it on Matrix, or the room is archived or encrypted.
            InvalidInput: The body is empty, too large, or not allowed in a Matrix event.
        """
        check_body_size(body)
        # The text is rendered before the transaction, so that other writers do not wait for it.
        rendered = await self._formatter.content(body, msgtype="m.text", media=None)
        check_content(rendered)
        async with parsed_ahead(await self._texts_to_parse(author, message_id, body)), self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            if message.author.subject != author.subject:
                if self._permissions.is_same_person(message.author, author):
                    # Matrix clients ignore an edit by another user than the sender, and the ghost would be one.
                    raise Conflict("sent_on_matrix", "edit this message in the Matrix client that you sent it with")
                raise Forbidden("not_yours", "only the author of a message may edit it")
            if message.deleted:
                raise Conflict("message_deleted", "the message is deleted and cannot be edited")
            if message.details.poll is not None:
                raise Conflict("poll_not_editable", "a poll cannot be edited: delete it, and start another one")
            details = replace(message.details, mentions_room=rendered.details.mentions_room)
            content = replace(rendered, msgtype=message.msgtype, media=message.media, details=details)
            content = permitted_mentions(self._permissions, room, author, content)
            await self._permissions.check_may_send(tx, room, author)
            if content == message.content:
                return message
            edit_id = self._new_id()
            edit = Edit(edit_id, self._now_ms(), is_growth=is_growth)
            event = await self._store_edit(tx, message, content, author, edit)
            assert event is not None
            await tx.outbox.add(OutboxKind.EDIT, message.id, room.id, txn_id=edit_id)
            reply_events = await self.request_replies(tx, room, message, _message_of(event))
        publish_all(self._publish, [event, OutboxChanged(), *reply_events])
        return _message_of(event)

    async def _texts_to_parse(self, author: Author, message_id: str, body: str) -> list[Callable[[], object]]:
        """Return calls for `parsed_ahead` that parse the new and the old text; none for edits of agents."""
        if author.kind is AuthorKind.AGENT:
            return []
        async with self._store.read_only() as tx:
            before = await tx.messages.get(MessageId(message_id))
        return prose_ahead(body, before.body if before else "")

    async def request_replies(
        self, tx: CityTransaction, room: Room, before: Message, after: Message
    ) -> list[CityEvent]:
        """Store the pending replies that an edit adds to its message.

        Returns the events to publish after the commit.
        """
        return [RepliesPending()] if await self._agent_replies.add_for_edit(tx, room, before, after) else []

    async def delete(self, author: Author, room_id: str, message_id: str, *, may_moderate: bool) -> Message:
        """Delete one's own message, or any message as a moderator. A message that is deleted remains as it is.

        Raises:
            NotFound: The room or the message does not exist.
            Forbidden: Another author's message, without ``may_moderate`` or the power level to redact it.
            Conflict: The room is archived or encrypted, or the author sent the message on Matrix in a chat whose agent cannot
                redact.
        """
        async with self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            is_own = message.author.subject == author.subject
            is_person = self._permissions.is_same_person(message.author, author)
            if not is_person and not may_moderate and not await self._may_delete(tx, room, author):
                raise Forbidden("not_yours", "only the author of a message or a moderator may delete it")
            if message.deleted:
                return message
            self._permissions.check_is_redactable(room, message.author, author)
            event, *thread_events = await self._delete(tx, message, author, self._now_ms())
            # The ghost cannot redact a message that its person sent on Matrix, but the bot can.
            kind = OutboxKind.DELETE if is_own else OutboxKind.REMOVE
            await tx.outbox.add(kind, message.id, room.id, txn_id=self._new_id())
        publish_all(self._publish, [event, *thread_events, OutboxChanged()])
        return _message_of(event)

    async def _may_delete(self, tx: CityTransaction, room: Room, author: Author) -> bool:
        return (await self._permissions.moderation_rights(tx, room, author)).delete_messages

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
        """Apply an edit from Matrix, inside the caller's transaction.

        Args:
            tx: The caller's transaction.
            message: The message that the edit replaces.
            content: The content of ``m.new_content``.
            editor: The sender of the edit.
            event_id: The edit's event.
            at_ms: The edit's ``origin_server_ts``.
            history: The history visibility of an edit that is imported together with its message: such an edit is no
                event of the room's history.

        Returns:
            The event to publish after the commit; None if the edit changes nothing, is known, or is not by the
                message's author.
        """
        if message.deleted or message.author.subject != editor.subject or await tx.revisions.by_event_id(event_id):
            return None
        edit = Edit(self._new_id(), plausible_ms(at_ms, self._now_ms()), event_id, history)
        return await self._store_edit(tx, message, content, editor, edit)

    async def receive_edit_removal(
        self, tx: CityTransaction, message: Message, revision: Revision, by: Author
    ) -> RoomEventStored | None:
        """Apply the redaction of an edit: the message then shows its newest remaining edit, or its first content.

        Returns None if the message showed another edit.
        """
        shown = await tx.revisions.newest(message.id)
        await tx.revisions.delete(revision.id)
        remaining = await tx.revisions.newest(message.id)
        if message.deleted or remaining is None or shown is None or shown.id != revision.id:
            return None
        event = await record(tx, RoomEventKind.UPDATED, message, by, self._now_ms())
        is_first = remaining.seq is None and remaining.at_ms == message.created_at_ms
        edited_at_ms = None if is_first else remaining.at_ms
        return await self._apply_revision(tx, message, remaining, event, edited_at_ms=edited_at_ms)

    async def receive_deletion(self, tx: CityTransaction, message: Message, by: Author) -> list[RoomEventStored]:
        """Apply the redaction of a message, whose permission the caller has checked.

        Returns the events to publish after the commit; none if the message was deleted before.
        """
        return [] if message.deleted else await self._delete(tx, message, by, self._now_ms())

    async def erase(self, tx: CityTransaction, message: Message) -> list[RoomEventStored]:
        """Delete what a message of an erased person contains, inside the caller's transaction.

        Args:
            tx: The caller's transaction.
            message: The message, with the author that replaces the person.

        Returns:
            The events to publish after the commit.
        """
        if message.deleted:
            return [await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())]
        return await self._delete(tx, message, message.author, self._now_ms())

    async def _store_edit(
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
        # The edit with the newest time is valid (client-server API, "Event replacements"), in any order of arrival.
        is_shown = content != message.content and (shown.seq is None or edit.at_ms >= shown.at_ms)
        event = None
        if is_shown and edit.history is None:
            event = await record(tx, RoomEventKind.UPDATED, message, editor, edit.at_ms)
            seq, visibility = event.event.seq, event.event.visibility
        elif edit.history is None:
            seqs, visibility = await tx.rooms.next_seqs(message.room_id, 0)
            seq = seqs.stop - 1
        else:
            seq, visibility = message.seq, edit.history
        revision = Revision(edit.id, message.id, content, edit.at_ms, seq, visibility, edit.event_id)
        await tx.revisions.add(revision)
        if not is_shown:
            return None
        edited_at_ms = message.edited_at_ms if edit.is_growth else revision.at_ms
        applied = await self._apply_revision(tx, message, revision, event, edited_at_ms=edited_at_ms)
        if applied is None:
            return None
        return replace(applied, mentioned=await _newly_mentioned(tx, message, _message_of(applied)))

    async def _apply_revision(
        self,
        tx: CityTransaction,
        message: Message,
        revision: Revision,
        event: RoomEventStored | None,
        *,
        edited_at_ms: int | None,
    ) -> RoomEventStored | None:
        """Set the message to the content of ``revision``, and return ``event`` with the changed message."""
        before, content = message, revision.content
        message = replace(
            message.with_content(content),
            edited_at_ms=edited_at_ms,
            edit_seq=revision.seq,
            edit_visibility=revision.visibility,
        )
        await tx.messages.edit(
            message.id, content, edited_at_ms=edited_at_ms, seq=revision.seq, visibility=revision.visibility
        )
        await _update_mentions(tx, before, message)
        await tx.search.change(message)
        message = await with_results(tx, message)
        await tx.feed.update_payload(self._feed.message(message))
        return event and RoomEventStored(replace(event.event, message=message))

    async def _delete(self, tx: CityTransaction, message: Message, by: Author, at_ms: int) -> list[RoomEventStored]:
        """Delete what the message contains. Returns the deletion and the change of its thread's summary."""
        await tx.messages.delete(message.id)
        # Matrix clients hide the reactions to a redacted event, but one that its author removed is to be redacted, too.
        await tx.reactions.delete_given(message.id)
        await tx.revisions.delete_all_of(message.id)
        await tx.poll_responses.delete_all_of(message.id)
        if message.matrix_event_id is not None:
            await tx.revisions.delete_early(message.matrix_event_id)
        await tx.feed.delete_message(message.id)
        message = replace(
            message,
            body="",
            formatted_body=None,
            media=None,
            mentions=(),
            reactions=(),
            details=NO_DETAILS,
            poll_results=None,
            deleted=True,
        )
        deletion = await record(tx, RoomEventKind.DELETED, message, by, at_ms)
        changes = await update_summary(tx, message.thread_root, by, at_ms) if message.thread_root is not None else []
        return [deletion, *changes]


async def _newly_mentioned(tx: CityTransaction, before: Message, message: Message) -> frozenset[SubjectId]:
    """Return the people whom an edited message mentions and did not mention before, also not as a reply."""
    mentioned = mentioned_people(message, None) - mentioned_people(before, None)
    replied_to = await tx.messages.get(message.reply_to) if mentioned and message.reply_to is not None else None
    return mentioned if replied_to is None else mentioned - {replied_to.author.subject}


async def _update_mentions(tx: CityTransaction, before: Message, message: Message) -> None:
    """Store whom an edited message mentions, if that changed."""
    if mentioned_people(before, None) == mentioned_people(message, None):
        return
    replied_to = await tx.messages.get(message.reply_to) if message.reply_to is not None else None
    await tx.mentions.put(
        message, await mentioned_in(tx, message, replied_to.author if replied_to is not None else None)
    )


def _message_of(event: RoomEventStored) -> Message:
    assert event.event.message is not None
    return event.event.message
