"""The rows of encryption that a store persists.

Fields named ``…pickle`` are ratchets or secret keys under the `PickleKey`; all other fields are readable. Times are
milliseconds since 1970. Public keys are base64 of 32 bytes without padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..city.types import EventId, MatrixRoomId, UserId


@dataclass(frozen=True, slots=True)
class AccountRow:
    """The device of a ghost and its secret keys; one per ghost.

    A new account needs a new device id: clients never accept other keys for a device id that they know.
    """

    ghost: UserId
    device_id: str
    curve25519: str
    """The identity key of the device."""
    ed25519: str
    """The signing key of the device."""
    pickle: str
    master_pickle: str
    """The master key of cross-signing. It outlives the device."""
    self_signing_pickle: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A verified device of another user: it signed its own keys."""

    user: UserId
    device_id: str
    curve25519: str
    ed25519: str
    is_cross_signed: bool
    """Whether the self-signing key of the user signed the device."""


@dataclass(frozen=True, slots=True)
class OlmSessionRow:
    """One of at most `olm_sessions.MAX_SESSIONS` Olm sessions of a ghost with one device."""

    ghost: UserId
    curve25519: str
    """The identity key of the other device."""
    session_id: str
    pickle: str
    used_at_ms: int
    """The time of the last message received in the session, or of its creation."""


class KeyOrigin(StrEnum):
    """The way by which the key of an inbound Megolm session came."""

    DIRECT = "direct"
    """By ``m.room_key`` of the owner, signed by the session."""
    FORWARDED = "forwarded"
    """By ``m.forwarded_room_key`` of the owner's device, as the response to a request."""
    BUNDLE = "bundle"
    """In a key bundle of a member who invited the ghost; that member vouches for the owner."""


@dataclass(frozen=True, slots=True)
class InboundSessionRow:
    """A Megolm session that decrypts messages of its owner, unique per room, session id and identity key.

    The identity key is part of the name, so that a member who passes another's key on as its own does not take the place
    of the owner. All ghosts share these rows.
    """

    room: MatrixRoomId
    session_id: str
    curve25519: str
    """The identity key of the owner's device."""
    owner: UserId
    first_index: int
    pickle: str
    origin: KeyOrigin
    ghost: UserId
    """The ghost that received the key."""


@dataclass(frozen=True, slots=True)
class OutboundSessionRow:
    """The Megolm session with which a ghost encrypts in a room; one per ghost and room."""

    ghost: UserId
    room: MatrixRoomId
    session_id: str
    pickle: str
    created_at_ms: int
    sent: int
    """The messages encrypted with the session, which is the index of the next one."""


@dataclass(frozen=True, slots=True)
class SharedRow:
    """An outbound session was given to a device, from a message index on, or was withheld from it."""

    session_id: str
    user: UserId
    device_id: str
    curve25519: str
    index: int
    """The first message that the device can decrypt."""
    withheld: str | None = None
    """The code that the device got instead of the key; None if it got the key. The key replaces the code."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One index of an owner's session belongs to one event: the protection against repeated messages."""

    room: MatrixRoomId
    session_id: str
    owner: UserId
    index: int
    """0 to 4,294,967,295: a BIGINT on PostgreSQL, as every index here."""
    event_id: EventId


@dataclass(frozen=True, slots=True)
class KeyRequestRow:
    """A request for the key of a Megolm session, sent to the device that owns the session."""

    request_id: str
    ghost: UserId
    room: MatrixRoomId
    session_id: str
    user: UserId
    device_id: str
    sent_at_ms: int
    attempts: int


@dataclass(frozen=True, slots=True)
class WithheldRow:
    """A device does not give a ghost the key of a session, or of any session in the case of ``m.no_olm``."""

    user: UserId
    curve25519: str
    room: MatrixRoomId | None
    session_id: str | None
    code: str
    reason: str
