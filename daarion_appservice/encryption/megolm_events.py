"""Decrypts room events of type ``m.room.encrypted``.

The caller parses an event, reads the sessions and the index row that it names, and decrypts:

    parse_megolm_event ─► sessions of (room, session id) ─► select_session ─► index row of (session, owner, index)
                                                             decrypt_megolm_event ─► content, new index row
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..city.types import EventId, MatrixRoomId, UserId
from .accounts import MEGOLM
from .base64_text import decode_base64, encode_base64, normalized_key
from .errors import InvalidContent, ReplayedMessage, UnknownSession, WrongContext
from .json_fields import Json, id_field, object_field, parse_object
from .primitives import MegolmReceiver, PickleKey, megolm_index
from .rows import InboundSessionRow, IndexRow, KeyOrigin

_RELATION = "m.relates_to"


@dataclass(frozen=True, slots=True)
class MegolmReference:
    """An encrypted room event, parsed but not decrypted."""

    room: MatrixRoomId
    event_id: EventId
    sender: UserId
    session_id: str
    index: int
    ciphertext: str
    curve25519: str | None
    """``sender_key``, which newer clients leave out; a hint only."""
    device_id: str | None
    """``device_id``, which newer clients leave out; a hint only, for key requests."""
    relation: dict[str, Any] | None
    """``m.relates_to``, which stands in clear."""


@dataclass(frozen=True, slots=True)
class MegolmDecrypted:
    """A decrypted room event, and the index row to store in the transaction that marks the event as processed."""

    type: str
    content: dict[str, Any]
    index: IndexRow
    origin: KeyOrigin
    """The way by which the key came: `KeyOrigin.BUNDLE` means that the inviter vouches for the author."""


def parse_megolm_event(event: Json, *, room: MatrixRoomId) -> MegolmReference:
    """Parse an encrypted room event.

    Args:
        event: The event as the homeserver sent it; any JSON object.
        room: The room in which it came.

    Returns:
        The parsed event, which names the session to read.

    Raises:
        InvalidContent: The event is malformed, or encrypted with another algorithm.
    """
    content = object_field(event, "content")
    if event.get("type") != "m.room.encrypted" or content.get("algorithm") != MEGOLM or "state_key" in event:
        raise InvalidContent("not a Megolm event")
    ciphertext = encode_base64(decode_base64(content.get("ciphertext"), what="ciphertext"))
    relation = content.get(_RELATION)
    return MegolmReference(
        room=room,
        event_id=EventId(id_field(event, "event_id")),
        sender=UserId(id_field(event, "sender")),
        session_id=normalized_key(content.get("session_id"), what="session_id"),
        index=megolm_index(ciphertext),
        ciphertext=ciphertext,
        curve25519=normalized_key(content["sender_key"]) if content.get("sender_key") is not None else None,
        device_id=id_field(content, "device_id") if content.get("device_id") is not None else None,
        relation=relation if isinstance(relation, dict) else None,
    )


def select_session(reference: MegolmReference, sessions: Iterable[InboundSessionRow]) -> InboundSessionRow:
    """Choose the session that decrypts an event: one that belongs to the sender of the event.

    Args:
        reference: The event.
        sessions: The stored sessions with the room and session id of the event.

    Returns:
        The session; a key from its owner is preferred to a forwarded one.

    Raises:
        UnknownSession: There is no session of the sender, or none that begins early enough. That another user claims the
            session does not count: any member who has its key can do so before the key of the owner comes.
        WrongContext: The event names another user's device and its session: a member repeats that user's message.
    """
    named = [row for row in sessions if (row.room, row.session_id) == (reference.room, reference.session_id)]
    owned = [row for row in named if row.owner == reference.sender]
    if not owned and any(row.curve25519 == reference.curve25519 for row in named):
        raise WrongContext(f"the session {reference.session_id} does not belong to {reference.sender}")
    early = [row for row in owned if row.first_index <= reference.index]
    if not early:
        raise UnknownSession(f"no key for index {reference.index} of session {reference.session_id}")
    return min(early, key=lambda row: (row.origin is not KeyOrigin.DIRECT, row.curve25519 != reference.curve25519))


def decrypt_megolm_event(
    reference: MegolmReference, session: InboundSessionRow, *, seen: IndexRow | None, key: PickleKey
) -> MegolmDecrypted:
    """Decrypt a room event.

    Args:
        reference: The event.
        session: The session that `select_session` returned; it does not change.
        seen: The stored index row for the session, its owner and the event's index; None if there is none.
        key: The key for the pickles.

    Returns:
        The type and content of the decrypted event; a relation in clear is in the content again.

    Raises:
        ReplayedMessage: The index belongs to another event.
        Undecryptable: The ciphertext does not fit the session.
        WrongContext: The session is another user's, or the event was encrypted for another room.
        InvalidContent: The plaintext is not a room event.
    """
    if (session.owner, session.room, session.session_id) != (reference.sender, reference.room, reference.session_id):
        raise WrongContext("the session is that of another user or room")
    if seen is not None and seen.event_id != reference.event_id:
        raise ReplayedMessage(f"index {reference.index} of the session belongs to {seen.event_id}")
    plaintext, index = MegolmReceiver.from_pickle(session.pickle, key).decrypt(reference.ciphertext)
    payload = parse_object(plaintext, what="the Megolm payload")
    if payload.get("room_id") != reference.room:
        raise WrongContext("the event was encrypted for another room")
    event_type, content = id_field(payload, "type"), object_field(payload, "content")
    if event_type == "m.room.encrypted" or "state_key" in payload:
        raise InvalidContent("the Megolm payload is not a message event")
    if reference.relation is not None:
        content[_RELATION] = reference.relation
    index_row = IndexRow(reference.room, reference.session_id, reference.sender, index, reference.event_id)
    return MegolmDecrypted(event_type, content, index_row, session.origin)
