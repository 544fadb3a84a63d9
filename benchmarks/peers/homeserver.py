"""A homeserver without storage for the start of the service: it answers that everything is as the service wants it.

Arguments: its port, the port of the service, the `hs_token`, and the file with the delay of each answer in milliseconds (empty:
none). `GET /requests` returns the number of requests so far; `POST /joined` adds members, as users by
the alias or id of a room.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from aiohttp import web

HOST: Final = "127.0.0.1"
SERVER: Final = "city.localhost"

_CLIENT: Final = "/_matrix/client/{version}"
_BOT: Final = f"@city:{SERVER}"
_STATE: Final[dict[str, Any]] = {
    "m.room.create": {},
    "m.room.power_levels": {"users": {_BOT: 100}},
    "m.room.join_rules": {"join_rule": "public"},
    "m.room.history_visibility": {"history_visibility": "world_readable"},
}
"""The state of each room that nobody has set yet."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Homeserver:
    """The answers; what was set, and who joined, stays in memory."""

    def __init__(self, service: str, hs_token: str, delay: Path) -> None:
        self._service = service
        self._hs_token = hs_token
        self._delay = delay
        self._members: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._aliases: dict[str, str] = {}
        self._state: dict[tuple[str, str, str], Any] = {}
        self._count = 0

    def app(self) -> web.Application:
        @web.middleware
        async def delayed(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/_matrix/"):
                self._count += 1
                await asyncio.sleep(float(self._delay.read_text() or 0) / 1000)
            return await handler(request)

        app = web.Application(middlewares=[delayed], client_max_size=2**25)
        state = _CLIENT + "/rooms/{room}/state/{type}/{key:.*}"
        for method, path, handler in (
            ("GET", "/requests", self._requests),
            ("POST", "/joined", self._add_members),
            ("GET", "/_matrix/client/versions", self._fixed({"versions": ["v1.17"]})),
            ("GET", _CLIENT + "/account/whoami", self._fixed({"user_id": _BOT})),
            ("POST", _CLIENT + "/appservice/{id}/ping", self._ping),
            ("POST", _CLIENT + "/register", self._register),
            ("GET", _CLIENT + "/sync", self._sync),
            ("GET", _CLIENT + "/devices", self._fixed({"devices": []})),
            ("POST", _CLIENT + "/createRoom", self._create_room),
            ("POST", _CLIENT + "/join/{room}", self._join),
            ("GET", _CLIENT + "/joined_rooms", self._joined_rooms),
            ("GET", _CLIENT + "/directory/room/{alias}", self._alias),
            ("PUT", _CLIENT + "/directory/room/{alias}", self._set_alias),
            ("GET", _CLIENT + "/directory/list/room/{room}", self._fixed({"visibility": "public"})),
            ("GET", _CLIENT + "/rooms/{room}/joined_members", self._joined_members),
            ("GET", _CLIENT + "/rooms/{room}/messages", self._fixed({"chunk": []})),
            ("GET", state, self._get_state),
            ("PUT", state, self._set_state),
            ("POST", "/_matrix/media/{version}/upload", self._upload),
            ("*", "/{path:.*}", self._fixed({})),
        ):
            app.router.add_route(method, path, handler)
        return app

    @staticmethod
    def _fixed(content: Any) -> Handler:
        async def handle(_request: web.Request) -> web.Response:
            return web.json_response(content)

        return handle

    async def _requests(self, _request: web.Request) -> web.Response:
        return web.json_response({"count": self._count})

    async def _add_members(self, request: web.Request) -> web.Response:
        for room, users in (await request.json()).items():
            self._members[self._aliases.get(room, room)] |= {user: {} for user in users}
        return web.json_response({})

    async def _ping(self, request: web.Request) -> web.Response:
        headers = {"Authorization": f"Bearer {self._hs_token}"}
        url = f"{self._service}/_matrix/app/v1/ping"
        content = await request.json()
        async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=content) as answer:
            answer.raise_for_status()
        return web.json_response({"duration_ms": 1})

    async def _register(self, request: web.Request) -> web.Response:
        return web.json_response({"user_id": f"@{(await request.json())['username']}:{SERVER}"})

    async def _sync(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(10.0)
        return web.json_response({"next_batch": "s1"})

    async def _create_room(self, request: web.Request) -> web.Response:
        content = await request.json()
        room = f"!created{self._count}"
        self._state[room, "m.room.create", ""] = content.get("creation_content", {})
        self._members[room][_user(request)] = {}
        if alias := content.get("room_alias_name"):
            self._aliases[f"#{alias}:{SERVER}"] = room
        return web.json_response({"room_id": room})

    async def _join(self, request: web.Request) -> web.Response:
        room = self._aliases.get(request.match_info["room"], request.match_info["room"])
        self._members[room][_user(request)] = {}
        return web.json_response({"room_id": room})

    async def _joined_rooms(self, request: web.Request) -> web.Response:
        user = _user(request)
        return web.json_response({"joined_rooms": [room for room, members in self._members.items() if user in members]})

    async def _joined_members(self, request: web.Request) -> web.Response:
        return web.json_response({"joined": self._members[request.match_info["room"]]})

    async def _alias(self, request: web.Request) -> web.Response:
        room = self._aliases.get(request.match_info["alias"])
        return _found(None if room is None else {"room_id": room})

    async def _set_alias(self, request: web.Request) -> web.Response:
        self._aliases[request.match_info["alias"]] = (await request.json())["room_id"]
        return web.json_response({})

    async def _get_state(self, request: web.Request) -> web.Response:
        content = self._state.get(_state_key(request), _STATE.get(request.match_info["type"]))
        is_event = request.query.get("format") == "event"
        return _found({"content": content, "sender": _BOT} if is_event and content is not None else content)

    async def _set_state(self, request: web.Request) -> web.Response:
        self._state[_state_key(request)] = await request.json()
        return web.json_response({"event_id": f"${self._count}"})

    async def _upload(self, _request: web.Request) -> web.Response:
        return web.json_response({"content_uri": f"mxc://{SERVER}/{self._count}"})


def _user(request: web.Request) -> str:
    return request.query.get("user_id", _BOT)


def _state_key(request: web.Request) -> tuple[str, str, str]:
    return request.match_info["room"], request.match_info["type"], request.match_info["key"]


def _found(content: Any) -> web.Response:
    return web.json_response({"errcode": "M_NOT_FOUND"}, status=404) if content is None else web.json_response(content)


async def main() -> None:
    port, service_port, hs_token, delay = sys.argv[1:]
    homeserver = Homeserver(f"http://{HOST}:{service_port}", hs_token, Path(delay))
    runner = web.AppRunner(homeserver.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, int(port)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
