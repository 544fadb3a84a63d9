"""Outbound Megolm sessions: when a ghost starts a new one, which devices get it, and the encryption of an event.

One session per ghost and room. A session is replaced after a number of messages, after a time, when a device that has
it may no longer read, and after a restart of the service: after a restored backup the stored ratchet could use the
key of a message twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from ..city.types import MatrixRoomId
from ..json_encoding import encode_json
from .accounts import MEGOLM
from .json_fields import Json
from .primitives import MegolmReceiver, MegolmSender, PickleKey
from .rows import AccountRow, DeviceRow, InboundSessionRow, KeyOrigin, OutboundSessionRow, SharedRow
from .withheld import WithheldCode

_RELATION = "m.relates_to"
_HOUR_MS = 60 * 60 * 1000
_LIMITS: Final = {"rotation_period_msgs": (1, 10_000), "rotation_period_ms": (_HOUR_MS, 365 * 24 * _HOUR_MS)}
"""The values that a room may choose; a room cannot make its ghosts start a session for each message by the clock."""


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """The rules of a room for new sessions; the defaults are those of the specification."""

    max_messages: int = 100
    max_age_ms: int = 7 * 24 * _HOUR_MS

    @classmethod
    def from_event(cls, content: Json) -> RotationPolicy:
        """Read the content of ``m.room.encryption``; values that are missing, malformed or extreme are corrected."""
        return cls(
            _rotation_value(content, "rotation_period_msgs", cls().max_messages),
            _rotation_value(content, "rotation_period_ms", cls().max_age_ms),
        )


class Rotation(StrEnum):
    """The reason for a new session."""

    FIRST = "first"
    """The ghost has no session in the room."""
    RESTART = "restart"
    """The session is older than this run of the service."""
    MESSAGES = "messages"
    """The session encrypted as many messages as the room allows."""
    AGE = "age"
    """The session is as old as the room allows."""
    DEVICE_GONE = "device_gone"
    """A device that has the session vanished, or its user left the room."""


@dataclass(frozen=True, slots=True)
class OutboundPlan:
    """The session for the next event, and the devices that must get its key first."""

    session: OutboundSessionRow
    rotation: Rotation | None
    """The reason why the session is new; None if it is the stored one."""
    inbound: InboundSessionRow | None
    """The inbound copy of a new session, from which key requests are answered."""
    recipients: tuple[DeviceRow, ...]
    """Devices that lack the key."""
    unverified: tuple[DeviceRow, ...]
    """Devices that do not get the key because their owner did not sign them, and that got no ``m.unverified`` yet."""


@dataclass(frozen=True, slots=True)
class MegolmEncrypted:
    """The session and the content of an ``m.room.encrypted`` event, to store in one transaction before it is sent."""

    session: OutboundSessionRow
    content: dict[str, Any]


def rotation_reason(
    session: OutboundSessionRow | None,
    *,
    policy: RotationPolicy,
    devices: Iterable[DeviceRow],
    shared: Iterable[SharedRow],
    started_at_ms: int,
    now_ms: int,
) -> Rotation | None:
    """Return why a room needs a new session; None if the stored session may go on.

    Args:
        session: The stored session of the ghost in the room.
        policy: The rules of the room.
        devices: The devices of all members who may read the next event.
        shared: The devices that got the stored session or a withheld code.
        started_at_ms: The time at which this run of the service began.
        now_ms: The time now.
    """
    if session is None:
        return Rotation.FIRST
    if session.created_at_ms < started_at_ms:
        return Rotation.RESTART
    if session.sent >= policy.max_messages:
        return Rotation.MESSAGES
    # A session from the future belongs to a clock that was set back: its age is unknown.
    if not 0 <= now_ms - session.created_at_ms < policy.max_age_ms:
        return Rotation.AGE
    present = {_name(device) for device in devices}
    if any(_name(row) not in present and row.withheld is None for row in _of(session, shared)):
        return Rotation.DEVICE_GONE
    return None


def plan_outbound(
    session: OutboundSessionRow | None,
    *,
    account: AccountRow,
    room: MatrixRoomId,
    policy: RotationPolicy,
    devices: Iterable[DeviceRow],
    shared: Iterable[SharedRow],
    started_at_ms: int,
    now_ms: int,
    key: PickleKey,
    only_cross_signed: bool = False,
) -> OutboundPlan:
    """Decide with which session the next event is encrypted, and for which devices.

    Args:
        session: The stored session of the ghost in the room.
        account: The account of the ghost.
        policy: The rules of the room.
        devices: The devices of all members who may read the event.
        shared: The devices that got the stored session or a withheld code.
        started_at_ms: The time at which this run of the service began.
        now_ms: The time now.
        key: The key for the pickles.
        only_cross_signed: Whether devices that their owner did not sign are left out.

    Returns:
        The plan. A device that may not have the session any more counts as gone.
    """
    others = [device for device in devices if device.curve25519 != account.curve25519]
    allowed = [device for device in others if device.is_cross_signed or not only_cross_signed]
    stored_shared = list(shared)
    rotation = rotation_reason(
        session, policy=policy, devices=allowed, shared=stored_shared, started_at_ms=started_at_ms, now_ms=now_ms
    )
    inbound = None
    if session is None or rotation is not None:
        session, inbound = _create(account, room, now_ms, key)
    current = _of(session, stored_shared)
    having = {_name(row) for row in current if row.withheld is None}
    lacking = [device for device in allowed if _name(device) not in having]
    refused = {_name(row) for row in current if row.withheld == WithheldCode.UNVERIFIED}
    unverified = [device for device in others if device not in allowed and _name(device) not in refused]
    return OutboundPlan(session, rotation, inbound, tuple(lacking), tuple(unverified))


def encrypt_event(
    session: OutboundSessionRow, *, account: AccountRow, event_type: str, content: Json, key: PickleKey
) -> MegolmEncrypted:
    """Encrypt one event for a room.

    Args:
        session: The session of the plan. Its key must have been stored for sending to every recipient before.
        account: The account of the ghost.
        event_type: The type of the event, for example ``m.room.message``.
        content: The content of the event.
        key: The key for the pickles.

    Returns:
        The session with its ratchet moved on, and the content. The relation of the event stands in clear beside the
        ciphertext, so that servers can aggregate it. ``sender_key`` and ``device_id`` are deprecated, but matrix-nio
        refuses an event without them.
    """
    sender = MegolmSender.from_pickle(session.pickle, key)
    payload = {"type": event_type, "content": content, "room_id": session.room}
    encrypted: dict[str, Any] = {
        "algorithm": MEGOLM,
        "ciphertext": sender.encrypt(encode_json(payload)),
        "session_id": session.session_id,
        "sender_key": account.curve25519,
        "device_id": account.device_id,
    }
    if _RELATION in content:
        encrypted[_RELATION] = content[_RELATION]
    return MegolmEncrypted(replace(session, pickle=sender.pickle(key), sent=sender.index), encrypted)


def _create(
    account: AccountRow, room: MatrixRoomId, now_ms: int, key: PickleKey
) -> tuple[OutboundSessionRow, InboundSessionRow]:
    sender = MegolmSender()
    receiver = MegolmReceiver.from_session_key(sender.session_key)
    outbound = OutboundSessionRow(account.ghost, room, sender.session_id, sender.pickle(key), now_ms, 0)
    inbound = InboundSessionRow(
        room=room,
        session_id=sender.session_id,
        curve25519=account.curve25519,
        owner=account.ghost,
        first_index=receiver.first_index,
        pickle=receiver.pickle(key),
        origin=KeyOrigin.DIRECT,
        ghost=account.ghost,
    )
    return outbound, inbound


def _name(device: DeviceRow | SharedRow) -> tuple[str, str, str]:
    return device.user, device.device_id, device.curve25519


def _of(session: OutboundSessionRow, shared: Iterable[SharedRow]) -> list[SharedRow]:
    return [row for row in shared if row.session_id == session.session_id]


def _rotation_value(content: Json, name: str, default: int) -> int:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return default
    lowest, highest = _LIMITS[name]
    return min(max(value, lowest), highest)
