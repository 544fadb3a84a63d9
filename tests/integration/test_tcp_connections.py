"""Timeouts and limits of TCP connections: silent peers, incomplete requests, unread responses, too many connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from daarion_appservice.http.error_responses import problem_middleware
from daarion_appservice.http.limits import tcp_connections
from daarion_appservice.http.limits.addresses import Addresses
from daarion_appservice.http.limits.connection_middleware import enforce_limits
from daarion_appservice.http.limits.connection_timer import ConnectionTimeouts
from daarion_appservice.http.limits.listener_limits import ListenerLimits
from daarion_appservice.http.limits.tcp_connection import TcpConnection
from daarion_appservice.http.limits.tcp_connections import TcpConnections
from daarion_appservice.http.servers import Listener
from tests.parts.city import eventually
from tests.parts.metrics import Moves
from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S

SHORT = ConnectionTimeouts(head_s=0.3, idle_s=0.6, stalled_s=0.5, min_bytes_per_s=1 << 30)
LONG_ANSWER = 24 * 1024 * 1024
"""More than the kernel's buffers of both ends take."""

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Served:
    port: int
    connections: TcpConnections
    release: asyncio.Event

    async def peer(self) -> Peer:
        return await asyncio.open_connection(HOST, self.port, limit=1 << 20)

    async def asking(self, path: str, *headers: str) -> Peer:
        reader, writer = await self.peer()
        ask(writer, path, *headers)
        return reader, writer


