"""A scripted homeserver that refuses, delays or drops requests, and records them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import http as aiohttp_server
from aiohttp import web
from aiohttp.test_utils import TestServer

ROUTES = {
    "versions": ("GET", "/_matrix/client/versions"),
    "whoami": ("GET", "/_matrix/client/v3/account/whoami"),
    "openid": ("GET", "/_matrix/federation/v1/openid/userinfo"),
    "ping": ("POST", "/_matrix/client/v1/appservice/{id}/ping"),
    "register": ("POST", "/_matrix/client/v3/register"),
    "devices": ("GET", "/_matrix/client/v3/devices"),
    "device": ("PUT", "/_matrix/client/v3/devices/{device}"),
    "profile": ("PUT", "/_matrix/client/v3/profile/{user}/{field}"),
    "profile_of": ("GET", "/_matrix/client/v3/profile/{user}"),
    "member": ("GET", "/_matrix/client/v3/rooms/{room}/state/m.room.member/{user}"),
    "leave": ("POST", "/_matrix/client/v3/rooms/{room}/leave"),
    "receipt": ("POST", "/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}"),
    "capabilities": ("GET", "/_matrix/client/v3/capabilities"),
    "presence": ("PUT", "/_matrix/client/v3/presence/{user}/status"),
    "presence_of": ("GET", "/_matrix/client/v3/presence/{user}/status"),
    "sync": ("GET", "/_matrix/client/v3/sync"),
    "joined_rooms": ("GET", "/_matrix/client/v3/joined_rooms"),
    "join": ("POST", "/_matrix/client/v3/join/{room}"),
    "kick": ("POST", "/_matrix/client/v3/rooms/{room}/kick"),
    "ban": ("POST", "/_matrix/client/v3/rooms/{room}/ban"),
    "unban": ("POST", "/_matrix/client/v3/rooms/{room}/unban"),
    "invite": ("POST", "/_matrix/client/v3/rooms/{room}/invite"),
    "members": ("GET", "/_matrix/client/v3/rooms/{room}/joined_members"),
    "event": ("GET", "/_matrix/client/v3/rooms/{room}/event/{event}"),
    "state": ("GET", "/_matrix/client/v3/rooms/{room}/state/{type}/{key:.*}"),
    "whole_state": ("GET", "/_matrix/client/v3/rooms/{room}/state"),
    "messages": ("GET", "/_matrix/client/v3/rooms/{room}/messages"),
    "redact": ("PUT", "/_matrix/client/v3/rooms/{room}/redact/{event}/{txn_id}"),
    "relations": ("GET", "/_matrix/client/v1/rooms/{room}/relations/{event}/m.replace/{type}"),
    "set_state": ("PUT", "/_matrix/client/v3/rooms/{room}/state/{type}/{key:.*}"),
    "upload": ("POST", "/_matrix/media/v3/upload"),
    "media_config": ("GET", "/_matrix/client/v1/media/config"),
    "preview_url": ("GET", "/_matrix/client/v1/media/preview_url"),
    "old_preview_url": ("GET", "/_matrix/media/v3/preview_url"),
    "search": ("POST", "/_matrix/client/v3/publicRooms"),
    "listed": ("GET", "/_matrix/client/v3/directory/list/room/{room}"),
    "alias": ("GET", "/_matrix/client/v3/directory/room/{alias}"),
    "download": ("GET", "/_matrix/client/v1/media/download/{server}/{id}"),
    "probe": ("PUT", "/_matrix/client/v3/rooms/{room}/send/space.daarion.doctor/{txn_id}"),
    "send": ("PUT", "/_matrix/client/v3/rooms/{room}/send/{type}/{txn_id}"),
}

_ANSWERS: dict[str, dict[str, Any]] = {
    "versions": {"versions": ["v1.17"]},
    "sync": {"next_batch": "s1"},
    "members": {"joined": {}},
    "whoami": {"user_id": "@daarion_bot:city.localhost"},
    "joined_rooms": {"joined_rooms": []},
    "devices": {"devices": []},
    "relations": {"chunk": []},
}
"""Default responses by route; other routes return an empty object."""


@dataclass(frozen=True)
class Reply:
    status: int
    content: Any


class HangUp:
    """Close the connection instead of responding."""


class Lose:
    """Do what the request asks for, and close the connection instead of responding."""


class Hang:
    """Respond only after ``end`` is set, with ``reply`` or the default response."""

    def __init__(self, end: asyncio.Event | None = None, reply: Reply | None = None) -> None:
        self.end = end
        self.reply = reply


Fault = Reply | HangUp | Lose | Hang
"""What is scripted for one request."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request; ``user`` is the user id that it acts as."""

    what: str
    user: str
    path: dict[str, str]
    content: Any
    query: dict[str, str] = field(default_factory=dict)


