"""Rows of encryption with ids as long and values as large as they can be."""

from __future__ import annotations

from daarion_appservice.city.types import EventId, MatrixRoomId, UserId
from daarion_appservice.encryption.rows import (
    AccountRow,
    DeviceRow,
    InboundSessionRow,
    IndexRow,
    KeyOrigin,
    KeyRequestRow,
    OlmSessionRow,
    OutboundSessionRow,
    SharedRow,
    WithheldRow,
)
from daarion_appservice.storage.encryption.encrypted_entries import EncryptedEntry
from daarion_appservice.storage.encryption.undecrypted import UndecryptedRow

SCRIBE, GUIDE = UserId("@agent_scribe:city.localhost"), UserId("@agent_guide:city.localhost")
ALICE, BOB = UserId("@alice:city.localhost"), UserId("@bob:city.localhost")
ROOM, OTHER_ROOM = MatrixRoomId("!room:city.localhost"), MatrixRoomId("!other:city.localhost")
CURVE, OTHER_CURVE = "c" * 43, "d" * 43
SESSION, OTHER_SESSION = "s" * 43, "t" * 43
LAST_INDEX = 2**32 - 1
"""The highest index of a Megolm session, beyond an INTEGER of PostgreSQL."""
NOW_MS = 1_900_000_000_000
EMOJI_DEVICE = "😀" * 63
"""A device id of 252 bytes, which no client sends and no homeserver refuses."""


def account_row(ghost: UserId = SCRIBE, device_id: str = "E2E_1", pickle: str = "p" * 20_000) -> AccountRow:
    return AccountRow(ghost, device_id, CURVE, "e" * 43, pickle, "master", "self-signing")


def device_row(
    user: UserId = ALICE, device_id: str = "PHONE", curve25519: str = CURVE, *, is_cross_signed: bool = False
) -> DeviceRow:
    return DeviceRow(user, device_id, curve25519, "e" * 43, is_cross_signed)


def olm_row(
    session_id: str = SESSION,
    *,
    ghost: UserId = SCRIBE,
    curve25519: str = CURVE,
    pickle: str = "p",
    used_at_ms: int = NOW_MS,
) -> OlmSessionRow:
    return OlmSessionRow(ghost, curve25519, session_id, pickle, used_at_ms)


def inbound_row(
    session_id: str = SESSION,
    *,
    room: MatrixRoomId = ROOM,
    curve25519: str = CURVE,
    owner: UserId = ALICE,
    first_index: int = LAST_INDEX,
    origin: KeyOrigin = KeyOrigin.DIRECT,
    pickle: str = "p",
) -> InboundSessionRow:
    return InboundSessionRow(room, session_id, curve25519, owner, first_index, pickle, origin, SCRIBE)


def index_row(event_id: str = "$1", *, index: int = LAST_INDEX, owner: UserId = ALICE) -> IndexRow:
    return IndexRow(ROOM, SESSION, owner, index, EventId(event_id))


def outbound_row(
    session_id: str = SESSION, *, ghost: UserId = SCRIBE, room: MatrixRoomId = ROOM, sent: int = LAST_INDEX
) -> OutboundSessionRow:
    return OutboundSessionRow(ghost, room, session_id, "p", NOW_MS, sent)


def shared_row(
    device_id: str = "PHONE", *, session_id: str = SESSION, user: UserId = ALICE, withheld: str | None = None
) -> SharedRow:
    return SharedRow(session_id, user, device_id, CURVE, LAST_INDEX, withheld)


def request_row(
    request_id: str = "r1",
    *,
    ghost: UserId = SCRIBE,
    session_id: str = SESSION,
    user: UserId = ALICE,
    sent_at_ms: int = NOW_MS,
    attempts: int = 1,
) -> KeyRequestRow:
    return KeyRequestRow(request_id, ghost, ROOM, session_id, user, "PHONE", sent_at_ms, attempts)


def withheld_row(
    code: str = "m.unverified",
    *,
    user: UserId = ALICE,
    curve25519: str = CURVE,
    room: MatrixRoomId | None = ROOM,
    session_id: str | None = SESSION,
) -> WithheldRow:
    return WithheldRow(user, curve25519, room, session_id, code, "Причина 😀")


def undecrypted_row(
    event_id: str = "$1",
    *,
    room: MatrixRoomId = ROOM,
    session_id: str = SESSION,
    event: bytes = b"{}",
    received_at_ms: int = NOW_MS,
    next_try_ms: int = NOW_MS,
) -> UndecryptedRow:
    return UndecryptedRow(
        EventId(event_id), room, session_id, ALICE, event, None, received_at_ms, 0, next_try_ms, is_announced=False
    )


def entry(key: str = "txn-1", content: bytes = b"{}") -> EncryptedEntry:
    return EncryptedEntry(key, SCRIBE, ROOM, SESSION, content)
