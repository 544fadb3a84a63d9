"""A reverse HTTP proxy that records requests and can drop the responses to selected ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.parts.ports import HOST, free_port

_PASSED_ON = ("Authorization", "Content-Type")
_PASSED_BACK = ("Content-Type", "Server", "Retry-After")


@dataclass(frozen=True)
class Passed:
    """A request through the proxy; ``at`` is the event loop's time of its arrival."""

    method: str
    path: str
    content: Any
    at: float
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_transaction(self) -> bool:
        return self.path.startswith("/_matrix/app/v1/transactions/")

    @property
    def is_message(self) -> bool:
        return self.method == "PUT" and "/send/m.room.message/" in self.path

    @property
    def is_history(self) -> bool:
        """Whether it requests history in either direction, and is not a long poll."""
        is_look = self.path.endswith("/sync") and '"timeline":{"limit"' in self.query.get("filter", "")
        return self.method == "GET" and (self.path.endswith("/messages") or is_look)

    @property
    def is_first_word(self) -> bool:
        return self.path == "/_matrix/client/v3/account/whoami"

    @property
    def is_presence(self) -> bool:
        return self.method == "PUT" and self.path.startswith("/_matrix/client/v3/presence/")

    @property
    def is_module(self) -> bool:
        return self.path == "/_synapse/client/daarion/presence"


Matches = Callable[[Passed], bool]


class HttpProxy:
    """A proxy of a port, until ``stop``. ``passed`` has the requests in the order of their responses."""

    def __init__(self, target_port: int, *more_ports: int) -> None:
        """``more_ports`` are tried in their order if no process listens on ``target_port``, as by a load balancer."""
        self.port = free_port()
        self.target_port = target_port
        self._more_ports = more_ports
        self.passed: list[Passed] = []
        self.lost: list[Passed] = []
        """The requests whose responses were dropped."""
        self.answered: list[Passed] = []
        """What the target never saw, because it was answered here."""
        self.held: list[Passed] = []
        """The requests that were neither forwarded nor answered."""
        self._loses: Matches = _nothing
        self._holds: Matches = _nothing
        self._refuses: Matches = _nothing
        self._waits_for_target: Matches = _nothing
        self._answers: tuple[Matches, int, Any] = (_nothing, 200, None)
        self._end_of_wait = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def lose_answers(self, to: Matches) -> None:
        """Forward matching requests from now on, and never return their responses."""
        self._loses = to

    def hold(self, what: Matches) -> None:
        """Keep matching requests from now on: neither forward them nor respond to them, also not later."""
        self._holds = what

    def refuse(self, what: Matches) -> None:
        """Respond to matching requests with 503 from now on, without forwarding them."""
        self._refuses = what

    def answer(self, what: Matches, status: int, content: Any) -> None:
        """Respond to matching requests like this from now on, without forwarding them."""
        self._answers = (what, status, content)

    def wait_for_target(self, what: Matches) -> None:
        """Delay matching requests from now on while the target is down, instead of failing them."""
        self._waits_for_target = what

    def pass_everything(self) -> None:
        """Forward all requests again; close the connections that wait for a response."""
        self._loses = self._holds = self._refuses = self._waits_for_target = _nothing
        self._answers = (_nothing, 200, None)
        self._end_of_wait.set()
        self._end_of_wait = asyncio.Event()

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()

    async def stop(self) -> None:
        self.pass_everything()
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        at = asyncio.get_running_loop().time()
        passed = Passed(
            request.method,
            request.path,
            json.loads(body) if _is_json(request) and body else None,
            at,
            dict(request.query),
        )
        if self._refuses(passed):
            return web.Response(status=503)
        if self._holds(passed):
            self.held.append(passed)
            return await self._close_later(request)
        answers, status, content = self._answers
        if answers(passed):
            self.answered.append(passed)
            return web.json_response(content, status=status)
        try:
            answer, content = await self._ask(request, body, passed)
        except aiohttp.ClientError:
            return web.Response(status=502)
        self.passed.append(passed)
        if self._loses(passed):
            self.lost.append(passed)
            return await self._close_later(request)
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return web.Response(status=answer.status, body=content, headers=headers)

    async def _close_later(self, request: web.Request) -> web.Response:
        """Close the connection of a request at the next ``pass_everything``."""
        await self._end_of_wait.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)

    async def _ask(self, request: web.Request, body: bytes, passed: Passed) -> tuple[aiohttp.ClientResponse, bytes]:
        while True:
            try:
                return await self._ask_each(request, body, self._ports(request))
            except aiohttp.ClientError:
                if not self._waits_for_target(passed):
                    raise
                await asyncio.sleep(0.02)

    async def _ask_each(
        self, request: web.Request, body: bytes, ports: Sequence[int]
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Try the next port if the request was not processed, or is idempotent."""
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        for left, port in enumerate(ports, start=1 - len(ports)):
            url = URL(f"http://{HOST}:{port}{request.raw_path}", encoded=True)
            try:
                async with self._session.request(request.method, url, data=body, headers=headers) as answer:
                    return answer, await answer.read()
            except aiohttp.ClientError as error:
                is_safe = request.method != "POST" or isinstance(error, aiohttp.ClientConnectorError)
                if left == 0 or not is_safe:
                    raise
        raise AssertionError("no port")

    def _ports(self, _request: web.Request) -> Sequence[int]:
        """Return the ports for a request, in the order of attempts."""
        return [self.target_port, *self._more_ports]


def _nothing(_passed: Passed) -> bool:
    return False


def _is_json(request: web.Request) -> bool:
    return request.content_type == "application/json"
