"""Inbound Megolm sessions: from room keys and forwarded keys, and which of two copies of a session to keep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ..city.types import MatrixRoomId, UserId
from .accounts import MEGOLM
from .base64_text import normalized_key
from .errors import InvalidContent, WrongContext
from .json_fields import Json, id_field, text_field
from .olm_events import OlmEvent
from .primitives import MegolmReceiver, PickleKey
from .rows import InboundSessionRow, KeyOrigin, KeyRequestRow

ROOM_KEY: Final = "m.room_key"
FORWARDED_ROOM_KEY: Final = "m.forwarded_room_key"


def from_room_key(event: OlmEvent, *, ghost: UserId, key: PickleKey) -> InboundSessionRow:
    """Read the session in an ``m.room_key``: its owner is the device that sent the event.

    Args:
        event: The decrypted event.
        ghost: The ghost that received it.
        key: The key for the pickles.

    Returns:
        The session, to be merged with a stored one (`merge`).

    Raises:
        InvalidContent: The event is malformed, or its key is not signed by the session.
    """
    _require_type(event, ROOM_KEY)
    receiver = MegolmReceiver.from_session_key(text_field(event.content, "session_key"))
    return read_session(
        event.content, receiver, owner=(event.sender, event.curve25519), origin=KeyOrigin.DIRECT, ghost=ghost, key=key
    )


def from_forwarded_key(
    event: OlmEvent, requests: Iterable[KeyRequestRow], *, ghost: UserId, key: PickleKey
) -> InboundSessionRow:
    """Read the session in an ``m.forwarded_room_key`` that the owner's device sent at our request.

    Forwards of other devices are refused: the unsigned format does not prove whose session it is.

    Args:
        event: The decrypted event.
        requests: The open requests of the ghost.
        ghost: The ghost that received it.
        key: The key for the pickles.

    Returns:
        The session, to be merged with a stored one (`merge`).

    Raises:
        WrongContext: No key request for the session was sent to that user, or the device does not own it.
        InvalidContent: The event is malformed.
    """
    _require_type(event, FORWARDED_ROOM_KEY)
    if normalized_key(event.content.get("sender_key"), what="sender_key") != event.curve25519:
        raise WrongContext("a forwarded key of another device's session")
    receiver = MegolmReceiver.from_exported_key(text_field(event.content, "session_key"))
    row = read_session(
        event.content,
        receiver,
        owner=(event.sender, event.curve25519),
        origin=KeyOrigin.FORWARDED,
        ghost=ghost,
        key=key,
    )
    asked = {(request.ghost, request.room, request.session_id, request.user) for request in requests}
    if (ghost, row.room, row.session_id, row.owner) not in asked:
        raise WrongContext("a forwarded key that was not requested")
    return row


def read_session(
    content: Json,
    receiver: MegolmReceiver,
    *,
    owner: tuple[UserId, str],
    origin: KeyOrigin,
    ghost: UserId,
    key: PickleKey,
) -> InboundSessionRow:
    """Read the fields that all formats of a room key share.

    Args:
        content: The JSON object with ``algorithm``, ``room_id`` and ``session_id``.
        receiver: The session of its ``session_key``.
        owner: The user and the identity key of the device that owns the session.
        origin: The way by which the key came.
        ghost: The ghost that received it.
        key: The key for the pickles.

    Raises:
        InvalidContent: The algorithm is not Megolm, or the key is that of another session.
    """
    if content.get("algorithm") != MEGOLM:
        raise InvalidContent("not a key of a Megolm session")
    if text_field(content, "session_id") != receiver.session_id:
        raise InvalidContent("session_id is not that of the session_key")
    room = MatrixRoomId(id_field(content, "room_id"))
    user, curve25519 = owner
    return InboundSessionRow(
        room, receiver.session_id, curve25519, user, receiver.first_index, receiver.pickle(key), origin, ghost
    )


def merge(known: InboundSessionRow | None, new: InboundSessionRow, key: PickleKey) -> InboundSessionRow | None:
    """Decide which of two copies of a session to store.

    A copy that begins earlier wins if both are the same ratchet. An unsigned copy cannot replace a key that came from
    the owner with another ratchet, and a key from the owner replaces an unsigned copy that was forged.

    Args:
        known: The stored copy; None if there is none.
        new: The copy that came.
        key: The key for the pickles.

    Returns:
        The row to store; None if the stored one stays as it is.

    Raises:
        WrongContext: The two rows are of different sessions.
    """
    if known is None:
        return new
    if (known.room, known.session_id, known.curve25519) != (new.room, new.session_id, new.curve25519):
        raise WrongContext("two different sessions")
    is_new_direct, is_known_direct = new.origin is KeyOrigin.DIRECT, known.origin is KeyOrigin.DIRECT
    if known.owner != new.owner or not _are_same_ratchet(known, new, key):
        return new if is_new_direct and not is_known_direct else None
    best = min(known, new, key=lambda row: row.first_index)
    if is_new_direct or is_known_direct:
        # The ratchet of the signed copy follows from the earlier one, so that one is the owner's as well.
        best = replace(best, origin=KeyOrigin.DIRECT)
    return None if best == known else best


def _are_same_ratchet(one: InboundSessionRow, other: InboundSessionRow, key: PickleKey) -> bool:
    index = max(one.first_index, other.first_index)
    exported = [MegolmReceiver.from_pickle(row.pickle, key).export_at(index) for row in (one, other)]
    return exported[0] == exported[1]


def _require_type(event: OlmEvent, event_type: str) -> None:
    if event.type != event_type:
        raise InvalidContent(f"not an {event_type}")
