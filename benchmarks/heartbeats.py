"""Heartbeats: their cost when they change nothing, which is nearly always.

*Bulk.* Agents whose runtime sends 5,000 heartbeats per second (100,000 subjects, one every 20 s each) in requests of 100, with
ten WebSockets that receive changes. The servers take turns of a few seconds. The naive design has no bulk requests: each
heartbeat is a WebSocket frame, and its response is the broadcast, which its sender receives too.

*One by one.* One request for each heartbeat at a fifth of the rate; and one frame for each over 2,000 WebSockets: a socket is one
citizen, so 2,000 sockets with 50 times the usual rate stand for 100,000 sockets with a heartbeat every 20 s.

The latency of a response is measured from when its request was due, so waiting for an earlier request counts.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from . import wire
from .audience import ReaderProcess
from .contenders import SERVICE_TOKEN, City, Contender, Floor, Seeds, beat, slug
from .figures import percentile
from .pace import pace
from .processes import CpuClock, rss_mib
from .readers import UPDATE
from .redis_server import RedisServer

RATE: Final = 5000
_BULK: Final = 100
_SINGLES_RATE: Final = RATE // 5
_FRAMES: Final = 100
"""Frames that are sent together, each over another socket."""
_WATCHERS: Final = 10
_LINES: Final = 8
_SETTLE_S: Final = 1.0
_ANSWERS_S: Final = 60.0
_BULK_PATH: Final = "/api/v1/agents/heartbeats"


@dataclass(frozen=True)
class Plan:
    subjects: tuple[int, ...] = (1_000, 10_000, 100_000)
    sockets: int = 2_000
    window_s: float = 5.0
    rounds: int = 2


QUICK: Final = Plan(subjects=(200, 2_000), sockets=100, window_s=1.0, rounds=1)


class Way(ABC):
    """A transport of heartbeats to one server."""

    rate = RATE

    def __init__(self, key: str, contender: Contender, redis: RedisServer | None) -> None:
        self.key = key
        self.contender = contender
        self.redis = redis
        """The rate of this server, in heartbeats per second; None for the common one."""
        self.late_ms: list[float] = []
        self.heartbeats = 0
        self.cpu_s = 0.0
        self.redis_cpu_s = 0.0
        self.took_s = 0.0

    @abstractmethod
    async def open(self, stack: AsyncExitStack) -> None:
        """Connect, and send one heartbeat for each subject."""

    @abstractmethod
    async def beat_for(self, duration_s: float) -> int:
        """Send heartbeats at ``rate``; return how many got a response, or were sent where there are no responses."""

    async def turn(self, duration_s: float) -> None:
        """Measure one window of ``duration_s`` seconds."""
        clock = CpuClock.of(self.contender.child)
        redis_clock = CpuClock.of(self.redis.child) if self.redis else None
        began_s = time.monotonic()
        self.heartbeats += await self.beat_for(duration_s)
        self.took_s += time.monotonic() - began_s
        self.cpu_s += clock.used_s
        self.redis_cpu_s += redis_clock.used_s if redis_clock else 0.0

    def figures(self) -> dict[str, Any]:
        redis = {"redis_cpu_share": self.redis_cpu_s / self.took_s} if self.redis else {}
        return redis | {
            "way": self.key,
            "who": self.contender.key,
            "per_s": self.heartbeats / self.took_s,
            "cpu_share": self.cpu_s / self.took_s,
            "us_a_heartbeat": self.cpu_s / self.heartbeats * 1e6,
            "p50_ms": percentile(self.late_ms, 50),
            "p99_ms": percentile(self.late_ms, 99),
            "rss_mib": rss_mib(self.contender.child),
        }


class Requests(Way):
    """Heartbeats by HTTP: sends each of ``posts`` in turn."""

    def __init__(
        self,
        key: str,
        contender: Contender,
        redis: RedisServer | None,
        posts: list[tuple[str, bytes]],
        *,
        size: int,
        rate: int = RATE,
    ) -> None:
        super().__init__(key, contender, redis)
        self._posts = posts
        self._size = size
        """Heartbeats in each request."""
        self.rate = rate
        self._next = 0

    async def open(self, stack: AsyncExitStack) -> None:
        self._lines = [await wire.HttpConnection.open(self.contender.port) for _ in range(_LINES)]
        for line in self._lines:
            stack.callback(line.transport.abort)
        for _ in self._posts:
            await self._post(time.monotonic())
        self.late_ms.clear()

    async def beat_for(self, duration_s: float) -> int:
        answers = [self._post(due_s) async for _, due_s in pace(self.rate, self._size, duration_s)]
        await asyncio.gather(*answers)
        return len(answers) * self._size

    @property
    def answer_bytes(self) -> int:
        return self._lines[0].last_size

    def _post(self, due_s: float) -> asyncio.Future[int]:
        path, body = self._posts[self._next % len(self._posts)]
        answer = self._lines[self._next % _LINES].post(path, body, SERVICE_TOKEN)
        self._next += 1
        answer.add_done_callback(lambda done: self._answered(done, due_s))
        return answer

    def _answered(self, answer: asyncio.Future[int], due_s: float) -> None:
        if answer.cancelled() or answer.result() != 200:
            raise RuntimeError(f"{self.contender.key} did not take a heartbeat: {answer}")
        self.late_ms.append((time.monotonic() - due_s) * 1000)


class Frames(Way):
    """Heartbeats as WebSocket frames over many sockets, without responses."""

    def __init__(self, contender: Contender, redis: RedisServer | None, requests: list[bytes], directory: Path) -> None:
        super().__init__("frames", contender, redis)
        self._requests = requests
        self._directory = directory
        self._beats = [
            b'{"event":"presence.heartbeat","user_id":"%b"}' % _citizen(n).encode() for n in range(len(requests))
        ]

    async def open(self, stack: AsyncExitStack) -> None:
        self._audience = await ReaderProcess.start(f"{self.contender.key}-frames", self._directory)
        stack.callback(self._audience.stop)
        await self._audience.connect(self.contender, self._requests)
        await self.beat_for(len(self._requests) / RATE)
        await asyncio.sleep(_SETTLE_S)

    async def beat_for(self, duration_s: float) -> int:
        sent = 0
        async for number, _ in pace(RATE, _FRAMES, duration_s):
            offset = number % len(self._beats)
            frames = self._beats[offset : offset + _FRAMES]
            await self._audience.beat(frames, offset)
            sent += len(frames)
        return sent


class SeedsFrames(Way):
    """Heartbeats to the naive design over one socket, which receives the broadcast of each."""

    def __init__(self, contender: Contender, redis: RedisServer, subjects: int) -> None:
        super().__init__("frames", contender, redis)
        self._subjects = subjects
        self._due_s: deque[float] = deque()
        self._tail = b""

    async def open(self, stack: AsyncExitStack) -> None:
        self._socket = await wire.Socket.open(self.contender.port, self.contender.request(), self._take)
        stack.callback(self._socket.transport.abort)
        await self.beat_for(0.5)
        self.late_ms.clear()

    async def beat_for(self, duration_s: float) -> int:
        sent = 0
        async for number, due_s in pace(RATE, _FRAMES, duration_s):
            frames = [wire.client_frame(beat(n % self._subjects)) for n in range(number, number + _FRAMES)]
            self._due_s.extend([due_s] * _FRAMES)
            sent += _FRAMES
            self._socket.transport.write(b"".join(frames))
        async with asyncio.timeout(_ANSWERS_S):
            while self._due_s:
                await asyncio.sleep(0.001)
        return sent

    def _take(self, data: bytes) -> None:
        now_s = time.monotonic()
        # The received bytes may end within an update.
        data = self._tail + data
        self._tail = data[1 - len(UPDATE) :]
        for _ in range(data.count(UPDATE)):
            self.late_ms.append((now_s - self._due_s.popleft()) * 1000)


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for each number of subjects, transport and server."""
    rows = []
    for subjects in plan.subjects:
        async with AsyncExitStack() as stack:
            rows += await _bulk(subjects, plan, directory / f"{subjects}-subjects", stack)
    async with AsyncExitStack() as stack:
        rows += await _one_by_one(plan, directory / "one-by-one", stack)
    return rows


