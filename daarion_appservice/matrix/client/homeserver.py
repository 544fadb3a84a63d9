"""The homeserver client: the requests of the Matrix client-server API that the service makes, as any of its users."""

from __future__ import annotations

import json
from typing import Any, Final

from mautrix.api import Method, Path

from ...city.types import MatrixRoomId, UserId
from ...errors import HomeserverRefused, HomeserverUnreachable
from ...json_encoding import JSON
from .encryption_requests import EncryptionRequests
from .event_requests import EventRequests
from .room_requests import RoomRequests
from .transport import CLIENT_V1, MEDIA_V3
from .user_requests import UserRequests

_NOTHING: Final[JSON] = {"types": []}
_INVITATIONS_ONLY: Final = json.dumps(
    {
        "presence": _NOTHING,
        "account_data": _NOTHING,
        "room": {
            "timeline": {"limit": 1, "types": []},
            "state": _NOTHING,
            "ephemeral": _NOTHING,
            "account_data": _NOTHING,
        },
    }
)
"""A filter for ``/sync`` that excludes everything except invitations."""


class Homeserver(UserRequests, RoomRequests, EventRequests, EncryptionRequests):
    """A client of one homeserver.

    Every method raises only ``HomeserverUnavailable`` (no response) or ``HomeserverRefused`` (an error response).
    """

    async def versions(self) -> JSON:
        """Return the supported versions and unstable features; raise HomeserverUnreachable for any other response."""
        response = await self.request_object(Method.GET, Path.versions)
        if not isinstance(response.get("versions"), list):
            raise HomeserverUnreachable(self._not_matrix("no versions"))
        return response

    async def capabilities(self, *, as_user: UserId) -> JSON:
        """Return the capabilities of the homeserver, or an empty object if it declares none."""
        response = await self.request_object(Method.GET, Path.v3.capabilities, as_user=as_user)
        capabilities = response.get("capabilities")
        return capabilities if isinstance(capabilities, dict) else {}

    async def media_config(self) -> JSON:
        """Return the configuration of the media repository, from the path of spec 1.11 or else from the older one."""
        try:
            return await self.request_object(Method.GET, CLIENT_V1.media.config)
        except HomeserverRefused as error:
            if error.errcode != "M_UNRECOGNIZED":
                raise
            return await self.request_object(Method.GET, MEDIA_V3.config)

    async def url_preview(self, url: str) -> JSON:
        """Return the Open Graph data of a page, which the homeserver requests (path of spec 1.11, or the older one)."""
        query = {"url": url}
        try:
            return await self.request_object(Method.GET, CLIENT_V1.media.preview_url, query=query)
        except HomeserverRefused as error:
            if error.errcode != "M_UNRECOGNIZED":
                raise
            return await self.request_object(Method.GET, MEDIA_V3.preview_url, query=query)

    async def whoami(self, *, as_user: UserId | None = None) -> UserId:
        """Return the user id of the bot, to which the homeserver maps the ``as_token``, or of ``as_user``."""
        response = await self.request_object(Method.GET, Path.v3.account.whoami, as_user=as_user)
        return UserId(str(response.get("user_id", "")))

    async def ping(self, appservice_id: str) -> None:
        """Make the homeserver call this service, and deliver the transactions that wait for a retry (spec 1.7)."""
        await self.request(Method.POST, CLIENT_V1.appservice[appservice_id].ping, {})

    async def sync(self, *, since: str | None, filter_json: str, timeout_ms: int, as_user: UserId) -> JSON:
        """Make one ``/sync`` request, which leaves the presence of ``as_user`` unchanged.

        Args:
            since: the ``next_batch`` of the previous response; None for an initial sync.
            filter_json: the filter as JSON text.
            timeout_ms: how long the homeserver may wait for changes; 0 returns at once.

        Returns:
            The response, which always has ``next_batch``.
        """
        query = {"filter": filter_json, "timeout": str(timeout_ms), "set_presence": "offline"}
        query |= {"since": since} if since else {}
        response = await self.request_object(Method.GET, Path.v3.sync, as_user=as_user, query=query)
        self._required_text(response, "next_batch")
        return response

    async def invitations(self, *, as_user: UserId) -> dict[MatrixRoomId, list[JSON]]:
        """Return the rooms that ``as_user`` is invited to, each with its stripped state."""
        response = await self.sync(since=None, filter_json=_INVITATIONS_ONLY, timeout_ms=0, as_user=as_user)
        rooms = response.get("rooms")
        invited = rooms.get("invite") if isinstance(rooms, dict) else None
        return {
            MatrixRoomId(room): _stripped_state(content)
            for room, content in (invited.items() if isinstance(invited, dict) else ())
        }


def _stripped_state(content: Any) -> list[JSON]:
    state = content.get("invite_state") if isinstance(content, dict) else None
    events = state.get("events") if isinstance(state, dict) else None
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
