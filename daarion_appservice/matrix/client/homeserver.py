"""A client of the parts of the Matrix client-server API that the service uses, acting as any user of its namespace.

The client builds on mautrix's ``HTTPAPI`` (paths, requests, error codes). It does not use mautrix's intents, which
register users, join rooms and cache both implicitly; ``ghosts`` does the same explicitly, once, and stores the result.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import structlog
from mautrix.api import HTTPAPI, Method, Path, PathBuilder
from mautrix.errors import MatrixConnectionError, MatrixRequestError
from yarl import URL

from ...city.types import EventId, MatrixRoomId, UserId
from ...errors import (
    HomeserverRateLimited,
    HomeserverRefused,
    HomeserverTimeout,
    HomeserverUnavailable,
    HomeserverUnreachable,
    InvalidHomeserverResponse,
)
from .json_parsing import loads

JSON = dict[str, Any]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=5)
_STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
"""The timeout of media transfers: no limit in total, but one between two reads. Before it sends the first byte, Synapse
may have to fetch the file from another homeserver."""
_MAX_ANSWER_BYTES: Final = 64 * 1024
_GATEWAY_ERRORS: Final = frozenset({502, 503, 504})
_ABSENT: Final = frozenset({404, 414})
"""HTTP statuses that mean that the resource does not exist. 414 is for an id longer than any id on Matrix."""
_MAX_TARGET_BYTES: Final = 8_000
"""The maximum length of a request's path and query. From 16,384 bytes on, Synapse closes the connection without a
response, which looks like an outage; nginx accepts 8 KiB. Ids of 255 characters, percent-encoded, have 3,060 bytes."""
_CLIENT_V1: Final = PathBuilder("_matrix/client/v1")
_MEDIA_V3: Final = PathBuilder("_matrix/media/v3")
_FEDERATION_V1: Final = PathBuilder("_matrix/federation/v1")
_MSC4133: Final = PathBuilder("_matrix/client/unstable/uk.tcpip.msc4133")
_MOST_EDITS: Final = 500
"""The maximum number of edits of one event that are requested; a person makes fewer by hand."""
_LIMITED_MS: Final = 1_000
"""The delay before a retry after a 429 response that names none."""
_LONGEST_LIMITED_MS: Final = 300_000
"""The maximum delay that a 429 response, of the homeserver or of a proxy in front of it, imposes."""
_REPORT_LIMIT_EVERY_S: Final = 300.0

UNKNOWN_DEVICE: Final = "M_UNKNOWN_DEVICE"
"""The errcode for a ``device_id`` that the user does not have (spec 1.17, "Server admin style permissions")."""
CITY_DEVICE: Final = "CITY"
"""The device id of every ghost. Synapse stores the transaction ids of a device's events in its database (MSC4190)."""


log = structlog.get_logger()


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


class _Response(aiohttp.ClientResponse):
    """A response whose JSON may hold data of other homeservers: numbers and nesting beyond canonical JSON."""

    async def json(self, **options: Any) -> Any:
        return await super().json(**options, loads=_loads)


def _loads(text: str) -> Any:
    return loads(text.encode("utf-8", "surrogatepass"))


