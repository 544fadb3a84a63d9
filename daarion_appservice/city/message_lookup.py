"""Lookup of rooms and messages for an author: what does not exist and what is hidden raise the same NotFound."""

from __future__ import annotations

from ..errors import Conflict, NotFound
from .history_visibility import PUBLIC, ReadableRanges, is_known_to
from .permissions import RoomPermissions
from .ports import CityTransaction
from .room_deletions import check_not_being_deleted
from .types import Author, EventId, Message, MessageId, Room, RoomId


async def find_writable_message(
    tx: CityTransaction, room_id: str, message_id: str, author: Author, permissions: RoomPermissions
) -> tuple[Room, Message]:
    """Find a message that may be changed, and lock its room until the transaction ends.

    Raises:
        NotFound: The room or message does not exist, or the author may not read it.
        Conflict: The room is archived, encrypted or being deleted.
    """
    room = await lock_writable_room(tx, room_id, author, permissions)
    message = await find_message(tx, room, message_id)
    if message.author.subject != author.subject:
        check_readable(message, room, await permissions.readable_ranges(tx, room, author))
    return room, message


async def lock_writable_room(tx: CityTransaction, room_id: str, author: Author, permissions: RoomPermissions) -> Room:
    """Find a room that accepts messages, and lock it until the transaction ends.

    Raises:
        NotFound: The room does not exist, or the author may not know of it.
        Conflict: The room is archived, encrypted or being deleted.
    """
    room = await tx.rooms.lock(room_id) or await _lock_direct_chat(tx, room_id)
    if room is None or not await may_know_room(tx, room, author, permissions):
        raise NotFound("no_such_room", f"there is no room {room_id!r}")
    await check_not_being_deleted(tx, room)
    if room.archived:
        raise Conflict("room_archived", f"the room {room.slug} is archived: it can be read, but not written to")
    # In an encrypted direct chat the outbound worker encrypts, or refuses to send.
    if room.encrypted and room.agent is None:
        raise Conflict(
            "room_encrypted",
            f"the room {room.slug} is encrypted on Matrix: messages can no longer be posted",
        )
    return room


async def _lock_direct_chat(tx: CityTransaction, room_id: str) -> Room | None:
    """Return a direct chat that was opened on Matrix."""
    room = await tx.rooms.lock_any(RoomId(room_id))
    return None if room is None or room.agent is None else room


async def may_know_room(tx: CityTransaction, room: Room, author: Author, permissions: RoomPermissions) -> bool:
    """Return whether the author may know that the room exists; an agent knows of its direct chats."""
    return is_known_to(room, PUBLIC) or is_known_to(room, await permissions.readable_ranges(tx, room, author))


async def find_message(
    tx: CityTransaction, room: Room, message_id: str, readable: ReadableRanges | None = None
) -> Message:
    """Return a message of the room.

    Raises:
        NotFound: The room has no such message, or it is outside the ranges of ``readable``.
    """
    message = await tx.messages.get(MessageId(message_id))
    if message is None or message.room_id != room.id:
        raise _no_such_message(room, message_id)
    if readable is not None:
        check_readable(message, room, readable)
    return message


async def find_message_of_event(tx: CityTransaction, event: EventId) -> Message | None:
    """Return the message that a Matrix event posted or edited."""
    message = await tx.messages.by_event_id(event)
    if message is None and (revision := await tx.revisions.by_event_id(event)):
        message = await tx.messages.get(revision.message_id)
    return message


def check_readable(message: Message, room: Room, readable: ReadableRanges) -> None:
    """Raise NotFound for a message that may not be read, so that its existence is not disclosed."""
    if not readable.may_read_message(message):
        raise _no_such_message(room, message.id)


def _no_such_message(room: Room, message_id: str) -> NotFound:
    return NotFound("no_such_message", f"there is no message {message_id!r} in the room {room.slug}")
