"""Requests of the client-server API about end-to-end encryption: device keys, cross-signing and to-device events.

All of them act as a ghost with a device of its own (`device`, MSC4326: Synapse 1.141 and later).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from mautrix.api import Method, Path

from ...city.types import MatrixRoomId, UserId
from ...json_encoding import JSON
from .transport import HomeserverTransport

_NOTHING: Final[JSON] = {"types": []}
_TO_DEVICE_ONLY: Final = json.dumps({"room": {"rooms": []}, "presence": _NOTHING, "account_data": _NOTHING})
"""A filter for ``/sync`` that leaves to-device events, device lists and key counts."""
_QUERY_TIMEOUT_MS: Final = 5_000
"""The time for which the homeserver waits for other homeservers, in milliseconds."""


class EncryptionRequests(HomeserverTransport):
    """Uploads and queries keys, and sends and receives to-device events."""

    async def delete_device(self, user: UserId, device: str) -> None:
        """Delete a device with its keys; Synapse asks application services for no further authentication."""
        await self.request(Method.DELETE, Path.v3.devices[device], {}, as_user=user)

    async def upload_keys(self, user: UserId, device: str, body: JSON) -> None:
        """Upload the fields of ``POST /keys/upload`` for a device."""
        await self.request(Method.POST, Path.v3.keys.upload, body, as_user=user, query={"device_id": device})

    async def upload_signing_keys(self, user: UserId, device: str, body: JSON) -> None:
        """Upload the cross-signing keys of a user (``POST /keys/device_signing/upload``)."""
        path = Path.v3.keys.device_signing.upload
        await self.request(Method.POST, path, body, as_user=user, query={"device_id": device})

    async def upload_signatures(self, user: UserId, device: str, body: JSON) -> None:
        """Upload signatures of device keys (``POST /keys/signatures/upload``)."""
        path = Path.v3.keys.signatures.upload
        await self.request(Method.POST, path, body, as_user=user, query={"device_id": device})

    async def query_keys(self, users: Iterable[UserId], *, as_user: UserId) -> JSON:
        """Return the response of ``POST /keys/query`` for all devices of users."""
        body: JSON = {"device_keys": {user: [] for user in users}, "timeout": _QUERY_TIMEOUT_MS}
        return await self.request_object(Method.POST, Path.v3.keys.query, body, as_user=as_user)

    async def claim_keys(self, body: JSON, *, as_user: UserId) -> JSON:
        """Return the response of ``POST /keys/claim``.

        Args:
            body: the field ``one_time_keys``.
            as_user: the ghost.
        """
        return await self.request_object(
            Method.POST, Path.v3.keys.claim, body | {"timeout": _QUERY_TIMEOUT_MS}, as_user=as_user
        )

    async def send_to_device(
        self, event_type: str, txn_id: str, messages: JSON, *, as_user: UserId, device: str
    ) -> None:
        """Send to-device events; Synapse drops a repeated request with the same ``txn_id``.

        Args:
            event_type: the type of all events.
            txn_id: the transaction id.
            messages: the contents by user id and device id.
            as_user: the ghost.
            device: the ghost's device.
        """
        path = Path.v3.sendToDevice[event_type][txn_id]
        await self.request(Method.PUT, path, {"messages": messages}, as_user=as_user, query={"device_id": device})

    async def sync_to_device(self, user: UserId, device: str, *, since: str | None, timeout_ms: int) -> JSON:
        """Return the waiting to-device events of a device by one ``/sync``, which leaves the presence unchanged.

        Args:
            user: the ghost.
            device: its device.
            since: the ``next_batch`` up to which the events are stored; the homeserver deletes them.
            timeout_ms: how long the homeserver may wait, in milliseconds. It also makes two requests differ: Synapse
                returns the cached response to a repeated one, without the events that came in between.

        Returns:
            The response, which always has ``next_batch``.
        """
        query = {
            "filter": _TO_DEVICE_ONLY,
            "timeout": str(timeout_ms),
            "set_presence": "offline",
            "device_id": device,
        } | ({"since": since} if since else {})
        response = await self.request_object(Method.GET, Path.v3.sync, as_user=user, query=query)
        self._required_text(response, "next_batch")
        return response

    async def readers(self, room: MatrixRoomId, *, as_user: UserId) -> dict[UserId, str]:
        """Return the membership, ``join`` or ``invite``, of the users who are in a room or invited to it."""
        query = {"not_membership": "leave"}
        response = await self.request_object(Method.GET, Path.v3.rooms[room].members, as_user=as_user, query=query)
        return dict(filter(None, map(_reader, self._required_list(response, "chunk"))))


def _reader(event: Any) -> tuple[UserId, str] | None:
    content = event.get("content") if isinstance(event, dict) else None
    membership, user = (
        (content.get("membership"), event.get("state_key")) if isinstance(content, dict) else (None, None)
    )
    return (UserId(user), membership) if isinstance(user, str) and membership in {"join", "invite"} else None
