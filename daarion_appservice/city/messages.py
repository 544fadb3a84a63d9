"""Posting: messages enter the city by its API or from Matrix, and their delivery to Matrix succeeds or fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from ..errors import Conflict, Forbidden, InvalidInput, NotFound
from .agent_replies import AgentReplies
from .delivery_errors import DeliveryError, most_specific_error
from .events import CityEvent, MessagePosted, OutboxChanged, RepliesPending, RoomEventStored
from .feed import FeedWriter
from .history_visibility import PUBLIC, ReadableRanges, is_known_to, is_readable_by_all
from .media import msgtype_of
from .parsing_threads import parsed_ahead, prose_ahead
from .ports import (
    CityStore,
    CityTransaction,
    MembershipRecorder,
    MessageFormatter,
    NewId,
    NowMs,
    Publish,
    RoomPermissions,
    publish_all,
)
from .redelivery import redeliver
from .room_entry import enter_room
from .room_events import RoomEventKind
from .room_sequence import TimelinePosition, insert_position, note_moved, record
from .timestamps import plausible_ms
from .types import (
    Author,
    AuthorKind,
    Content,
    Delivery,
    EventId,
    HistoryVisibility,
    Message,
    MessageId,
    OutboxKind,
    Room,
    RoomId,
)

MAX_BODY_BYTES: Final = 48_000
"""The largest body as JSON: an event has 65,536 bytes at most, and its other fields need room too."""

_ANSWERED_WITHIN_MS: Final = 3_600_000
"""The largest age of a message from Matrix that makes agents reply."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that a citizen or agent posts. ``body`` is Markdown, and may be empty if there is a file."""

    body: str
    msgtype: str = "m.text"
    reply_to: str | None = None
    client_id: str | None = None
    media: str | None = None
    """The ``mxc://`` URI of a file that the author uploaded."""
    is_whole: bool = True
    """False if the author continues the message by edits: agents then do not reply to it yet."""


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
        membership_recorder: MembershipRecorder,
        answers: AgentReplies,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._formatter = formatter
        self._permissions = permissions
        self._membership_recorder = membership_recorder
        self._answers = answers
        self._now_ms = now_ms
        self._new_id = new_id
        self._feed = FeedWriter(new_id)

    async def post(self, author: Author, room_id: str, draft: Draft) -> Posted:
        """Store a message of a citizen or agent together with its outbox entry.

        Raises:
            NotFound: The room or the message replied to does not exist.
            Conflict: The room is archived or encrypted.
            Forbidden: The author may not send messages in the room.
            InvalidInput: The body is empty, too large, or not allowed in a Matrix event.
        """
        check_size(draft.body)
        content = await self._content(author, draft)
        check_content(content)
        client_id = draft.client_id
        async with parsed_ahead(prose_ahead(draft.body)), self._store.transaction() as tx:
            # The room's row is locked: of two requests with the same client_id the second finds the first's message.
            room = await hold_open(tx, room_id, author, self._permissions)
            if client_id is not None and (posted := await tx.messages.by_client_id(author, room.id, client_id)):
                return Posted(posted, is_new=False)
            await self._permissions.check_may_send(tx, room, author)
            if draft.reply_to is not None:
                await find_in(tx, room, draft.reply_to, await self._permissions.reading(tx, room, author))
            come = await self._come(tx, room, author)
            now_ms = self._now_ms()
            message = _message(
                MessageId(self._new_id()),
                room,
                await tx.rooms.next_seq(room.id, now_ms=now_ms),
                author,
                content,
                now_ms,
                reply_to=MessageId(draft.reply_to) if draft.reply_to else None,
            )
            message = replace(message, client_id=client_id)
            await tx.messages.add(message)
            await self._tell(tx, room, message)
            await tx.outbox.add(OutboxKind.MESSAGE, message.id, room.id, txn_id=message.id)
            owed = await self._answers.note(tx, room, message) if draft.is_whole else []
        publish_all(
            self._publish, [*come, MessagePosted(message), OutboxChanged(), *([RepliesPending()] if owed else [])]
        )
        return Posted(message, is_new=True)

    async def _come(self, tx: CityTransaction, room: Room, author: Author) -> list[CityEvent]:
        """Have the author join a room that only members read, before their message: they could not read it otherwise."""
        if room.agent is not None or is_readable_by_all(room):
            # The outbox has the author join before it sends the message.
            return []
        member = self._membership_recorder.member(room.id, author)
        if await tx.members.get(room.id, member.user_id) is not None:
            return []
        return await enter_room(tx, self._membership_recorder, member, txn_id=self._new_id())

    async def send_again(self, author: Author, room_id: str, message_id: str, *, may_moderate: bool = False) -> Message:
        """Retry the failed delivery of one's own message, or of any message as a moderator.

        Other messages remain unchanged.

        Raises:
            NotFound: The room or the message does not exist.
            Forbidden: Another author's message, or the author may not send messages in the room.
            Conflict: The room is archived or encrypted.
        """
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._permissions)
            if message.author.subject != author.subject:
                if not may_moderate:
                    raise Forbidden("not_yours", "only their author may send messages again")
            else:
                await self._permissions.check_may_send(tx, room, author)
            message, happened = await redeliver(tx, message, author, self._now_ms())
        if happened is not None:
            publish_all(self._publish, [happened, OutboxChanged()])
        return message

    async def _content(self, author: Author, draft: Draft) -> Content:
        """Render the content of a draft. Raises NotFound for a file that is not this author's upload."""
        if draft.media is None:
            return await self._formatter.content(draft.body, msgtype=draft.msgtype, media=None)
        async with self._store.reading() as tx:
            media = await tx.media.upload_of(author, draft.media)
        if media is None:
            raise NotFound("no_such_media", f"you have brought in no file {draft.media!r}")
        msgtype = msgtype_of(media.mimetype)
        if not draft.body.strip():
            # A file name is not Markdown.
            return Content(media.filename, msgtype=msgtype, media=media)
        return await self._formatter.content(draft.body, msgtype=msgtype, media=media)

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
        is_history: bool = False,
        visibility: HistoryVisibility | None = None,
        before: MessageId | None = None,
    ) -> list[CityEvent]:
        """Store a message that was written on Matrix, inside the caller's transaction.

        Args:
            tx: The caller's transaction.
            room: The room.
            author: The sender.
            content: The message's content.
            event_id: The message's event.
            created_at_ms: The event's ``origin_server_ts``.
            reply_to: The event that the message replies to.
            is_history: Insert the message before everything that the room holds.
            visibility: The room's history visibility when it was written, if that differs from the present one.
            before: Insert the message before this one.

        Returns:
            The events to publish after the commit; none if the message exists.
        """
        if await tx.messages.by_event_id(event_id):
            return []
        # The sender's server sets the time. A clock that is ahead must not put the message on top of every list.
        created_at_ms = plausible_ms(created_at_ms, self._now_ms())
        replied_to = await message_of_event(tx, reply_to) if reply_to else None
        if is_history:
            place = TimelinePosition(await tx.rooms.earlier_seq(room.id))
        else:
            place = await insert_position(tx, room.id, before, now_ms=created_at_ms)
        visibility = visibility or place.visibility
        message = _message(
            MessageId(self._new_id()),
            room,
            place.seq,
            author,
            content,
            created_at_ms,
            reply_to=replied_to.id if replied_to and replied_to.room_id == room.id else None,
        )
        message = replace(message, matrix_event_id=event_id, delivery=Delivery.SENT)
        if visibility is not None and visibility is not room.history_visibility:
            message = replace(message, visibility=visibility)
            if visibility is not HistoryVisibility.WORLD_READABLE:
                await tx.rooms.has_private(room.id)
        await tx.messages.add(message)
        if is_history:
            return [MessagePosted(message)]
        told: list[CityEvent] = []
        if place.moved is not None:
            told.append(await note_moved(tx, message, place.moved, self._now_ms()))
        await self._tell(tx, room, message)
        # After an outage, agents do not reply to messages that old: their authors no longer wait for a reply.
        is_recent = self._now_ms() - created_at_ms < _ANSWERED_WITHIN_MS
        owed = await self._answers.note(tx, room, message) if is_recent else []
        return [*told, MessagePosted(message), *([RepliesPending()] if owed else [])]

    async def _tell(self, tx: CityTransaction, room: Room, message: Message) -> None:
        """Add the message to the feed, unless it is in a direct chat."""
        if room.agent is None:
            await tx.feed.add([self._feed.message(message)])

    async def arrived(self, tx: CityTransaction, message: Message, event_id: EventId) -> RoomEventStored:
        """Record that Matrix has the message as ``event_id``. Returns the event to publish after the commit."""
        await tx.messages.delivered(message.id, event_id)
        message = replace(message, matrix_event_id=event_id, delivery=Delivery.SENT, delivery_error=None)
        if message.deleted and not await tx.outbox.is_deleting(message.id):
            # The outbox dropped the deletion while no event was known. Now there is an event to redact.
            await tx.outbox.add(OutboxKind.DELETE, message.id, message.room_id, txn_id=self._new_id())
        return await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())

    async def given_up(self, tx: CityTransaction, message: Message, error: DeliveryError) -> RoomEventStored:
        """Record that the delivery of a message failed for good. Returns the event to publish after the commit."""
        error = await most_specific_error(tx, self._permissions, message, error)
        await tx.messages.not_delivered(message.id, error)
        message = replace(message, delivery=Delivery.FAILED, delivery_error=error)
        return await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())


