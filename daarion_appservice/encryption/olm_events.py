"""Decrypts to-device events of type ``m.room.encrypted`` and checks who sent them to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..city.types import UserId
from .accounts import OLM
from .base64_text import normalized_key
from .devices import verify_device
from .errors import InvalidContent, Undecryptable, UnknownSession, WrongContext
from .json_fields import Json, id_field, object_field, parse_object
from .olm_sessions import superfluous_sessions
from .primitives import PRE_KEY, OlmAccount, OlmMessage, OlmSession, PickleKey
from .rows import AccountRow, DeviceRow, OlmSessionRow


@dataclass(frozen=True, slots=True)
class OlmReference:
    """An encrypted to-device event, parsed but not decrypted. ``curve25519`` names the sessions that may decrypt it."""

    sender: UserId
    curve25519: str
    """The identity key of the sender's device, as the event claims."""
    message: OlmMessage


@dataclass(frozen=True, slots=True)
class OlmEvent:
    """A decrypted to-device event. The device with the identity key sent it; its user is ``sender``."""

    sender: UserId
    curve25519: str
    ed25519: str
    """The signing key of the sender's device, as the device states."""
    type: str
    content: dict[str, Any]
    device: DeviceRow | None
    """The verified device in ``sender_device_keys``; None if the sender's client sends none."""


@dataclass(frozen=True, slots=True)
class OlmDecrypted:
    """The event, and the rows to store in the transaction that stores its effects and the ``since`` token."""

    event: OlmEvent
    session: OlmSessionRow
    account: AccountRow | None
    """The account without the one-time key that the message used up; None if it did not change."""
    superfluous: tuple[OlmSessionRow, ...]
    """Sessions to delete."""


def parse_olm_event(event: Json, *, account: AccountRow) -> OlmReference:
    """Read the ciphertext for a ghost's device from a to-device event.

    Args:
        event: The event; any JSON object.
        account: The account of the ghost.

    Returns:
        The ciphertext, and the key that names its sessions.

    Raises:
        InvalidContent: The event is malformed, of another algorithm, or has nothing for this device.
    """
    content = object_field(event, "content")
    if event.get("type") != "m.room.encrypted" or content.get("algorithm") != OLM:
        raise InvalidContent("not an Olm event")
    curve25519 = normalized_key(content.get("sender_key"), what="sender_key")
    if curve25519 == account.curve25519:
        raise InvalidContent("the sender_key is our own")
    ciphertext = object_field(object_field(content, "ciphertext"), account.curve25519)
    message = OlmMessage.parse(ciphertext.get("type"), ciphertext.get("body"))
    return OlmReference(UserId(id_field(event, "sender")), curve25519, message)


def decrypt_olm_event(
    reference: OlmReference, *, account: AccountRow, sessions: Sequence[OlmSessionRow], key: PickleKey, now_ms: int
) -> OlmDecrypted:
    """Decrypt a to-device event with a known session, or with a new one that the event starts.

    Args:
        reference: The event as `parse_olm_event` returned it.
        account: The account of the ghost.
        sessions: All sessions of the ghost with ``reference.curve25519``.
        key: The key for the pickles.
        now_ms: The time now.

    Returns:
        The event and the rows to store.

    Raises:
        UnknownSession: No session fits and the event starts none; `olm_sessions.is_recovery_due` says whether to recover.
        Undecryptable: The event was decrypted before, is damaged, or uses a one-time key that is gone;
            `olm_sessions.is_recovery_due` says whether to recover.
        WrongContext: The event was encrypted by or for another device.
        InvalidContent: The plaintext is not an event.
    """
    decrypted = _with_known_session(reference.message, sessions, key)
    changed_account = None
    if decrypted is None:
        if reference.message.kind != PRE_KEY:
            raise UnknownSession(f"no Olm session with {reference.curve25519} fits")
        own = OlmAccount.from_pickle(account.pickle, key)
        ratchet, plaintext = own.accept_session(reference.curve25519, reference.message)
        changed_account = replace(account, pickle=own.pickle(key))
    else:
        ratchet, plaintext = decrypted
    event = _checked_event(plaintext, reference, account)
    row = OlmSessionRow(account.ghost, reference.curve25519, ratchet.session_id, ratchet.pickle(key), now_ms)
    others = [session for session in sessions if session.session_id != row.session_id]
    return OlmDecrypted(event, row, changed_account, superfluous_sessions([row, *others]))


def _with_known_session(
    message: OlmMessage, sessions: Sequence[OlmSessionRow], key: PickleKey
) -> tuple[OlmSession, bytes] | None:
    for row in sorted(sessions, key=lambda each: each.used_at_ms, reverse=True):
        ratchet = OlmSession.from_pickle(row.pickle, key)
        if message.kind == PRE_KEY:
            if ratchet.is_started_by(message):
                # Never a second session from the same message: with a fallback key it would reset the ratchet.
                return ratchet, ratchet.decrypt(message)
            continue
        try:
            return ratchet, ratchet.decrypt(message)
        except Undecryptable:
            continue
    return None


def _checked_event(plaintext: bytes, reference: OlmReference, account: AccountRow) -> OlmEvent:
    payload = parse_object(plaintext, what="the Olm payload")
    if payload.get("sender") != reference.sender:
        raise WrongContext("the Olm payload names another sender")
    recipient_key = object_field(payload, "recipient_keys").get("ed25519")
    if payload.get("recipient") != account.ghost or recipient_key != account.ed25519:
        raise WrongContext("the Olm payload is for another recipient")
    ed25519 = normalized_key(object_field(payload, "keys").get("ed25519"), what="the sender's signing key")
    device = _sender_device(payload, reference)
    if device is not None and (device.curve25519, device.ed25519) != (reference.curve25519, ed25519):
        raise WrongContext("sender_device_keys are those of another device")
    content = object_field(payload, "content")
    return OlmEvent(reference.sender, reference.curve25519, ed25519, id_field(payload, "type"), content, device)


def _sender_device(payload: Json, reference: OlmReference) -> DeviceRow | None:
    if payload.get("sender_device_keys") is None:
        return None
    keys = object_field(payload, "sender_device_keys")
    return verify_device(keys, user=reference.sender, device_id=id_field(keys, "device_id"))
