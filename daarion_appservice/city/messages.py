"""Posting: messages enter the city by its API or from Matrix, and their delivery to Matrix succeeds or fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ..errors import Forbidden, InvalidInput, NotFound
from .agent_replies import AgentReplies
from .background_parsing import parsed_ahead, prose_ahead
from .delivery_errors import DeliveryError, most_specific_error
from .events import CityEvent, MessagePosted, OutboxChanged, RepliesPending, RoomEventStored
from .feed import FeedWriter
from .history_visibility import is_readable_by_all
from .media import msgtype_of
from .member_log import MemberLog
from .message_formatting import MessageFormatter
from .message_kinds import Details, Location, Poll, count_votes, geo_uri, poll_text
from .message_lookup import find_message, find_message_of_event, find_writable_message, lock_writable_room
from .message_mentions import mentioned_in
from .message_size import check_body_size, check_content
from .permissions import RoomPermissions, permitted_mentions
from .polls import START_TYPE
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .received_messages import ReceivedMessage
from .redelivery import redeliver
from .room_entry import enter_room
from .room_events import RoomEventKind
from .room_sequence import TimelinePosition, add_resync_event, insert_position, record
from .threads import Thread, thread_of_event, thread_to_post_in, update_threads
from .timestamps import plausible_ms
from .types import (
    Author,
    Content,
    Delivery,
    EventId,
    HistoryVisibility,
    Message,
    MessageId,
    OutboxKind,
    Room,
    SubjectId,
)
from .unread import ReadMark

_MAX_REQUEST_AGE_MS: Final = 3_600_000
"""The largest age of a message from Matrix that makes agents reply."""


@dataclass(frozen=True, slots=True)
class Voice:
    """The duration of a voice message in milliseconds, and its loudness values, 0 to 1024."""

    duration_ms: int
    waveform: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that a citizen or agent posts. ``body`` is Markdown, and may be empty if there is a file."""

    body: str
    msgtype: str = "m.text"
    reply_to: str | None = None
    client_id: str | None = None
    media: str | None = None
    """The ``mxc://`` URI of a file that the author uploaded."""
    thread_root: str | None = None
    """The root of the thread that it belongs to; a reply to a message of a thread needs none."""
    voice: Voice | None = None
    """The recording that the file is, for a voice message."""
    poll: Poll | None = None
    """The poll that the message starts, which makes the text; ``body`` is empty then."""
    location: Location | None = None
    """The place that the message shows; its description makes the text, if ``body`` is empty."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The result of a post."""

    message: Message
    is_new: bool
    """False if a message with the same ``client_id`` exists."""


