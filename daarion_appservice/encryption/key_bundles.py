"""Imports the keys of a room's history that an inviter shares (MSC4268).

The inviter sends an ``m.room_key_bundle`` that names an encrypted file. Its sessions are unsigned: the inviter vouches
for their owners. `KeyOrigin.BUNDLE` marks them, and a key from the owner always takes their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..city.types import MatrixRoomId, UserId
from .base64_text import normalized_key
from .errors import EncryptionError, InvalidContent
from .inbound_sessions import read_session
from .json_fields import as_object, id_field, object_field, parse_object, text_field
from .olm_events import OlmEvent
from .primitives import MegolmReceiver, PickleKey
from .rows import InboundSessionRow, KeyOrigin

KEY_BUNDLE_TYPES: Final = frozenset({"m.room_key_bundle", "io.element.msc4268.room_key_bundle"})
MAX_SESSIONS: Final = 2000
"""Sessions that are read from one bundle: about 0.04 s of CPU."""


@dataclass(frozen=True, slots=True)
class BundleReference:
    """A shared bundle: accept it only from the user who invited the ghost into the room."""

    sender: UserId
    room: MatrixRoomId
    file: dict[str, Any]
    """The encrypted file, for `attachments.EncryptedFile.parse`."""


@dataclass(frozen=True, slots=True)
class ImportedBundle:
    """The sessions of a bundle, to be merged with stored ones (`inbound_sessions.merge`)."""

    sessions: tuple[InboundSessionRow, ...]
    refused: int
    """Entries that are malformed, of another room, of no known device, or beyond `MAX_SESSIONS`."""


def parse_bundle_event(event: OlmEvent) -> BundleReference:
    """Read an ``m.room_key_bundle`` event.

    Raises:
        InvalidContent: The event is malformed.
    """
    if event.type not in KEY_BUNDLE_TYPES:
        raise InvalidContent("not a key bundle")
    room = MatrixRoomId(id_field(event.content, "room_id"))
    return BundleReference(event.sender, room, object_field(event.content, "file"))


def import_bundle(
    encoded: bytes, *, room: MatrixRoomId, owners: Mapping[str, UserId], ghost: UserId, key: PickleKey
) -> ImportedBundle:
    """Read the sessions in the decrypted file of a bundle.

    Args:
        encoded: The file.
        room: The room of the invitation; sessions of other rooms are refused.
        owners: The users of all known devices of the room's members, by identity key.
        ghost: The ghost that received the bundle.
        key: The key for the pickles.

    Returns:
        The sessions whose owner is known.

    Raises:
        InvalidContent: The file is not a JSON object with a list ``room_keys``.
    """
    entries = parse_object(encoded, what="the key bundle").get("room_keys")
    if not isinstance(entries, list):
        raise InvalidContent("the key bundle has no room_keys")
    sessions: list[InboundSessionRow] = []
    refused = max(len(entries) - MAX_SESSIONS, 0)
    for entry in entries[:MAX_SESSIONS]:
        try:
            content = as_object(entry, what="an entry of room_keys")
            curve25519 = normalized_key(content.get("sender_key"), what="sender_key")
            if id_field(content, "room_id") != room:
                raise InvalidContent("a key of another room")
            if (owner := owners.get(curve25519)) is None:
                raise InvalidContent("no known device has the sender_key")
            receiver = MegolmReceiver.from_exported_key(text_field(content, "session_key"))
            sessions.append(
                read_session(
                    content, receiver, owner=(owner, curve25519), origin=KeyOrigin.BUNDLE, ghost=ghost, key=key
                )
            )
        except EncryptionError:
            refused += 1
    return ImportedBundle(tuple(sessions), refused)
