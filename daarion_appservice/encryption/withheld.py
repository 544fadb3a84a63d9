"""Withheld codes (``m.room_key.withheld``): the reason for which a device does not get the key of a session.

The event is not encrypted. Its only use is a reason for people; no decision about keys depends on it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from ..city.types import MatrixRoomId, UserId
from .accounts import MEGOLM
from .base64_text import normalized_key
from .errors import InvalidContent
from .json_fields import Json, id_field, object_field, text_field
from .rows import AccountRow, OutboundSessionRow, WithheldRow

WITHHELD: Final = "m.room_key.withheld"
_MAX_REASON = 500
"""Characters of a stored reason."""


class WithheldCode(StrEnum):
    """The codes of the Matrix specification."""

    BLACKLISTED = "m.blacklisted"
    UNVERIFIED = "m.unverified"
    UNAUTHORISED = "m.unauthorised"
    UNAVAILABLE = "m.unavailable"
    NO_OLM = "m.no_olm"


_REASONS: Final = {
    WithheldCode.BLACKLISTED: "The sender has blocked this device.",
    WithheldCode.UNVERIFIED: "This device is not signed by its owner.",
    WithheldCode.UNAUTHORISED: "This device may not have the key.",
    WithheldCode.UNAVAILABLE: "The sender does not have the key.",
    WithheldCode.NO_OLM: "No Olm session with this device could be started: it had no one-time key.",
}


def withheld_content(code: WithheldCode, *, account: AccountRow, session: OutboundSessionRow) -> dict[str, Any]:
    """Return the content of an ``m.room_key.withheld`` event.

    Args:
        code: The reason.
        account: The account of the ghost.
        session: The session whose key is withheld; ``m.no_olm`` concerns every session and does not name it.

    Returns:
        The content of a to-device event, to be sent in clear.
    """
    content = {
        "algorithm": MEGOLM,
        "sender_key": account.curve25519,
        "from_device": account.device_id,
        "code": code.value,
        "reason": _REASONS[code],
    }
    if code is WithheldCode.NO_OLM:
        return content
    return {**content, "room_id": session.room, "session_id": session.session_id}


def parse_withheld(event: Json) -> WithheldRow:
    """Read an ``m.room_key.withheld`` event.

    Args:
        event: The to-device event; any JSON object.

    Returns:
        The row to store. Codes that the specification does not have are kept.

    Raises:
        InvalidContent: The event is malformed.
    """
    content = object_field(event, "content")
    # Older clients send the unstable name.
    event_type = text_field(event, "type")
    if event_type not in {WITHHELD, "org.matrix.room_key.withheld"} or content.get("algorithm") != MEGOLM:
        raise InvalidContent("not a withheld key of a Megolm session")
    code = id_field(content, "code")
    is_general = code == WithheldCode.NO_OLM and content.get("session_id") is None
    reason = content.get("reason")
    return WithheldRow(
        user=UserId(id_field(event, "sender")),
        curve25519=normalized_key(content.get("sender_key"), what="sender_key"),
        room=None if is_general else MatrixRoomId(id_field(content, "room_id")),
        session_id=None if is_general else normalized_key(content.get("session_id"), what="session_id"),
        code=code,
        reason=_storable(reason) if isinstance(reason, str) else "",
    )


def _storable(reason: str) -> str:
    return reason.replace("\0", "").encode(errors="replace").decode()[:_MAX_REASON]
