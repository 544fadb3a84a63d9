"""Olm sessions with other devices: started from claimed keys, chosen, limited and used to encrypt.

At most `MAX_SESSIONS` sessions are kept with one device. The one that last received a message encrypts: that device
certainly has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .accounts import OLM, ONE_TIME_KEY
from .errors import EncryptionError, InvalidContent
from .json_fields import Json, as_object, object_field, text_field
from .primitives import OlmAccount, OlmSession, PickleKey
from .rows import AccountRow, DeviceRow, OlmSessionRow
from .signed_json import canonical_json, require_signature

MAX_SESSIONS: Final = 5
RECOVERY_INTERVAL_MS: Final = 60 * 60 * 1000
"""The shortest time between two new sessions for a device whose messages cannot be decrypted."""
DUMMY: Final = "m.dummy"
"""The type of an empty event that makes a new session known to the other device."""


@dataclass(frozen=True, slots=True)
class ClaimedSessions:
    """The sessions started from a response to ``POST /keys/claim``, and the devices that gave no usable key."""

    sessions: tuple[OlmSessionRow, ...]
    without: tuple[DeviceRow, ...]


@dataclass(frozen=True, slots=True)
class OlmEncrypted:
    """The session to store, and the content of the ``m.room.encrypted`` to-device event."""

    session: OlmSessionRow
    content: dict[str, Any]


def newest_session(sessions: Iterable[OlmSessionRow]) -> OlmSessionRow | None:
    """Return the session of one device that encrypts: the one used last; None if there is none."""
    return max(sessions, key=lambda row: (row.used_at_ms, row.session_id), default=None)


def superfluous_sessions(sessions: Sequence[OlmSessionRow]) -> tuple[OlmSessionRow, ...]:
    """Return the sessions of one device beyond `MAX_SESSIONS`, those that were used the longest time ago."""
    by_use = sorted(sessions, key=lambda row: (row.used_at_ms, row.session_id), reverse=True)
    return tuple(by_use[MAX_SESSIONS:])


def is_recovery_due(last_recovery_ms: int | None, *, now_ms: int) -> bool:
    """Return whether a device whose Olm message was undecryptable gets a new session and an ``m.dummy``.

    Args:
        last_recovery_ms: The time of the last recovery for this device; None if there was none.
        now_ms: The time now.

    Returns:
        True at most once an hour, so that two broken devices do not answer each other without end.
    """
    return last_recovery_ms is None or now_ms - last_recovery_ms >= RECOVERY_INTERVAL_MS


def claim_request(devices: Iterable[DeviceRow]) -> dict[str, Any]:
    """Return the body of ``POST /keys/claim`` for one one-time key of each device."""
    by_user: dict[str, dict[str, str]] = {}
    for device in devices:
        by_user.setdefault(device.user, {})[device.device_id] = ONE_TIME_KEY
    return {"one_time_keys": by_user}


def start_sessions(
    claim_response: Json, devices: Iterable[DeviceRow], *, account: AccountRow, key: PickleKey, now_ms: int
) -> ClaimedSessions:
    """Start sessions from claimed one-time or fallback keys.

    Args:
        claim_response: The response to ``POST /keys/claim``; any JSON object.
        devices: The devices whose keys were claimed.
        account: The account of the ghost; it does not change.
        key: The key for the pickles.
        now_ms: The time now.

    Returns:
        One session for each device whose key is signed by the device; the other devices under ``without``.
    """
    own = OlmAccount.from_pickle(account.pickle, key)
    sessions: list[OlmSessionRow] = []
    without: list[DeviceRow] = []
    for device in devices:
        try:
            session = own.start_session(device.curve25519, _claimed_key(claim_response, device))
        except EncryptionError:
            without.append(device)
            continue
        sessions.append(
            OlmSessionRow(account.ghost, device.curve25519, session.session_id, session.pickle(key), now_ms)
        )
    return ClaimedSessions(tuple(sessions), tuple(without))


def encrypt_to_device(
    session: OlmSessionRow,
    device: DeviceRow,
    *,
    event_type: str,
    content: Json,
    account: AccountRow,
    own_device_keys: Json,
    key: PickleKey,
) -> OlmEncrypted:
    """Encrypt one event for one device.

    Args:
        session: The session with the device.
        device: The recipient.
        event_type: The type of the event, for example ``m.room_key``.
        content: The content of the event; canonical JSON, so without floats.
        account: The account of the ghost.
        own_device_keys: The result of `accounts.device_keys`, which the recipient verifies (MSC4147).
        key: The key for the pickles.

    Returns:
        The session with its ratchet moved on, to store before the content is sent, and the content.

    Raises:
        InvalidContent: The session is another device's, or the content is not canonical JSON.
    """
    if session.curve25519 != device.curve25519 or session.ghost != account.ghost:
        raise InvalidContent("the Olm session is that of other devices")
    payload = {
        "type": event_type,
        "content": content,
        "sender": account.ghost,
        # matrix-nio refuses an m.dummy without it; the specification has no such field.
        "sender_device": account.device_id,
        "recipient": device.user,
        "recipient_keys": {"ed25519": device.ed25519},
        "keys": {"ed25519": account.ed25519},
        "sender_device_keys": own_device_keys,
    }
    encoded = canonical_json(payload)
    ratchet = OlmSession.from_pickle(session.pickle, key)
    kind, body = ratchet.encrypt(encoded)
    return OlmEncrypted(
        replace(session, pickle=ratchet.pickle(key)),
        {
            "algorithm": OLM,
            "sender_key": account.curve25519,
            "ciphertext": {device.curve25519: {"type": kind, "body": body}},
        },
    )


def _claimed_key(claim_response: Json, device: DeviceRow) -> str:
    by_device = object_field(object_field(claim_response, "one_time_keys"), device.user)
    keys = object_field(by_device, device.device_id)
    for name, value in keys.items():
        if name.startswith(f"{ONE_TIME_KEY}:"):
            content = as_object(value, what="the one-time key")
            require_signature(content, user=device.user, key_id=device.device_id, public_key=device.ed25519)
            return text_field(content, "key")
    raise InvalidContent(f"no one-time key of {device.user} {device.device_id}")
