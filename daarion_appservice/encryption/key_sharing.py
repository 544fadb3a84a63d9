"""Gives the key of an outbound Megolm session to devices, each by its own Olm session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .accounts import MEGOLM
from .inbound_sessions import ROOM_KEY
from .json_fields import Json
from .olm_sessions import encrypt_to_device
from .primitives import MegolmSender, PickleKey
from .rows import AccountRow, DeviceRow, OlmSessionRow, OutboundSessionRow, SharedRow
from .withheld import WithheldCode, withheld_content

Messages = dict[str, dict[str, Any]]
"""The field ``messages`` of ``PUT /sendToDevice``: content by user id and device id."""


@dataclass(frozen=True, slots=True)
class KeyShare:
    """The rows to store in one transaction with the to-device requests, which are sent after it."""

    sessions: tuple[OlmSessionRow, ...]
    shared: tuple[SharedRow, ...]
    messages: Messages
    """Contents of type ``m.room.encrypted``, or ``m.room_key.withheld``."""


def share_session(
    session: OutboundSessionRow,
    *,
    recipients: Iterable[DeviceRow],
    olm_sessions: Mapping[str, OlmSessionRow],
    account: AccountRow,
    own_device_keys: Json,
    key: PickleKey,
) -> KeyShare:
    """Encrypt the key of a session, from its next message on, for devices.

    Args:
        session: The outbound session.
        recipients: The devices that lack the key; those without an Olm session do not get it.
        olm_sessions: The Olm session for each device by its identity key (`olm_sessions.newest_session`).
        account: The account of the ghost.
        own_device_keys: The result of `accounts.device_keys`.
        key: The key for the pickles.

    Returns:
        The rows to store and the contents to send.
    """
    content = {
        "algorithm": MEGOLM,
        "room_id": session.room,
        "session_id": session.session_id,
        "session_key": MegolmSender.from_pickle(session.pickle, key).session_key,
    }
    current = dict(olm_sessions)
    rows: list[SharedRow] = []
    messages: Messages = {}
    for device in recipients:
        olm_session = current.get(device.curve25519)
        if olm_session is None:
            continue
        encrypted = encrypt_to_device(
            olm_session,
            device,
            event_type=ROOM_KEY,
            content=content,
            account=account,
            own_device_keys=own_device_keys,
            key=key,
        )
        current[device.curve25519] = encrypted.session
        messages.setdefault(device.user, {})[device.device_id] = encrypted.content
        rows.append(SharedRow(session.session_id, device.user, device.device_id, device.curve25519, session.sent))
    used = {row.curve25519 for row in rows}
    return KeyShare(tuple(current[curve25519] for curve25519 in sorted(used)), tuple(rows), messages)


def withhold_session(
    session: OutboundSessionRow, devices: Iterable[DeviceRow], code: WithheldCode, *, account: AccountRow
) -> KeyShare:
    """Withhold the key of a session from devices.

    Args:
        session: The outbound session.
        code: The reason.
        account: The account of the ghost.

    Returns:
        The rows to store, and contents of type ``m.room_key.withheld``, which are sent in clear.
    """
    content = withheld_content(code, account=account, session=session)
    rows: list[SharedRow] = []
    messages: Messages = {}
    for device in devices:
        messages.setdefault(device.user, {})[device.device_id] = content
        rows.append(
            SharedRow(session.session_id, device.user, device.device_id, device.curve25519, session.sent, code.value)
        )
    return KeyShare((), tuple(rows), messages)