def ask(writer: asyncio.StreamWriter, path: str, *headers: str) -> None:
    writer.write("\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode())


async def status(peer: Peer) -> int:
    """Of the next answer; its body is read, too."""
    async with asyncio.timeout(WAIT_S):
        head = (await peer[0].readuntil(b"\r\n\r\n")).decode()
        length = next(int(each[16:]) for each in head.split("\r\n") if each.lower().startswith("content-length: "))
        await peer[0].readexactly(length)
    return int(head.split()[1])


async def is_ended(peer: Peer) -> bool:
    """Whether the other side has closed; what was answered before is thrown away."""
    try:
        async with asyncio.timeout(WAIT_S):
            while await peer[0].read(1 << 16):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Opens a listener: ``await serve(limits, timeouts)``."""
    monkeypatch.setattr(tcp_connections, "_CHECK_S", 0.05)
    opened: list[Listener] = []

    async def open_one(limits: ListenerLimits | None = None, timeouts: ConnectionTimeouts | None = None) -> Served:
        made = TcpConnections("api", limits or ListenerLimits(), Addresses(["127.0.0.0/8"]), timeouts)
        served = Served(free_port(), made, asyncio.Event())

        async def short(_request: web.Request) -> web.Response:
            return web.Response(text="here")

        async def long(_request: web.Request) -> web.Response:
            return web.Response(body=bytes(LONG_ANSWER))

        async def waiting(_request: web.Request) -> web.Response:
            await served.release.wait()
            return web.Response(text="at last")

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(bytes(64 * 1024))

        app = web.Application(middlewares=[problem_middleware, enforce_limits(made)])
        app.add_routes([web.get("/stream", stream)])
        app.add_routes([web.get("/", short), web.get("/long", long), web.get("/waiting", waiting)])
        listener = Listener("api", app, HOST, served.port, made)
        await listener.start()
        opened.append(listener)
        return served

    yield open_one
    for listener in opened:
        await listener.stop()


@asynccontextmanager
async def closing(*peers: Peer) -> AsyncIterator[None]:
    yield
    for _, writer in peers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def open_count(served: Served, count: int) -> None:
    async def is_so() -> bool:
        return len(served.connections) == count

    await eventually(is_so)


async def test_silent_connection_is_closed(serve: Serve) -> None:
    served = await serve(timeouts=SHORT)
    peer = await served.peer()
    async with closing(peer):
        assert await is_ended(peer)
        await open_count(served, 0)


async def test_incomplete_head_gets_408(serve: Serve) -> None:
    served = await serve(timeouts=SHORT)
    peer = await served.peer()
    async with closing(peer):
        peer[1].write(b"GET / HTTP/1.1\r\nHost: local")
        assert await status(peer) == 408
        assert await is_ended(peer)


@pytest.mark.parametrize("asked_before", [False, True])
async def test_slow_head_gets_408(serve: Serve, asked_before: bool) -> None:
    served = await serve(timeouts=SHORT)
    peer = await served.peer()

    async def trickle() -> None:
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
            peer[1].write(bytes([byte]))
            await asyncio.sleep(0.05)

    async with closing(peer):
        if asked_before:
            ask(peer[1], "/")
            assert await status(peer) == 200
        trickling = asyncio.create_task(trickle())
        assert await status(peer) == 408
        trickling.cancel()


async def test_idle_connection_outlives_silent_one(serve: Serve) -> None:
    served = await serve(timeouts=ConnectionTimeouts(head_s=0.2, idle_s=3600))
    peer, silent = await served.asking("/"), await served.peer()
    async with closing(peer, silent):
        assert await status(peer) == 200
        assert await is_ended(silent)
        ask(peer[1], "/")
        assert await status(peer) == 200


async def test_idle_connection_is_closed(serve: Serve) -> None:
    served = await serve(timeouts=SHORT)
    peer = await served.asking("/")
    async with closing(peer):
        assert await status(peer) == 200
        assert await is_ended(peer)


async def test_slow_handler_is_not_timed_out(serve: Serve) -> None:
    served = await serve(timeouts=SHORT)
    peer, silent = await served.asking("/waiting"), await served.peer()
    async with closing(peer, silent):
        assert await is_ended(silent)
        served.release.set()
        assert await status(peer) == 200


async def test_unread_response_is_aborted(serve: Serve) -> None:
    served = await serve(timeouts=SHORT)
    moves = Moves()
    peer = await served.asking("/long")
    async with closing(peer):
        await open_count(served, 1)
        assert moves.of("daarion_http_connections") == 1
        await open_count(served, 0)
    assert moves.of("daarion_slow_readers_cut_total", kind="response") == 1


async def test_slowly_read_response_is_aborted(serve: Serve) -> None:
    served = await serve(timeouts=ConnectionTimeouts(stalled_s=0.5, min_bytes_per_s=LONG_ANSWER))
    peer = await served.asking("/long")

    async def read_slowly() -> None:
        while await peer[0].read(64 * 1024):
            await asyncio.sleep(0.02)

    async with closing(peer):
        reading = asyncio.create_task(read_slowly())
        await open_count(served, 1)
        await open_count(served, 0)
        reading.cancel()


async def test_unread_stream_is_aborted(serve: Serve) -> None:
    served = await serve(timeouts=SHORT)
    deaf, reader = await served.asking("/stream"), await served.asking("/stream")
    async with closing(deaf, reader):
        await eventually_busy(served, 2)
        async with asyncio.timeout(WAIT_S):
            while len(served.connections) == 2:
                await reader[0].readexactly(64 * 1024)
        assert len(await reader[0].readexactly(64 * 1024)) == 64 * 1024


async def test_slowly_read_stream_is_kept(serve: Serve) -> None:
    timeouts = ConnectionTimeouts(stalled_s=2.0, min_bytes_per_s=1 << 30)
    served = await serve(timeouts=timeouts)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1024)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (HOST, served.port))
        await loop.sock_sendall(slow, b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # Too little in timeouts.stalled_s for the kernel to take more of the answer.
        ends_s = loop.time() + 3 * timeouts.stalled_s
        while loop.time() < ends_s:
            assert await loop.sock_recv(slow, 2048), "the answer was cut off"
            await asyncio.sleep(0.05)


async def test_read_response_arrives_complete(serve: Serve) -> None:
    served = await serve(timeouts=ConnectionTimeouts(stalled_s=5.0))
    peer = await served.asking("/long")
    async with closing(peer):
        assert await status(peer) == 200


async def test_full_listener_closes_longest_idle(serve: Serve) -> None:
    served = await serve(ListenerLimits(connections=3))
    first, second = await served.asking("/"), await served.asking("/waiting")
    third = await served.peer()
    await open_count(served, 3)
    with capture_logs() as logs:
        fourth = await served.asking("/")
    async with closing(first, second, third, fourth):
        assert await status(first) == 200
        assert await status(fourth) == 200
        served.release.set()
        assert await status(second) == 200
        await open_count(served, 3)
        ends = [first[0].at_eof, third[0].at_eof]

        async def is_closed() -> bool:
            return any(is_at_eof() for is_at_eof in ends)

        await eventually(is_closed)
        assert sum(is_at_eof() for is_at_eof in ends) == 1
    assert "connections_scarce" in {each["event"] for each in logs}


async def test_full_busy_listener_returns_503(serve: Serve) -> None:
    served = await serve(ListenerLimits(connections=2))
    busy = [await served.asking("/waiting") for _ in range(2)]
    moves = Moves()
    async with closing(*busy):
        await eventually_busy(served, 2)
        refused = await served.peer()
        async with closing(refused):
            assert await status(refused) == 503
            assert moves.of("daarion_limit_hits_total", limit="connections") == 1
            assert await is_ended(refused)
        served.release.set()
        assert [await status(each) for each in busy] == [200, 200]
        again = await served.asking("/")
        async with closing(again):
            assert await status(again) == 200


async def eventually_busy(served: Served, count: int) -> None:
    async def is_so() -> bool:
        return sum(each.timer.is_busy for each in served.connections.open) == count

    await eventually(is_so)


async def test_open_responses_of_an_address_are_limited(serve: Serve) -> None:
    served, moves = await serve(ListenerLimits(responses_per_address=2)), Moves()
    first_client, second_client = "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 2001:db8::1"
    same_household = "X-Forwarded-For: 2001:db8::2"
    unread = [await served.asking("/long", first_client) for _ in range(2)]
    under_way = [await served.asking("/waiting", each) for each in (second_client, same_household)]
    async with closing(*unread, *under_way):
        await open_count(served, 4)
        await eventually_busy(served, 2)
        refused = [await served.asking("/", each) for each in (first_client, second_client)]
        other = await served.asking("/", "X-Forwarded-For: 198.51.100.4")
        async with closing(*refused, other):
            assert [await status(each) for each in refused] == [429, 429]
            assert moves.of("daarion_limit_hits_total", limit="responses_per_address") == 2
            assert await status(other) == 200
            served.release.set()
            assert await status(under_way[0]) == 200
            ask(refused[1][1], "/", second_client)
            assert await status(refused[1]) == 200


@pytest.mark.parametrize("checked_at_once", [1, 1000])
async def test_unread_bytes_of_an_address_are_limited(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, checked_at_once: int
) -> None:
    monkeypatch.setattr(tcp_connections, "_CHECKED_AT_ONCE", checked_at_once)
    served = await serve(ListenerLimits(unread_bytes_per_address=2 * LONG_ANSWER))
    moves = Moves()
    with capture_logs() as logs:
        many = [await served.asking("/long", "X-Forwarded-For: 203.0.113.7") for _ in range(4)]
        few = await served.asking("/long", "X-Forwarded-For: 198.51.100.4")
        async with closing(*many, few):
            await eventually(lambda: _is_cut(served, 3))
            assert await status(few) == 200
    assert {each["address"] for each in logs if each["event"] == "unread_bytes"} == {"203.0.113.7"}
    assert moves.of("daarion_slow_readers_cut_total", kind="response") == 2


async def _is_cut(served: Served, left: int) -> bool:
    return len(served.connections) == left


async def test_unread_bytes_in_total_are_limited(serve: Serve) -> None:
    served = await serve(ListenerLimits(unread_bytes=LONG_ANSWER))
    many = [await served.asking("/long") for _ in range(4)]
    async with closing(*many):
        await eventually(lambda: _is_cut(served, 1))


class _Accepted(asyncio.Transport):
    """A connection from an address that a test cannot connect from."""


def test_connections_of_an_address_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    made = TcpConnections("api", ListenerLimits(connections_per_address=2), Addresses(["192.0.2.0/24"]))
    monkeypatch.setattr(made, "now_s", lambda: 0.0)
    moves = Moves()

    def comes_from(address: str) -> bool:
        connection = TcpConnection(made, asyncio.Protocol())
        connection.transport = _Accepted({"peername": (address, 1234)})
        return made.opened(connection)

    for inside in ("203.0.113.7", "2001:db8::1"):
        assert [comes_from(inside) for _ in range(3)] == [True, True, False]
    assert not comes_from("2001:db8::2")
    assert moves.of("daarion_limit_hits_total", limit="connections_per_address") == 3
    assert comes_from("2001:db8:0:1::1")
    for unlimited in ("192.0.2.1", "127.0.0.1", "::1"):
        assert all(comes_from(unlimited) for _ in range(5))
