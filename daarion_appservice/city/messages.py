"""Posting: a message enters the city, from the city's own API or from Matrix, and gets to Matrix or does not."""

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
    RoomEventKind,
    RoomId,
)

MAX_BODY_BYTES: Final = 48_000
"""How large a body may be as JSON: an event holds 65,536 bytes at most, and the rest of it needs room too."""

_ANSWERED_WITHIN_MS: Final = 3_600_000
"""How old a question from Matrix may be when it comes in, to be answered."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody in the city wants to say. ``body`` is Markdown; with a file it may be empty."""

    body: str
    msgtype: str = "m.text"
    reply_to: str | None = None
    client_id: str | None = None
    media: str | None = None
    is_whole: bool = True
    """False when the author goes on by editing it: then it asks nobody anything yet."""
    """The address of a file that they have brought in."""


@dataclass(frozen=True, slots=True)
class Posted:
    message: Message
    is_new: bool
    """False when the same ``client_id`` had posted it before."""


class Messages:
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
        """Accept a message from the city's side: it is stored together with its way to Matrix.

        Raises NotFound for an unknown room or message replied to, Conflict for an archived room, Forbidden for somebody who
        may not speak there, InvalidInput for a body that is empty, too large, or cannot stand in a Matrix event.
        """
        check_size(draft.body)
        content = await self._content(author, draft)
        check_content(content)
        client_id = draft.client_id
        async with parsed_ahead(prose_ahead(draft.body)), self._store.transaction() as tx:
            # Held, so that of two that come with the same client_id at once the second finds the first.
            room = await hold_open(tx, room_id, author, self._permissions)
            if client_id is not None and (posted := await tx.messages.by_client_id(author, room.id, client_id)):
                return Posted(posted, is_new=False)
            await self._permissions.check_may_speak(tx, room, author)
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
        """Have the author join a room that only members read, before their message; without that they could not read it."""
        if room.agent is not None or is_readable_by_all(room):
            # Matrix has them join when it gets the message.
            return []
        member = self._membership_recorder.member(room.id, author)
        if await tx.members.get(room.id, member.user_id) is not None:
            return []
        return await enter_room(tx, self._membership_recorder, member, txn_id=self._new_id())

    async def send_again(self, author: Author, room_id: str, message_id: str, *, may_moderate: bool = False) -> Message:
        """Try anew to get one's own message to Matrix, or anybody's as an admin; one that did not fail is left as it is.

        Raises NotFound, Forbidden for another's message or somebody who may not speak there, Conflict in an archived room.
        """
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._permissions)
            if message.author.subject != author.subject:
                if not may_moderate:
                    raise Forbidden("not_yours", "only their author may send messages again")
            else:
                await self._permissions.check_may_speak(tx, room, author)
            message, happened = await redeliver(tx, message, author, self._now_ms())
        if happened is not None:
            publish_all(self._publish, [happened, OutboxChanged()])
        return message

    async def _content(self, author: Author, draft: Draft) -> Content:
        """Raises NotFound for a file that is not this author's upload."""
        if draft.media is None:
            return await self._formatter.content(draft.body, msgtype=draft.msgtype, media=None)
        async with self._store.reading() as tx:
            media = await tx.media.upload_of(author, draft.media)
        if media is None:
            raise NotFound("no_such_media", f"you have brought in no file {draft.media!r}")
        msgtype = msgtype_of(media.mimetype)
        if not draft.body.strip():
            # A file's name is no Markdown.
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
        """Take over a message that was written on Matrix, inside the caller's transaction.

        Returns what to publish once that is committed; nothing when the message is here already. ``is_history`` puts it
        before everything that the room holds, ``before`` before one of its messages. ``visibility`` is the room's history
        visibility when it was written, if that was not the present one.
        """
        if await tx.messages.by_event_id(event_id):
            return []
        # The time is what the sender's server says it is; one whose clock is ahead does not stay on top of every list.
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
        # Whoever asked that long ago has gone on by now: what comes in after an outage is not all answered at once.
        is_recent = self._now_ms() - created_at_ms < _ANSWERED_WITHIN_MS
        owed = await self._answers.note(tx, room, message) if is_recent else []
        return [*told, MessagePosted(message), *([RepliesPending()] if owed else [])]

    async def _tell(self, tx: CityTransaction, room: Room, message: Message) -> None:
        """What is said in public is told on the front page."""
        if room.agent is None:
            await tx.feed.add([self._feed.message(message)])

    async def arrived(self, tx: CityTransaction, message: Message, event_id: EventId) -> RoomEventStored:
        """Matrix has the message, as ``event_id``; returns what to publish once that is committed."""
        await tx.messages.delivered(message.id, event_id)
        message = replace(message, matrix_event_id=event_id, delivery=Delivery.SENT, delivery_error=None)
        if message.deleted and not await tx.outbox.is_deleting(message.id):
            # Its deletion was dropped from the outbox while no event was known: now there is something to redact on Matrix.
            await tx.outbox.add(OutboxKind.DELETE, message.id, message.room_id, txn_id=self._new_id())
        return await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())

    async def given_up(self, tx: CityTransaction, message: Message, error: DeliveryError) -> RoomEventStored:
        """End the delivery of a message that Matrix will not get; returns what to publish once that is committed."""
        error = await most_specific_error(tx, self._permissions, message, error)
        await tx.messages.not_delivered(message.id, error)
        message = replace(message, delivery=Delivery.FAILED, delivery_error=error)
        return await record(tx, RoomEventKind.UPDATED, message, message.author, self._now_ms())