def refused(status: int, errcode: str, error: str = "no", **more: Any) -> Reply:
    return Reply(status, {"errcode": errcode, "error": error} | more)


HANG_UP = HangUp()
LOSE = Lose()
HANG = Hang()
NOT_IN_ROOM = refused(403, "M_FORBIDDEN", "User not in room")
NOT_REGISTERED = refused(403, "M_FORBIDDEN", "Application service has not registered this user")


class ScriptedHomeserver:
    """A homeserver without events that sends scripted responses."""

    routes: Mapping[str, tuple[str, str]] = ROUTES

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.histories: dict[str, list[dict[str, Any]]] = {}
        """The events of each room, oldest first, as ``/messages`` returns them."""
        self.in_room: defaultdict[str, list[str]] = defaultdict(list)
        """The bodies of the messages of each room, as they arrived."""
        self._events: dict[tuple[str, str], str] = {}
        self._script: defaultdict[tuple[str, str], deque[Fault]] = defaultdict(deque)
        self.url = ""
        self.software = aiohttp_server.SERVER_SOFTWARE
        """The ``Server`` header of the responses."""

    def next(self, what: str, *replies: Fault, room: str = "") -> None:
        """Use these responses for the next requests of this kind (for ``room``, if given), in order."""
        self._script[what, room].extend(replies)

    def hold(self, what: str, reply: Reply | None = None) -> asyncio.Event:
        """Delay the response to the next request of this kind until the event is set."""
        end = asyncio.Event()
        self.next(what, Hang(end, reply))
        return end

    def all(self, what: str) -> list[ReceivedRequest]:
        return [received for received in self.requests if received.what == what]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        for what, (method, path) in self.routes.items():
            app.router.add_route(method, path, self._handler(what))
        server = TestServer(app)
        await server.start_server()
        self.url = str(server.make_url("")).rstrip("/")
        try:
            yield
        finally:
            await server.close()

    def _handler(self, what: str) -> Any:
        async def handle(request: web.Request) -> web.Response:
            content: Any = None
            if request.can_read_body:
                content = await (request.read() if what == "upload" else request.json())
            received = ReceivedRequest(
                what, request.query.get("user_id", ""), dict(request.match_info), content, dict(request.query)
            )
            self.requests.append(received)
            match self._reply(received):
                case Reply(status, answer):
                    return web.json_response(answer, status=status)
                case Lose():
                    self._response(received)
                    _hang_up(request)
                case HangUp():
                    _hang_up(request)
                case Hang() as hang:
                    await (hang.end or asyncio.Event()).wait()
                    late = hang.reply or self._response(received)
                    assert isinstance(late, Reply)
                    return web.json_response(late.content, status=late.status)
            return web.Response()

        return handle

    def _reply(self, received: ReceivedRequest) -> Fault:
        for key in ((received.what, received.path.get("room", "")), (received.what, "")):
            if self._script[key]:
                return self._script[key].popleft()
        return self._response(received)

    def _response(self, received: ReceivedRequest) -> Fault:
        """Return the response to a request for which nothing is scripted."""
        return Reply(200, self._answer(received))

    def _answer(self, received: ReceivedRequest) -> dict[str, Any]:
        match received.what:
            case "register":
                return {"user_id": f"@{received.content['username']}:city.localhost"}
            case "upload":
                return {"content_uri": f"mxc://city.localhost/upload{len(self.all('upload'))}"}
            case "join":
                return {"room_id": received.path["room"]}
            case "messages":
                return self._page(received)
            case "send" | "redact":
                return {
                    "event_id": self._take(received)
                    if received.what == "send"
                    else f"$redaction-of-{received.path['event']}"
                }
        return _ANSWERS.get(received.what, {})

    def _page(self, received: ReceivedRequest) -> dict[str, Any]:
        """Return a page of a room's history; its tokens are indices, and a page without events has no ``end``."""
        events, limit = self.histories.get(received.path["room"], []), int(received.query["limit"])
        if received.query["dir"] == "f":
            start = int(received.query.get("from", 0))
            chunk, end = events[start : start + limit], min(start + limit, len(events))
        else:
            start = int(received.query.get("from", len(events)))
            end = max(0, start - limit)
            chunk = events[end:start][::-1]
        return {"chunk": chunk, "start": str(start)} | ({"end": str(end)} if chunk else {})

    def _take(self, received: ReceivedRequest) -> str:
        """Return the same event for a repeated transaction id of the same user."""
        key = (received.user, received.path["txn_id"])
        if key not in self._events:
            self._events[key] = f"${len(self._events)}"
            self.in_room[received.path["room"]].append(received.content.get("body", received.content.get("ciphertext")))
        return self._events[key]


def _hang_up(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()