class Messages:
    """Posts messages, receives messages from Matrix, and records their deliveries."""

    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        formatter: MessageFormatter,
        permissions: RoomPermissions,
        member_log: MemberLog,
        agent_replies: AgentReplies,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._formatter = formatter
        self._permissions = permissions
        self._member_log = member_log
        self._agent_replies = agent_replies
        self._now_ms = now_ms
        self._new_id = new_id
        self._feed = FeedWriter(new_id)

    async def post(self, author: Author, room_id: str, draft: Draft, *, requests_replies: bool = True) -> Posted:
        """Store a message of a citizen or agent together with its outbox entry.

        Args:
            room_id: Id or slug of the room; an agent may name its direct chats by id.
            draft: The message.
            requests_replies: False for the beginning of a message that its author continues by edits: agents that it
                mentions do not reply to it.

        Raises:
            NotFound: The room, the message replied to or the root of the thread does not exist.
            Conflict: The room is archived or encrypted.
            Forbidden: The author may not send messages in the room.
            InvalidInput: The body is empty, too large, or not allowed in a Matrix event; or the thread is not possible.
        """
        check_body_size(draft.body)
        content = await self._content(author, draft)
        check_content(content)
        client_id = draft.client_id
        async with parsed_ahead(prose_ahead(draft.body)), self._store.transaction() as tx:
            # The room's row is locked: of two requests with the same client_id the second finds the first's message.
            room = await lock_writable_room(tx, room_id, author, self._permissions)
            if client_id is not None and (existing := await tx.messages.by_client_id(author, room.id, client_id)):
                return Posted(existing, is_new=False)
            await self._check_may_send(tx, room, author, content)
            replied_to, thread = await self._related(tx, room, author, draft)
            joined = await self._join_private_room(tx, room, author)
            now_ms = self._now_ms()
            message = _message(
                MessageId(self._new_id()),
                room,
                await tx.rooms.next_seq(room.id, now_ms=now_ms),
                author,
                permitted_mentions(self._permissions, room, author, content),
                now_ms,
                reply_to=replied_to.id if replied_to is not None else None,
            )
            message = replace(
                message, client_id=client_id, thread_root=thread.root, thread_root_event=thread.root_event
            )
            await tx.messages.add(message)
            await tx.search.add([message])
            mentioned = await self._record_unread(tx, message, replied_to)
            thread_events = await update_threads(tx, message, now_ms)
            await self._add_to_feed(tx, room, message)
            await tx.outbox.add(OutboxKind.MESSAGE, message.id, room.id, txn_id=message.id)
            is_pending = requests_replies and await self._agent_replies.add(tx, room, message)
        publish_all(
            self._publish,
            [
                *joined,
                MessagePosted(message, mentioned),
                *thread_events,
                OutboxChanged(),
                *([RepliesPending()] if is_pending else []),
            ],
        )
        return Posted(message, is_new=True)

    async def _related(
        self, tx: CityTransaction, room: Room, author: Author, draft: Draft
    ) -> tuple[Message | None, Thread]:
        """Return the message that a draft replies to, and its thread.

        Raises:
            NotFound: The message or the root of the thread does not exist, or the author may not read it.
            InvalidInput: The thread is not possible.
        """
        if draft.reply_to is None and draft.thread_root is None:
            return None, Thread()
        readable = await self._permissions.readable_ranges(tx, room, author)
        replied_to = await find_message(tx, room, draft.reply_to, readable) if draft.reply_to is not None else None
        return replied_to, await thread_to_post_in(tx, room, draft.thread_root, replied_to, readable)

    async def _check_may_send(self, tx: CityTransaction, room: Room, author: Author, content: Content) -> None:
        if content.details.poll is not None:
            await self._permissions.check_may_vote(tx, room, author, START_TYPE)
        else:
            await self._permissions.check_may_send(tx, room, author)

    async def _join_private_room(self, tx: CityTransaction, room: Room, author: Author) -> list[CityEvent]:
        """Have the author join a room that only members read, before their message: they could not read it otherwise."""
        if room.agent is not None or is_readable_by_all(room):
            # The outbox has the author join before it sends the message.
            return []
        member = self._member_log.member(room.id, author)
        if await tx.members.get(room.id, member.user_id) is not None:
            return []
        return await enter_room(tx, self._member_log, member, txn_id=self._new_id())

    async def retry_delivery(
        self, author: Author, room_id: str, message_id: str, *, may_moderate: bool = False
    ) -> Message:
        """Retry the failed delivery of one's own message, or of any message as a moderator.

        Other messages remain unchanged.

        Raises:
            NotFound: The room or the message does not exist.
            Forbidden: Another author's message, or the author may not send messages in the room.
            Conflict: The room is archived or encrypted.
        """
        async with self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            if message.author.subject != author.subject:
                if not may_moderate:
                    raise Forbidden("not_yours", "only the author of a message or an admin may retry its delivery")
            else:
                await self._permissions.check_may_send(tx, room, author)
            message, event = await redeliver(tx, message, author, self._now_ms())
        if event is not None:
            publish_all(self._publish, [event, OutboxChanged()])
        return message

    async def _content(self, author: Author, draft: Draft) -> Content:
        """Render the content of a draft. Raises NotFound for a file that is not this author's upload."""
        if draft.poll is not None:
            text = poll_text(draft.poll)
            # The event has the texts twice: as options and as fallback.
            check_body_size(text + text)
            return Content(text, details=Details(poll=draft.poll))
        if draft.location is not None:
            return await self._location(draft, draft.location)
        if draft.media is None:
            return await self._formatter.content(draft.body, msgtype=draft.msgtype, media=None)
        async with self._store.read_only() as tx:
            media = await tx.media.upload_of(author, draft.media)
        if media is None:
            raise NotFound("no_such_media", f"you have uploaded no file {draft.media!r}")
        msgtype = msgtype_of(media.mimetype)
        if draft.voice is not None:
            if msgtype != "m.audio":
                raise InvalidInput("no_audio", "a voice message needs an audio file", status=422)
            media = replace(media, is_voice=True, duration_ms=draft.voice.duration_ms, waveform=draft.voice.waveform)
        if not draft.body.strip():
            # A file name is not Markdown.
            return Content(media.filename, msgtype=msgtype, media=media)
        return await self._formatter.content(draft.body, msgtype=msgtype, media=media)

    async def _location(self, draft: Draft, location: Location) -> Content:
        text = draft.body.strip() or location.description or geo_uri(location)
        content = await self._formatter.content(text, msgtype="m.location", media=None)
        return replace(content, details=replace(content.details, location=location))

    async def receive(
        self,
        tx: CityTransaction,
        room: Room,
        author: Author,
        content: Content,
        *,
        event_id: EventId,
        created_at_ms: int,
        reply_to: EventId | None = None,
        thread_root: EventId | None = None,
        is_history: bool = False,
        visibility: HistoryVisibility | None = None,
        before: MessageId | None = None,
        is_new: bool = False,
    ) -> ReceivedMessage:
        """Store a message that was written on Matrix, inside the caller's transaction.

        Args:
            tx: The caller's transaction.
            author: The sender.
            content: The message's content.
            event_id: The message's event.
            created_at_ms: The event's ``origin_server_ts``.
            reply_to: The event that the message replies to.
            thread_root: The event of the root of the message's thread.
            is_history: Insert the message before everything that the room holds.
            visibility: The room's history visibility when it was written, if that differs from the present one.
            before: Insert the message before this one.
            is_new: Whether the caller knows that the message does not exist.
        """
        if not is_new and await tx.messages.by_event_id(event_id):
            return ReceivedMessage()
        # The sender's server sets the time. A clock that is ahead must not put the message on top of every list.
        created_at_ms = plausible_ms(created_at_ms, self._now_ms())
        replied_to = await find_message_of_event(tx, reply_to) if reply_to else None
        if replied_to is not None and replied_to.room_id != room.id:
            replied_to = None
        thread = await thread_of_event(tx, room, thread_root, replied_to)
        if is_history:
            position = TimelinePosition(await tx.rooms.earlier_seq(room.id))
        else:
            position = await insert_position(tx, room.id, before, now_ms=created_at_ms)
        message = _message(
            MessageId(self._new_id()),
            room,
            position.seq,
            author,
            content,
            created_at_ms,
            reply_to=replied_to.id if replied_to is not None else None,
        )
        message = replace(
            message,
            matrix_event_id=event_id,
            delivery=Delivery.SENT,
            thread_root=thread.root,
            thread_root_event=thread.root_event,
            visibility=visibility or position.visibility or room.history_visibility,
        )
        if message.visibility not in (room.history_visibility, HistoryVisibility.WORLD_READABLE):
            await tx.rooms.mark_private(room.id)
        early = await tx.messages.add(message)
        await tx.search.add([message])
        thread_events = await update_threads(
            tx, message, self._now_ms(), has_replies=early.has_replies, is_history=is_history
        )
        if is_history:
            return ReceivedMessage((MessagePosted(message),), early.has_edits)
        moved = [await add_resync_event(tx, message, position.moved, self._now_ms())] if position.moved else []
        mentioned = await self._record_unread(tx, message, replied_to)
        await self._add_to_feed(tx, room, message)
        # After an outage, agents do not reply to messages that old: their authors no longer wait for a reply.
        is_recent = self._now_ms() - created_at_ms < _MAX_REQUEST_AGE_MS
        is_pending = is_recent and await self._agent_replies.add(tx, room, message)
        pending = [RepliesPending()] if is_pending else []
        return ReceivedMessage((*moved, MessagePosted(message, mentioned), *thread_events, *pending), early.has_edits)

    async def _record_unread(
        self, tx: CityTransaction, message: Message, replied_to: Message | None
    ) -> frozenset[SubjectId]:
        """Store whom the message mentions, and that its author has read the room; return whom it mentions."""
        mentioned = await mentioned_in(tx, message, replied_to.author if replied_to is not None else None)
        if mentioned:
            await tx.mentions.put(message, mentioned)
        citizen = self._permissions.citizen_of(message.author)
        if citizen is not None:
            mark = ReadMark(citizen, message.room_id, message.seq, message.thread_root)
            await tx.read_marks.advance([mark], are_rooms_locked=True)
        return mentioned

    async def _add_to_feed(self, tx: CityTransaction, room: Room, message: Message) -> None:
        """Add the message to the feed, unless it is in a direct chat."""
        if room.agent is None and not room.is_direct:
            await tx.feed.add([self._feed.message(message)])

    async def mark_sent(self, tx: CityTransaction, message: Message, event_id: EventId) -> RoomEventStored:
        """Record that Matrix has the message as ``event_id``. Returns the event to publish after the commit."""
        await tx.messages.mark_sent(message.id, event_id)
        message = replace(message, matrix_event_id=event_id, delivery=Delivery.SENT, delivery_error=None)
        if message.deleted and not await tx.outbox.is_deleting(message.id):
            # The outbox dropped the deletion while no event was known. Now there is an event to redact.
            await tx.outbox.add(OutboxKind.DELETE, message.id, message.room_id, txn_id=self._new_id())
        return await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())

    async def mark_failed(self, tx: CityTransaction, message: Message, error: DeliveryError) -> RoomEventStored:
        """Record that the delivery of a message failed for good. Returns the event to publish after the commit."""
        error = await most_specific_error(tx, self._permissions, message, error)
        await tx.messages.mark_failed(message.id, error)
        message = replace(message, delivery=Delivery.FAILED, delivery_error=error)
        return await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())


def _message(
    message_id: MessageId,
    room: Room,
    seq: int,
    author: Author,
    content: Content,
    created_at_ms: int,
    *,
    reply_to: MessageId | None,
) -> Message:
    return Message(
        id=message_id,
        room_id=room.id,
        seq=seq,
        author=author,
        body=content.body,
        created_at_ms=created_at_ms,
        formatted_body=content.formatted_body,
        msgtype=content.msgtype,
        media=content.media,
        mentions=content.mentions,
        reply_to=reply_to,
        visibility=room.history_visibility,
        details=content.details,
        poll_results=count_votes(poll, (), ended_at_ms=None) if (poll := content.details.poll) else None,
    )