class Homeserver:
    """A client of one homeserver.

    Every method raises only ``HomeserverUnavailable`` (no response) or ``HomeserverRefused`` (an error response).
    """

    def __init__(self, address: str, as_token: str, *, verify_tls: bool = True, connections: int = 32) -> None:
        headers = {"User-Agent": f"daarion-appservice {HTTPAPI.default_ua}"}
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(limit=connections, ssl=verify_tls),
            headers=headers,
            response_class=_Response,
            raise_for_status=self._look_at,
        )
        # Media transfers use a separate connection pool, so that slow ones do not delay messages.
        self._streams = aiohttp.ClientSession(
            timeout=_STREAM_TIMEOUT,
            connector=aiohttp.TCPConnector(limit=0, ssl=verify_tls),
            headers=headers,
            raise_for_status=self._look_at,
        )
        library_log = logging.getLogger("daarion_appservice.homeserver")
        self._authorization = {"Authorization": f"Bearer {as_token}"}
        self._api = HTTPAPI(address, as_token, client_session=self._session, log=library_log)  # type: ignore[arg-type]
        self.address = address
        self._limit_reported_s: float | None = None
        self.software = ""
        """The ``Server`` header of the last response, like ``Synapse/1.163.2``; a proxy may set its own name."""

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._streams.close()

    async def request(
        self,
        method: Method,
        path: PathBuilder,
        content: Any = None,
        *,
        as_user: UserId | None = None,
        query: Mapping[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a request and return the parsed JSON of the response.

        Args:
            content: the JSON body, or bytes.
            as_user: the user to act as (``user_id``, "Identity assertion"); None for the bot.

        Raises:
            HomeserverUnavailable: there was no response, or one of a gateway in front of the homeserver.
            HomeserverRefused: the homeserver responded with an error.
        """
        params = dict(query or {})
        if as_user is not None:
            params["user_id"] = as_user
        _check_length(path, params)
        try:
            return await self._api.request(method, path, content, query_params=params, headers=headers)
        except MatrixRequestError as error:
            # Synapse sends these statuses with an errcode if another server does not respond (this service, to a ping).
            if error.http_status in _GATEWAY_ERRORS and not error.errcode:
                raise HomeserverUnavailable(f"a gateway answered {error.http_status} for {self.address}") from error
            errcode, message = str(error.errcode or "M_UNKNOWN"), str(error.message or "")
            raise HomeserverRefused(error.http_status, errcode, message) from error
        except MatrixConnectionError as error:
            if isinstance(error.__cause__, aiohttp.ContentTypeError):
                raise HomeserverUnreachable(self._no_matrix("no JSON")) from error
            raise HomeserverUnavailable(f"{self.address}: {error}") from error
        except TimeoutError as error:
            raise HomeserverTimeout(f"{self.address} did not answer in time") from error
        except (ValueError, TypeError, AttributeError) as error:
            # mautrix raises TypeError and AttributeError for the body of an error response that is no object.
            raise HomeserverUnreachable(self._no_matrix("no JSON")) from error

    @asynccontextmanager
    async def streaming(
        self,
        method: Method,
        path: PathBuilder,
        body: AsyncIterable[bytes] | None = None,
        *,
        as_user: UserId | None = None,
        as_nobody: bool = False,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request whose request or response body is too large for memory, and yield the response for reading.

        Args:
            body: the chunks of the request body.
            as_user: the user to act as; None for the bot.
            as_nobody: send the request without the ``as_token``.

        Raises:
            HomeserverUnavailable, HomeserverRefused: before the response body begins. Reading the body raises
                ``aiohttp.ClientError`` or ``TimeoutError``.
        """
        params = dict(query or {}) | ({"user_id": as_user} if as_user is not None else {})
        url = URL(f"{self.address}/{path}", encoded=True).with_query(params)
        _check_length(path, params)
        sent = dict(headers or {}) | ({} if as_nobody else self._authorization)
        try:
            response = await self._streams.request(method.value, url, data=body, headers=sent, allow_redirects=False)
        except TimeoutError as error:
            raise HomeserverTimeout(f"{self.address} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise HomeserverUnavailable(f"{self.address}: {error}") from error
        async with response:
            if response.status != 200:
                raise await self._refusal(response)
            yield response

    async def _refusal(self, response: aiohttp.ClientResponse) -> HomeserverUnavailable | HomeserverRefused:
        try:
            answer = loads(await response.content.read(_MAX_ANSWER_BYTES))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("errcode"), str):
            if response.status in _GATEWAY_ERRORS:
                return HomeserverUnavailable(f"a gateway answered {response.status} for {self.address}")
            answer = {}
        return HomeserverRefused(
            response.status, answer.get("errcode", "M_UNKNOWN"), str(answer.get("error", response.reason))
        )

    async def _look_at(self, response: aiohttp.ClientResponse) -> None:
        """Read the headers that mautrix drops: ``Server``, and the retry delay of a 429 response."""
        self.software = response.headers.get("Server", "")
        if response.status == 429:
            limited = _limited(await response.read(), response.headers.get("Retry-After", ""))
            self._report_limit(limited)
            raise limited

    def _report_limit(self, limited: HomeserverRateLimited) -> None:
        now_s = time.monotonic()
        if self._limit_reported_s is not None and now_s - self._limit_reported_s < _REPORT_LIMIT_EVERY_S:
            return
        self._limit_reported_s = now_s
        log.warning(
            "rate_limited",
            retry_after_ms=limited.retry_after_ms,
            help="Synapse slows us down: its copy of the registration must say `rate_limited: false` "
            "(`daarion-appservice registration check`); restart Synapse after correcting it",
        )

    # --- the service itself ---------------------------------------------------------------------------

    async def versions(self) -> JSON:
        """Return the supported versions and unstable features; raise HomeserverUnreachable for any other response."""
        answer = await self._object(Method.GET, Path.versions)
        if not isinstance(answer.get("versions"), list):
            raise HomeserverUnreachable(self._no_matrix("no versions"))
        return answer

    async def whoami(self) -> UserId:
        """Return the user id of the bot, to which the homeserver maps the ``as_token``."""
        answer = await self._object(Method.GET, Path.v3.account.whoami)
        return UserId(str(answer.get("user_id", "")))

    async def ping(self, appservice_id: str) -> None:
        """Make the homeserver call this service, and deliver the transactions that wait for a retry (spec 1.7)."""
        await self.request(Method.POST, _CLIENT_V1.appservice[appservice_id].ping, {})

    # --- users ----------------------------------------------------------------------------------------

    async def register(self, user: UserId) -> bool:
        """Register a user of the service's namespace.

        Returns:
            False if the user id is already registered, by this service or by a person.
        """
        localpart = user[1:].partition(":")[0]
        try:
            await self.request(
                Method.POST,
                Path.v3.register,
                {"type": "m.login.application_service", "username": localpart, "inhibit_login": True},
            )
        except HomeserverRefused as error:
            if error.errcode != "M_USER_IN_USE":
                raise
            return False
        return True

    async def devices(self, user: UserId) -> list[str]:
        """Return the ids of a user's devices: one for each signed-in session, and the one that this service made."""
        answer = await self._object(Method.GET, Path.v3.devices, as_user=user)
        return [self._text(device, "device_id") for device in self._list(answer, "devices")]

    async def openid_holder(self, token: str) -> str:
        """Return the user id (``sub``) that the homeserver issued an OpenID token for; no log contains the token.

        Source: server-server API, ``/openid/userinfo``.
        """
        path, query = _FEDERATION_V1.openid.userinfo, {"access_token": token}
        # A Synapse without federation rejects a request whose Authorization header is not another server's, but accepts
        # a request without that header.
        async with self.streaming(Method.GET, path, query=query, as_nobody=True) as response:
            try:
                answer = loads(await response.content.read(_MAX_ANSWER_BYTES))
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise HomeserverUnavailable(f"{self.address} broke off its answer") from error
        return self._text(answer if isinstance(answer, dict) else {}, "sub")

    async def make_device(self, user: UserId, device: str = CITY_DEVICE) -> None:
        """Create a device of a user (MSC4190); an existing one stays."""
        await self.request(Method.PUT, Path.v3.devices[device], {"display_name": "DAARION"}, as_user=user)

    async def display_name(self, user: UserId) -> str | None:
        """Return the display name in a user's profile, or None if it has none."""
        name = (await self._object(Method.GET, Path.v3.profile[user])).get("displayname")
        return name if isinstance(name, str) else None

    async def set_display_name(self, user: UserId, name: str) -> None:
        await self.request(Method.PUT, Path.v3.profile[user].displayname, {"displayname": name}, as_user=user)

    async def set_avatar(self, user: UserId, mxc: str) -> None:
        await self.request(Method.PUT, Path.v3.profile[user].avatar_url, {"avatar_url": mxc}, as_user=user)

    async def capabilities(self, *, as_user: UserId) -> JSON:
        """Return the capabilities of the homeserver, or an empty object if it declares none."""
        answer = await self._object(Method.GET, Path.v3.capabilities, as_user=as_user)
        capabilities = answer.get("capabilities")
        return capabilities if isinstance(capabilities, dict) else {}

    async def set_profile_field(self, user: UserId, field: str, value: Any, *, is_stable: bool) -> None:
        """Set a field of a profile (MSC4133, spec 1.16).

        Args:
            field: the name of the field.
            value: any JSON value; None removes the field.
            is_stable: use the specification's path instead of the MSC's unstable one.
        """
        path = (Path.v3 if is_stable else _MSC4133).profile[user][field]
        if value is None:
            await self.request(Method.DELETE, path, as_user=user)
        else:
            await self.request(Method.PUT, path, {field: value}, as_user=user)

    async def upload(self, user: UserId, picture: bytes, content_type: str) -> str:
        """Upload a picture as ``user`` and return its ``mxc://`` URI."""
        answer = await self.request(
            Method.POST, _MEDIA_V3.upload, picture, as_user=user, headers={"Content-Type": content_type}
        )
        return self._text(answer, "content_uri")

    async def media_config(self) -> JSON:
        """Return the configuration of the media repository, from the path of spec 1.11 or else from the older one."""
        try:
            return await self._object(Method.GET, _CLIENT_V1.media.config)
        except HomeserverRefused as error:
            if error.errcode != "M_UNRECOGNIZED":
                raise
            return await self._object(Method.GET, _MEDIA_V3.config)

    # --- presence -------------------------------------------------------------------------------------

    async def set_presence(
        self, user: UserId, presence: str, status_msg: str | None, *, device: str | None = None
    ) -> None:
        """Set a user's presence.

        Args:
            presence: ``online``, ``unavailable`` or ``offline``.
            status_msg: every call has to pass it, because a request without it clears it for all observers.
            device: Synapse stores presence per device and shows the most active one; None counts as a device as well.
        """
        content: JSON = {"presence": presence}
        if status_msg is not None:
            content["status_msg"] = status_msg
        query = {"device_id": device} if device is not None else None
        await self.request(Method.PUT, Path.v3.presence[user].status, content, as_user=user, query=query)

    async def presence(self, user: UserId, *, as_user: UserId) -> JSON:
        """Return the presence of ``user`` as ``as_user`` sees it."""
        return await self._object(Method.GET, Path.v3.presence[user].status, as_user=as_user)

    async def set_typing(self, room: MatrixRoomId, user: UserId, *, typing: bool, timeout_ms: int) -> None:
        """Start or end the typing of a user; it ends by itself after ``timeout_ms``."""
        content: JSON = {"typing": True, "timeout": timeout_ms} if typing else {"typing": False}
        await self.request(Method.PUT, Path.v3.rooms[room].typing[user], content, as_user=user)

    async def send_receipt(self, room: MatrixRoomId, event: EventId, *, as_user: UserId) -> None:
        """Send a read receipt of ``as_user`` for an event, in the main timeline (``thread_id`` ``main``)."""
        path = Path.v3.rooms[room].receipt["m.read"][event]
        await self.request(Method.POST, path, {"thread_id": "main"}, as_user=as_user)

    # --- rooms ----------------------------------------------------------------------------------------

    async def create_room(self, content: JSON, *, as_user: UserId) -> MatrixRoomId:
        """Create a room with ``content`` as the body of ``POST /createRoom``, and return its id."""
        answer = await self._object(Method.POST, Path.v3.createRoom, content, as_user=as_user)
        return MatrixRoomId(self._text(answer, "room_id"))

    async def room_of_alias(self, alias: str) -> MatrixRoomId | None:
        """Return the room of an alias, or None if the alias does not exist."""
        try:
            answer = await self._object(Method.GET, Path.v3.directory.room[alias])
        except HomeserverRefused as error:
            if error.status in _ABSENT:
                return None
            raise
        return MatrixRoomId(self._text(answer, "room_id"))

    async def set_alias(self, alias: str, room: MatrixRoomId, *, as_user: UserId) -> None:
        await self.request(Method.PUT, Path.v3.directory.room[alias], {"room_id": room}, as_user=as_user)

    async def is_in_directory(self, room: MatrixRoomId) -> bool:
        """Return whether a room is in the public room directory."""
        answer = await self._object(Method.GET, Path.v3.directory.list.room[room])
        return answer.get("visibility") == "public"

    async def set_in_directory(self, room: MatrixRoomId, public: bool, *, as_user: UserId) -> None:
        """Add a room to the public room directory, or remove it."""
        await self.request(
            Method.PUT,
            Path.v3.directory.list.room[room],
            {"visibility": "public" if public else "private"},
            as_user=as_user,
        )

    async def state(self, room: MatrixRoomId, event_type: str, state_key: str = "", *, as_user: UserId) -> JSON | None:
        """Return the content of a state event, or None if the room has no such event."""
        try:
            # The path is a string because PathBuilder would drop an empty state key.
            path = f"_matrix/client/v3/rooms/{quote(room, safe='')}/state/{event_type}/{quote(state_key, safe='')}"
            return await self._object(Method.GET, PathBuilder(path), as_user=as_user)
        except HomeserverRefused as error:
            if error.status in _ABSENT:
                return None
            raise

    async def state_event(
        self, room: MatrixRoomId, event_type: str, state_key: str = "", *, as_user: UserId
    ) -> JSON | None:
        """Return a complete state event, or None if the room has no such event."""
        path = f"_matrix/client/v3/rooms/{quote(room, safe='')}/state/{event_type}/{quote(state_key, safe='')}"
        try:
            return await self._object(Method.GET, PathBuilder(path), as_user=as_user, query={"format": "event"})
        except HomeserverRefused as error:
            if error.status in _ABSENT:
                return None
            raise

    async def whole_state(self, room: MatrixRoomId, *, as_user: UserId) -> list[JSON]:
        """Return all state events of a room: the current ones, or those at the time when ``as_user`` left it."""
        answer = await self.request(Method.GET, Path.v3.rooms[room].state, as_user=as_user)
        if not isinstance(answer, list):
            raise self._invalid("no list")
        return [event for event in answer if isinstance(event, dict)]

    async def event(self, room: MatrixRoomId, event: EventId, *, as_user: UserId) -> JSON | None:
        """Return an event in the client format, or None if it does not exist or ``as_user`` may not read it."""
        try:
            return await self._object(Method.GET, Path.v3.rooms[room].event[event], as_user=as_user)
        except HomeserverRefused as error:
            if error.status in _ABSENT:
                return None
            raise

    async def set_state(
        self, room: MatrixRoomId, event_type: str, content: JSON, state_key: str = "", *, as_user: UserId
    ) -> None:
        path = f"_matrix/client/v3/rooms/{quote(room, safe='')}/state/{event_type}/{quote(state_key, safe='')}"
        await self.request(Method.PUT, PathBuilder(path), content, as_user=as_user)

    async def joined_members(self, room: MatrixRoomId, *, as_user: UserId) -> dict[UserId, JSON]:
        """Return the joined members of a room with their profiles (``display_name``, ``avatar_url``)."""
        answer = await self._object(Method.GET, Path.v3.rooms[room].joined_members, as_user=as_user)
        joined = answer.get("joined")
        if not isinstance(joined, dict):
            raise self._invalid("no joined")
        return {UserId(user): profile for user, profile in joined.items() if isinstance(profile, dict)}

    async def joined_rooms(self, *, as_user: UserId) -> set[MatrixRoomId]:
        """Return the rooms that ``as_user`` is joined to."""
        answer = await self._object(Method.GET, Path.v3.joined_rooms, as_user=as_user)
        return {MatrixRoomId(room) for room in self._list(answer, "joined_rooms") if isinstance(room, str)}

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
        answer = await self._object(
            Method.GET, Path.v3.sync, as_user=as_user, query=query | ({"since": since} if since else {})
        )
        self._text(answer, "next_batch")
        return answer

    async def join(self, room: MatrixRoomId | str, *, as_user: UserId, via: str | None = None) -> MatrixRoomId:
        """Join a room, by its id or alias.

        Args:
            via: a homeserver that takes part in the room, for a room that this homeserver does not know.
        """
        # Before Matrix 1.12 the parameter `via` was called `server_name`.
        query = {"via": via, "server_name": via} if via else {}
        answer = await self._object(Method.POST, Path.v3.join[room], {}, as_user=as_user, query=query)
        return MatrixRoomId(self._text(answer, "room_id"))

    async def leave(self, room: MatrixRoomId, *, as_user: UserId, reason: str | None = None) -> None:
        """Leave a room, or decline an invitation to it."""
        content = {"reason": reason} if reason else {}
        await self.request(Method.POST, Path.v3.rooms[room].leave, content, as_user=as_user)

    async def invitations(self, *, as_user: UserId) -> dict[MatrixRoomId, list[JSON]]:
        """Return the rooms that ``as_user`` is invited to, each with its stripped state."""
        answer = await self.sync(since=None, filter_json=_INVITATIONS_ONLY, timeout_ms=0, as_user=as_user)
        rooms = answer.get("rooms")
        invited = rooms.get("invite") if isinstance(rooms, dict) else None
        return {
            MatrixRoomId(room): _stripped_state(content)
            for room, content in (invited.items() if isinstance(invited, dict) else ())
        }

    async def invite(self, room: MatrixRoomId, user: UserId, *, as_user: UserId) -> None:
        await self.request(Method.POST, Path.v3.rooms[room].invite, {"user_id": user}, as_user=as_user)

    async def send(
        self,
        room: MatrixRoomId,
        event_type: str,
        txn_id: str,
        content: JSON,
        *,
        as_user: UserId,
        with_device: bool,
        ts_ms: int | None = None,
    ) -> EventId:
        """Send an event. A repeated request of the same user with the same ``txn_id`` returns the same event id.

        Args:
            with_device: send the event with the ghost's device, so that Synapse stores the ``txn_id`` across restarts.
            ts_ms: ``origin_server_ts``, in milliseconds since 1970; None for the current time.
        """
        path = Path.v3.rooms[room].send[event_type][txn_id]
        query = ({} if ts_ms is None else {"ts": str(ts_ms)}) | _device(with_device)
        answer = await self._object(Method.PUT, path, content, as_user=as_user, query=query)
        return EventId(self._text(answer, "event_id"))

    async def redact(
        self, room: MatrixRoomId, event: EventId, txn_id: str, *, as_user: UserId, with_device: bool
    ) -> EventId:
        """Redact an event. A repeated request of the same user with the same ``txn_id`` returns the same event id."""
        path = Path.v3.rooms[room].redact[event][txn_id]
        answer = await self._object(Method.PUT, path, {}, as_user=as_user, query=_device(with_device))
        return EventId(self._text(answer, "event_id"))

    async def edits(self, room: MatrixRoomId, event: EventId, *, by: UserId, as_user: UserId) -> list[EventId]:
        """Return the latest unredacted edits (``m.replace``) of an event by the user ``by``, if the event exists."""
        path = _CLIENT_V1.rooms[room].relations[event]["m.replace"]
        try:
            answer = await self._object(Method.GET, path, as_user=as_user, query={"limit": str(_MOST_EDITS)})
        except HomeserverRefused as error:
            if error.status in _ABSENT:
                return []
            raise
        edits = [edit for edit in self._list(answer, "chunk") if isinstance(edit, dict) and edit.get("sender") == by]
        return [EventId(self._text(edit, "event_id")) for edit in edits]

    async def messages_before(
        self, room: MatrixRoomId, cursor: str | None, *, limit: int, as_user: UserId, until: str | None = None
    ) -> tuple[list[JSON], str | None]:
        """Return a page of history, newest event first.

        Args:
            cursor: the cursor that the previous page returned; None begins at the newest event.
            until: a token of ``/sync``; events before that sync are left out.

        Returns:
            The events, and the cursor to the page of older events, or None if there are none.
        """
        return await self._messages(room, {"dir": "b"} | ({"to": until} if until else {}), cursor, limit, as_user)

    async def messages_after(
        self, room: MatrixRoomId, cursor: str | None, *, limit: int, as_user: UserId
    ) -> tuple[list[JSON], str | None]:
        """Return a page of history, oldest event first, and the cursor to the next page.

        Without a cursor the page begins at the room's first event.
        """
        return await self._messages(room, {"dir": "f"}, cursor, limit, as_user)

    async def _messages(
        self, room: MatrixRoomId, query: dict[str, str], cursor: str | None, limit: int, as_user: UserId
    ) -> tuple[list[JSON], str | None]:
        query |= {"limit": str(limit)} | ({"from": cursor} if cursor else {})
        answer = await self._object(Method.GET, Path.v3.rooms[room].messages, as_user=as_user, query=query)
        end = answer.get("end")
        events = [event for event in self._list(answer, "chunk") if isinstance(event, dict)]
        return events, end if isinstance(end, str) else None

    async def _object(
        self,
        method: Method,
        path: PathBuilder,
        content: JSON | None = None,
        *,
        as_user: UserId | None = None,
        query: Mapping[str, str] | None = None,
    ) -> JSON:
        answer = await self.request(method, path, content, as_user=as_user, query=query)
        if not isinstance(answer, dict):
            raise HomeserverUnreachable(self._no_matrix("no object"))
        return answer

    def _text(self, answer: Any, key: str) -> str:
        if isinstance(answer, dict) and isinstance(value := answer.get(key), str):
            return value
        raise self._invalid(f"no {key}")

    def _list(self, answer: JSON, key: str) -> list[Any]:
        if isinstance(value := answer.get(key), list):
            return value
        raise self._invalid(f"no {key}")

    def _invalid(self, what: str) -> InvalidHomeserverResponse:
        return InvalidHomeserverResponse(self._no_matrix(what))

    def _no_matrix(self, what: str) -> str:
        return f"{self.address} did not answer as a homeserver does: {what}"


def _stripped_state(content: Any) -> list[JSON]:
    state = content.get("invite_state") if isinstance(content, dict) else None
    events = state.get("events") if isinstance(state, dict) else None
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


def _device(with_device: bool) -> dict[str, str]:
    return {"device_id": CITY_DEVICE} if with_device else {}


def _check_length(path: PathBuilder, query: Mapping[str, str]) -> None:
    if len(str(path)) + sum(len(quote(value)) for value in query.values()) > _MAX_TARGET_BYTES:
        raise HomeserverRefused(414, "M_TOO_LARGE", "The path of the request is too long; it was not sent")


def _limited(body: bytes, retry_after: str) -> HomeserverRateLimited:
    """Read the retry delay: ms in the body (deprecated), or whole seconds in the header (spec, "Rate limiting")."""
    try:
        answer = loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    after_ms = answer.get("retry_after_ms")
    if not isinstance(after_ms, int) or isinstance(after_ms, bool):
        after_ms = int(retry_after) * 1000 if retry_after.isdecimal() else _LIMITED_MS
    errcode, message = str(answer.get("errcode", "M_LIMIT_EXCEEDED")), str(answer.get("error", "too many requests"))
    return HomeserverRateLimited(errcode, message, retry_after_ms=min(max(0, after_ms), _LONGEST_LIMITED_MS))