def check_content(content: Content) -> None:
    """Raise InvalidInput unless this can be the content of a message."""
    if not content.body.strip():
        raise InvalidInput("message_empty", "a message needs a text", status=422)
    check_size(content.body)


def check_size(body: str) -> None:
    """Raise InvalidInput for a body that is too large for an event.

    The check is cheap and precedes the expensive steps.
    """
    # A character has at least one byte.
    if len(body) > MAX_BODY_BYTES or _json_bytes(body) > MAX_BODY_BYTES:
        raise InvalidInput(
            "message_too_long",
            f"a message may have {MAX_BODY_BYTES} bytes at most; send a longer one in parts",
            status=413,
        )


def cut_to_fit(body: str) -> str:
    """Return the longest start of ``body`` that fits into a message, with an ellipsis if anything is cut."""
    if _json_bytes(body) <= MAX_BODY_BYTES:
        return body
    room = MAX_BODY_BYTES - _json_bytes("…")
    at_least, too_many = 0, len(body)
    while too_many - at_least > 1:
        middle = (at_least + too_many) // 2
        if _json_bytes(body[:middle]) <= room:
            at_least = middle
        else:
            too_many = middle
    return body[:at_least] + "…"


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


async def find_open(
    tx: CityTransaction, room_id: str, message_id: str, who: Author, permissions: RoomPermissions
) -> tuple[Room, Message]:
    """Find a message that may be changed, and lock its room until the transaction ends.

    Raises:
        NotFound: The room or message does not exist, or ``who`` may not read it.
        Conflict: The room is archived or encrypted.
    """
    room = await hold_open(tx, room_id, who, permissions)
    message = await find_in(tx, room, message_id)
    if message.author.subject != who.subject:
        check_readable(message, room, await permissions.reading(tx, room, who))
    return room, message