async def _bulk(subjects: int, plan: Plan, directory: Path, stack: AsyncExitStack) -> list[dict[str, Any]]:
    cities = await _cities(subjects, directory, stack)
    posts = [(_BULK_PATH, _bulk_body(first)) for first in range(0, subjects, _BULK)]
    ways: list[Way] = []
    for city, redis in cities:
        ours = Requests("bulk", city, redis, posts, size=_BULK)
        await _ready(ours, stack)
        ways.append(ours)
    assert isinstance(ways[0], Requests)
    floor = await _floor(directory, stack)
    ways.append(Requests("bulk", floor, None, _canned(posts[:100], ways[0].answer_bytes), size=_BULK))
    await _ready(ways[-1], stack)
    seeds_redis = await _redis(directory / "seeds", stack)
    seeds = Seeds(directory, redis_url=seeds_redis.url)
    await _start(seeds, stack)
    ways.append(SeedsFrames(seeds, seeds_redis, subjects))
    await _ready(ways[-1], stack)
    starts = {city.key: {"start_s": city.start_s} for city, _ in cities}
    return [{"subjects": subjects} | row | starts.get(row["who"], {}) for row in await _measure_in_turns(ways, plan)]


async def _one_by_one(plan: Plan, directory: Path, stack: AsyncExitStack) -> list[dict[str, Any]]:
    ways: list[Way] = []
    agents = plan.sockets
    posts = [(f"/api/v1/agents/{slug(n)}/heartbeat", b"{}") for n in range(agents)]
    for city, redis in await _cities(agents, directory, stack):
        ours = Requests("singles", city, redis, posts, size=1, rate=_SINGLES_RATE)
        await ours.open(stack)
        requests = [city.request_of(_citizen(n)) for n in range(plan.sockets)]
        frames = Frames(city, redis, requests, directory)
        await frames.open(stack)
        ways += [ours, frames]
    assert isinstance(ways[0], Requests)
    floor = await _floor(directory, stack)
    canned = _canned(posts, ways[0].answer_bytes)
    ways += [
        Requests("singles", floor, None, canned, size=1, rate=_SINGLES_RATE),
        Frames(floor, None, [floor.request() for _ in range(plan.sockets)], directory),
    ]
    for way in ways[-2:]:
        await way.open(stack)
    return [{"subjects": plan.sockets} | row for row in await _measure_in_turns(ways, plan)]