def check_content(content: Content) -> None:
    """Raise InvalidInput when this cannot be a message."""
    if not content.body.strip():
        raise InvalidInput("message_empty", "a message needs a text", status=422)
    check_size(content.body)


def check_size(body: str) -> None:
    """Raise InvalidInput for a body that is too large for an event; costs next to nothing, and comes before all that does."""
    # A character has at least one byte.
    if len(body) > MAX_BODY_BYTES or _json_bytes(body) > MAX_BODY_BYTES:
        raise InvalidInput(
            "message_too_long",
            f"a message may have {MAX_BODY_BYTES} bytes at most; send a longer one in parts",
            status=413,
        )


def cut_to_fit(body: str) -> str:
    """As much of ``body`` as a message holds, with an ellipsis where something is missing."""
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
    """A message that may be changed, and its room, which is held until the transaction ends.

    Raises NotFound for a room or message that is unknown or that ``who`` may not read, Conflict for an archived room.
    """
    room = await hold_open(tx, room_id, who, permissions)
    message = await find_in(tx, room, message_id)
    if message.author.subject != who.subject:
        check_readable(message, room, await permissions.reading(tx, room, who))
    return room, message


async def hold_open(tx: CityTransaction, room_id: str, who: Author, permissions: RoomPermissions) -> Room:
    """A room that may be written to, held until the transaction ends.

    Raises NotFound for a room of which ``who`` may not know, too, and Conflict for an archived one.
    """
    room = await tx.rooms.hold(room_id) or await _own_chat(tx, room_id, who)
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
    """The direct chat, if it is one of this agent's."""
    if who.kind is not AuthorKind.AGENT:
        return None
    room = await tx.rooms.hold_any(RoomId(room_id))
    return room if room is not None and room.agent == who.id else None


async def knows_of(tx: CityTransaction, room: Room, who: Author, permissions: RoomPermissions) -> bool:
    """Whether ``who`` may know that there is this room; an agent knows of its direct chats."""
    return (
        room.agent is not None
        or is_known_to(room, PUBLIC)
        or is_known_to(room, await permissions.reading(tx, room, who))
    )


async def find_in(tx: CityTransaction, room: Room, message_id: str, reading: ReadableRanges | None = None) -> Message:
    """A room's message, with a ``reading`` only one that it may read; raises NotFound."""
    message = await tx.messages.get(MessageId(message_id))
    if message is None or message.room_id != room.id:
        raise _no_such_message(room, message_id)
    if reading is not None:
        check_readable(message, room, reading)
    return message


async def message_of_event(tx: CityTransaction, event: EventId) -> Message | None:
    """The message that a Matrix event is, or is an edit of."""
    message = await tx.messages.by_event_id(event)
    if message is None and (revision := await tx.revisions.by_event_id(event)):
        message = await tx.messages.get(revision.message_id)
    return message


def check_readable(message: Message, room: Room, reading: ReadableRanges) -> None:
    """Raise NotFound for a message that may not be read: that it is there is not told either."""
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
