"""Posting: a message enters the city, from the city's own API or from Matrix."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from ..errors import Conflict, InvalidInput, NotFound
from .events import MessagePosted
from .feed import FeedWriter
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish
from .types import Author, Delivery, EventId, Message, MessageId, Room

MAX_BODY_BYTES: Final = 48_000
"""How large a body may be as JSON: an event holds 65,536 bytes at most, and the rest of it needs room too."""


@dataclass(frozen=True, slots=True)
class Posted:
    message: Message
    is_new: bool
    """False when the same ``client_id`` had posted it before."""


class Messages:
    def __init__(self, store: CityStore, publish: Publish, now_ms: NowMs, new_id: NewId) -> None:
        self._store = store
        self._publish = publish
        self._now_ms = now_ms
        self._new_id = new_id
        self._feed = FeedWriter(new_id)

    async def post(
        self,
        author: Author,
        room_id: str,
        body: str,
        *,
        reply_to: str | None = None,
        client_id: str | None = None,
    ) -> Posted:
        """Accept a message from the city's side: it is stored together with its way to Matrix.

        Raises NotFound for an unknown room or message replied to, Conflict for an archived room, InvalidInput for a body
        that is empty, too large, or cannot stand in a Matrix event.
        """
        check_body(body)
        async with self._store.transaction() as tx:
            # Held, so that of two that come with the same client_id at once the second finds the first.
            room = await tx.rooms.hold(room_id)
            if room is None:
                raise NotFound("no_such_room", f"there is no room {room_id!r}")
            if room.archived:
                raise Conflict("room_archived", f"the room {room.slug} is archived: it can be read, but not written to")
            if client_id is not None and (posted := await tx.messages.by_client_id(author, room.id, client_id)):
                return Posted(posted, is_new=False)
            if reply_to is not None:
                await _must_be_in(tx, room, reply_to)
            now_ms = self._now_ms()
            message = Message(
                id=MessageId(self._new_id()),
                room_id=room.id,
                seq=await tx.rooms.next_seq(room.id, now_ms=now_ms),
                author=author,
                body=body,
                created_at_ms=now_ms,
                reply_to=MessageId(reply_to) if reply_to else None,
                client_id=client_id,
            )
            await tx.messages.add(message)
            await tx.feed.add([self._feed.message(message)])
            await tx.outbox.add(message.id, room.id, txn_id=message.id)
        self._publish(MessagePosted(message))
        return Posted(message, is_new=True)

    async def receive(
        self,
        tx: CityTransaction,
        room: Room,
        author: Author,
        body: str,
        *,
        msgtype: str,
        event_id: EventId,
        created_at_ms: int,
        is_history: bool = False,
    ) -> MessagePosted | None:
        """Take over a message that was written on Matrix, inside the caller's transaction.

        Returns what to publish once that is committed; None when the message is here already. ``is_history`` puts it
        before everything that the room holds.
        """
        if await tx.messages.by_event_id(event_id):
            return None
        # The time is what the sender's server says it is; one whose clock is ahead does not stay on top of every list.
        created_at_ms = min(created_at_ms, self._now_ms())
        seq = (
            await tx.rooms.earlier_seq(room.id)
            if is_history
            else await tx.rooms.next_seq(room.id, now_ms=created_at_ms)
        )
        message = Message(
            id=MessageId(self._new_id()),
            room_id=room.id,
            seq=seq,
            author=author,
            body=body,
            created_at_ms=created_at_ms,
            msgtype=msgtype,
            matrix_event_id=event_id,
            delivery=Delivery.SENT,
        )
        await tx.messages.add(message)
        if not is_history:
            await tx.feed.add([self._feed.message(message)])
        return MessagePosted(message)


def check_body(body: str) -> None:
    """Raise InvalidInput when ``body`` cannot be a message."""
    if not body.strip():
        raise InvalidInput("message_empty", "a message needs a text", status=422)
    if len(json.dumps(body, ensure_ascii=False).encode()) > MAX_BODY_BYTES:
        raise InvalidInput(
            "message_too_long",
            f"a message may have {MAX_BODY_BYTES} bytes at most; send a longer one in parts",
            status=413,
        )


async def _must_be_in(tx: CityTransaction, room: Room, message_id: str) -> None:
    message = await tx.messages.get(MessageId(message_id))
    if message is None or message.room_id != room.id:
        raise NotFound("no_such_message", f"there is no message {message_id!r} in the room {room.slug} to reply to")