async def _measure_in_turns(ways: list[Way], plan: Plan) -> list[dict[str, Any]]:
    await asyncio.sleep(_SETTLE_S)
    for _ in range(plan.rounds):
        for way in ways:
            await way.turn(plan.window_s)
    return [way.figures() for way in ways]


async def _cities(agents: int, directory: Path, stack: AsyncExitStack) -> list[tuple[City, RedisServer | None]]:
    """Return this service with presence in memory and with Redis."""
    memory = City(directory, agents=agents)
    await _start(memory, stack)
    redis = await _redis(directory / "ours", stack)
    shared = City(directory, agents=agents, redis_url=redis.url)
    await _start(shared, stack)
    return [(memory, None), (shared, redis)]


async def _redis(directory: Path, stack: AsyncExitStack) -> RedisServer:
    redis = RedisServer(directory)
    stack.callback(redis.child.kill)
    await redis.start()
    return redis


async def _floor(directory: Path, stack: AsyncExitStack) -> Floor:
    floor = Floor(directory)
    await _start(floor, stack)
    return floor


async def _start(contender: Contender, stack: AsyncExitStack) -> None:
    stack.callback(contender.stop)
    await contender.start()


async def _ready(way: Way, stack: AsyncExitStack) -> None:
    for _ in range(_WATCHERS):
        watcher = await wire.Socket.open(way.contender.port, way.contender.request(), _ignore)
        stack.callback(watcher.transport.abort)
    await way.open(stack)


def _bulk_body(first: int) -> bytes:
    return orjson.dumps({"heartbeats": [{"agent_id": slug(n)} for n in range(first, first + _BULK)]})


def _canned(posts: list[tuple[str, bytes]], answer_bytes: int) -> list[tuple[str, bytes]]:
    """Return the same requests for the floor, which name the size of the response."""
    return [(f"{path}?answer={answer_bytes}", body) for path, body in posts]


def _citizen(number: int) -> str:
    return f"u_{number}"


def _ignore(_data: bytes) -> None:
    """Ignore the bytes that a watching socket receives."""
