"""A scripted agents core: an HTTP server whose responses, valid or malformed, each test defines."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

EVENTS = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class ReceivedRequest:
    """A request to the core; ``path`` is not decoded."""

    method: str
    path: str
    headers: dict[str, str]
    content: Any
    connection: tuple[str, int]
    """The client's address."""

    @property
    def history(self) -> list[str]:
        """Return the earlier messages of the conversation."""
        return [message["content"] for message in self.content["context"]["history"]]


class ScriptedCore:
    """An agents core that sends scripted responses, and a valid reply when the script is empty."""

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.hung_up = 0
        """The number of clients that disconnected before the end of their response."""
        self.under_way = 0
        self.started = 0
        """How many requests a handler began to read."""
        self.url = ""
        self._script: deque[Behaviour] = deque()

    def next(self, *behaviours: Behaviour) -> None:
        self._script.extend(behaviours)

    def clear_script(self) -> None:
        """Drop the responses that no request took."""
        self._script.clear()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        server = TestServer(app)
        await server.start_server(shutdown_timeout=0.1)
        self.url = str(server.make_url("")).rstrip("/")
        try:
            yield self
        finally:
            await server.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        # A slow machine may take longer to read the request than the client waits for the response.
        self.started += 1
        self.under_way += 1
        try:
            return await self._respond(request)
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up += 1
            raise
        finally:
            self.under_way -= 1

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        content = json.loads(await request.read() or "null")
        assert request.transport is not None
        connection = request.transport.get_extra_info("peername")
        self.requests.append(
            ReceivedRequest(request.method, request.raw_path, dict(request.headers), content, connection)
        )
        behave = self._script.popleft() if self._script else self._unscripted(self.requests[-1])
        return await behave(request)

    def _unscripted(self, _received: ReceivedRequest) -> Behaviour:
        """Return the response to a request for which the script has none."""
        return says(f"відповідь {len(self.requests)}")


class EchoingCore(ScriptedCore):
    """A core that replies to each question with a text that names it, see `answer_to`."""

    def _unscripted(self, received: ReceivedRequest) -> Behaviour:
        # What the question replies to is quoted before it.
        return says(answer_to(received.content["input"].rpartition("\n\n")[2]))


def answer_to(question: str) -> str:
    """Return the reply of `EchoingCore`."""
    return f"на «{question}»"


# --- valid responses ----------------------------------------------------------------------------------


def says(text: Any) -> Behaviour:
    return answers({"output": text})


def answers(content: Any, status: int = 200) -> Behaviour:
    return sends(json.dumps(content).encode(), status=status)


def sends(*portions: bytes, status: int = 200, headers: dict[str, str] = JSON) -> Behaviour:
    """Send the parts of a body, each in its own packet, and end the response."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, portions, headers, status)
        await response.write_eof()
        return response

    return behave


def streams(*pieces: str) -> Behaviour:
    """Send the deltas of a complete reply."""
    return sends(*map(delta, pieces), DONE, headers=EVENTS)


def after(gate: asyncio.Event, behave: Behaviour) -> Behaviour:
    """Respond when the test opens the gate."""

    async def wait(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return await behave(request)

    return wait


def pauses(gate: asyncio.Event, before: bytes, *rest: bytes) -> Behaviour:
    """Pause within the reply until the test opens the gate."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, [before], EVENTS)
        await gate.wait()
        for portion in rest:
            await response.write(portion)
        await response.write_eof()
        return response

    return behave


def grows(gate: asyncio.Event, piece: str, last: str) -> Behaviour:
    """Send the same delta again and again until the test opens the gate, then the last delta and the end."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, (), EVENTS)
        while not gate.is_set():
            await response.write(delta(piece))
            await asyncio.sleep(0.2)
        await response.write(delta(last) + DONE)
        await response.write_eof()
        return response

    return behave


def delta(text: str) -> bytes:
    return event({"delta": text})


def event(content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def chunk(text: str | None, finish_reason: str | None = None) -> bytes:
    """Return a chunk of a reply in the format of OpenAI."""
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}],
        }
    )


DONE = b"data: [DONE]\n\n"


# --- invalid responses --------------------------------------------------------------------------------


async def empty_response(_request: web.Request) -> web.StreamResponse:
    """Send nothing, not even headers."""
    await asyncio.Event().wait()
    raise AssertionError


def stalls_after(*portions: bytes, headers: dict[str, str] = EVENTS) -> Behaviour:
    async def behave(request: web.Request) -> web.StreamResponse:
        await _begun(request, portions, headers)
        return await empty_response(request)

    return behave


def goes_on(portion: bytes, *, pause_s: float = 0.0, headers: dict[str, str] = EVENTS) -> Behaviour:
    """Repeat the same part for ever."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, (), headers)
        while True:
            await response.write(portion)
            await asyncio.sleep(pause_s)

    return behave


def breaks_off_after(*portions: bytes, headers: dict[str, str] = EVENTS) -> Behaviour:
    """Close the connection before the end that was announced: by Content-Length, or by the missing last chunk."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, portions, headers)
        assert request.transport is not None
        request.transport.close()
        return response

    return behave


def begins_slowly(gate: asyncio.Event, piece: str) -> Behaviour:
    """The same piece again and again, slowly enough that something of it is shown; cut when the test opens the gate."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await _begun(request, (), EVENTS)
        while not gate.is_set():
            await response.write(delta(piece))
            await asyncio.sleep(0.2)
        assert request.transport is not None
        request.transport.close()
        return response

    return behave


def speaks(raw: bytes, *, then_stalls: bool = False) -> Behaviour:
    """Send these bytes in place of an HTTP response."""

    async def behave(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(raw)
        if then_stalls:
            return await empty_response(request)
        request.transport.close()
        return web.Response()

    return behave


async def _begun(
    request: web.Request, portions: Iterable[bytes], headers: dict[str, str], status: int = 200
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    for portion in portions:
        await response.write(portion)
        await asyncio.sleep(0)
    return response
