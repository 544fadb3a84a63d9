"""Requests for the keys of Megolm sessions: ours to the devices that own them, and those of others for our sessions.

A request goes to the device that sent the undecryptable event; Element's client answers it for devices with which it had
shared the session. We answer in the same way: the device that got a session gets it again, from the same index on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ..city.types import MatrixRoomId, UserId
from .accounts import MEGOLM
from .errors import InvalidContent, WrongContext
from .json_fields import Json, id_field, object_field
from .megolm_events import MegolmReference
from .primitives import MegolmReceiver, PickleKey
from .rows import AccountRow, InboundSessionRow, KeyRequestRow, SharedRow

KEY_REQUEST: Final = "m.room_key_request"
ANY_DEVICE: Final = "*"
RETRY_AFTER_MS: Final = (60_000, 10 * 60_000, 60 * 60_000)
"""The times between one attempt of a request and the next; after the last attempt there is none."""
MAX_OPEN_REQUESTS: Final = 20
"""Open requests of one ghost to one user. More sessions wait, so that forged events cannot make a ghost flood a device."""
ANSWER_INTERVAL_MS: Final = 60_000
"""The shortest time between two answers to one device about one session."""


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request of another device for a session."""

    user: UserId
    device_id: str
    request_id: str
    room: MatrixRoomId
    session_id: str


@dataclass(frozen=True, slots=True)
class RequestCancellation:
    """The end of a request of another device."""

    user: UserId
    device_id: str
    request_id: str


def new_request(
    reference: MegolmReference, *, ghost: UserId, request_id: str, open_requests: Iterable[KeyRequestRow], now_ms: int
) -> KeyRequestRow | None:
    """Decide whether a ghost asks for the key of an undecryptable event.

    Args:
        reference: The event.
        ghost: The ghost that asks.
        request_id: A random id.
        open_requests: The open requests of the ghost.
        now_ms: The time now.

    Returns:
        The request to store and send; None if there is one for the session, or if too many to the user are open.
    """
    requests = [row for row in open_requests if row.user == reference.sender]
    asked = {(row.room, row.session_id, row.user) for row in requests}
    wanted = (reference.room, reference.session_id, reference.sender)
    if wanted in asked or len(requests) >= MAX_OPEN_REQUESTS:
        return None
    device_id = reference.device_id or ANY_DEVICE
    return KeyRequestRow(request_id, ghost, *wanted, device_id, now_ms, attempts=1)


def retry_request(row: KeyRequestRow, *, request_id: str, now_ms: int) -> KeyRequestRow | None:
    """Decide whether an unanswered request is sent again.

    Args:
        row: The request.
        request_id: A random id for the next attempt: clients ignore an id that they know.
        now_ms: The time now.

    Returns:
        The row to store in place of the old one; None if it is too early, or if all attempts were made.
    """
    if is_exhausted(row) or now_ms - row.sent_at_ms < RETRY_AFTER_MS[row.attempts - 1]:
        return None
    return replace(row, request_id=request_id, sent_at_ms=now_ms, attempts=row.attempts + 1)


def is_exhausted(row: KeyRequestRow) -> bool:
    """Return whether a request has no further attempt."""
    return row.attempts > len(RETRY_AFTER_MS)


def request_content(row: KeyRequestRow, *, account: AccountRow, curve25519: str | None) -> dict[str, Any]:
    """Return the content of an ``m.room_key_request``, to be sent in clear.

    Args:
        row: The request.
        account: The account of the ghost.
        curve25519: The identity key of the owner's device, deprecated, for clients that look it up; None if unknown.
    """
    body = {"algorithm": MEGOLM, "room_id": row.room, "session_id": row.session_id}
    if curve25519 is not None:
        body["sender_key"] = curve25519
    return {
        "action": "request",
        "body": body,
        "request_id": row.request_id,
        "requesting_device_id": account.device_id,
    }


def parse_request(event: Json) -> IncomingRequest | RequestCancellation:
    """Read an ``m.room_key_request`` of another device.

    Args:
        event: The to-device event; any JSON object.

    Raises:
        InvalidContent: The event is malformed.
    """
    content = object_field(event, "content")
    if event.get("type") != KEY_REQUEST:
        raise InvalidContent("not a key request")
    user = UserId(id_field(event, "sender"))
    device_id, request_id = id_field(content, "requesting_device_id"), id_field(content, "request_id")
    if content.get("action") == "request_cancellation":
        return RequestCancellation(user, device_id, request_id)
    body = object_field(content, "body")
    if content.get("action") != "request" or body.get("algorithm") != MEGOLM:
        raise InvalidContent("not a request for a Megolm session")
    room = MatrixRoomId(id_field(body, "room_id"))
    return IncomingRequest(user, device_id, request_id, room, id_field(body, "session_id"))


def is_answer_due(last_answer_ms: int | None, *, now_ms: int) -> bool:
    """Return whether a device may get another answer about the same session."""
    return last_answer_ms is None or now_ms - last_answer_ms >= ANSWER_INTERVAL_MS


def answer_request(
    request: IncomingRequest, session: InboundSessionRow, shared: SharedRow, *, account: AccountRow, key: PickleKey
) -> dict[str, Any]:
    """Return the content of the ``m.forwarded_room_key`` that answers a request.

    Args:
        session: The inbound copy of the ghost's own session.
        shared: The row that says that the device got the session.
        account: The account of the ghost.
        key: The key for the pickles.

    Returns:
        The content, to be encrypted by Olm for the device in ``shared``. It begins at the index of the first share.

    Raises:
        WrongContext: The session is not the ghost's own, or the device never got it.
    """
    if (session.owner, session.curve25519) != (account.ghost, account.curve25519):
        raise WrongContext("the requested session is not our own")
    if (session.room, session.session_id) != (request.room, request.session_id):
        raise WrongContext("the request is for another session")
    given_to = (shared.session_id, shared.user, shared.device_id)
    if given_to != (session.session_id, request.user, request.device_id) or shared.withheld is not None:
        raise WrongContext("the device never got the requested session")
    exported = MegolmReceiver.from_pickle(session.pickle, key).export_at(shared.index)
    if exported is None:
        raise WrongContext("the session does not begin early enough")
    return {
        "algorithm": MEGOLM,
        "room_id": session.room,
        "session_id": session.session_id,
        "session_key": exported,
        "sender_key": account.curve25519,
        "sender_claimed_ed25519_key": account.ed25519,
        "forwarding_curve25519_key_chain": [],
    }