async def hold_open(tx: CityTransaction, room_id: str, who: Author, permissions: RoomPermissions) -> Room:
    """Find a room that accepts messages, and lock it until the transaction ends.

    Raises:
        NotFound: The room does not exist, or ``who`` may not know of it.
        Conflict: The room is archived or encrypted.
    """
    room = await tx.rooms.lock(room_id) or await _own_chat(tx, room_id, who)
    if room is None or not await knows_of(tx, room, who, permissions):
        raise NotFound("no_such_room", f"there is no room {room_id!r}")
    if room.archived:
        raise Conflict("room_archived", f"the room {room.slug} is archived: it can be read, but not written to")
    if room.encrypted:
        raise Conflict(
            "room_encrypted",
            f"the room {room.slug} is encrypted on Matrix: nothing can be said there from the city any more",
        )
    return room


async def _own_chat(tx: CityTransaction, room_id: str, who: Author) -> Room | None:
    """Return the direct chat if it belongs to this agent."""
    if who.kind is not AuthorKind.AGENT:
        return None
    room = await tx.rooms.lock_any(RoomId(room_id))
    return room if room is not None and room.agent == who.id else None


async def knows_of(tx: CityTransaction, room: Room, who: Author, permissions: RoomPermissions) -> bool:
    """Whether ``who`` may know that the room exists; an agent knows of its direct chats."""
    return (
        room.agent is not None
        or is_known_to(room, PUBLIC)
        or is_known_to(room, await permissions.reading(tx, room, who))
    )


async def find_in(tx: CityTransaction, room: Room, message_id: str, reading: ReadableRanges | None = None) -> Message:
    """Return a message of the room.

    Raises:
        NotFound: The room has no such message, or it is outside the ranges of ``reading``.
    """
    message = await tx.messages.get(MessageId(message_id))
    if message is None or message.room_id != room.id:
        raise _no_such_message(room, message_id)
    if reading is not None:
        check_readable(message, room, reading)
    return message


async def message_of_event(tx: CityTransaction, event: EventId) -> Message | None:
    """Return the message that a Matrix event posted or edited."""
    message = await tx.messages.by_event_id(event)
    if message is None and (revision := await tx.revisions.by_event_id(event)):
        message = await tx.messages.get(revision.message_id)
    return message


def check_readable(message: Message, room: Room, reading: ReadableRanges) -> None:
    """Raise NotFound for a message that may not be read, so that its existence is not disclosed."""
    if room.agent is None and not reading.may_read_message(message):
        raise _no_such_message(room, message.id)


def _no_such_message(room: Room, message_id: str) -> NotFound:
    return NotFound("no_such_message", f"there is no message {message_id!r} in the room {room.slug}")


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
    )
