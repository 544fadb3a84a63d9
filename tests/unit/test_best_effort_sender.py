"""Best-effort sending: the newest value of each room and ghost, without a homeserver or a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from daarion_appservice.city.identity import Identities
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.types import RoomId, UserId
from daarion_appservice.errors import DatabaseUnavailable, HomeserverRefused, HomeserverUnavailable
from daarion_appservice.matrix.outbound.best_effort import BestEffortSender, GhostTimeline

GENERAL, BUILDERS = RoomId("city_general"), RoomId("city_builders")
GHOST, UNREGISTERED = UserId("@agent_scribe:city.localhost"), UserId("@citizen_u_1:city.localhost")


@dataclass
class FakeMonitor:
    is_up: bool = True
    errors: list[HomeserverUnavailable] = field(default_factory=list)

    def report_unavailable(self, error: HomeserverUnavailable) -> None:
        self.errors.append(error)


class FakeGhosts:
    def is_known(self, user: UserId) -> bool:
        return user == GHOST


class NumberSender(BestEffortSender[int]):
    """Records what it sends; a request waits for ``gate`` and raises ``error``."""

    max_pending = 1
    failure_event = "number_not_sent"

    def __init__(self, monitor: FakeMonitor) -> None:
        parts: list[Any] = [None, monitor, None, Identities("city.localhost", "bot"), FakeGhosts(), OnlineMembers()]
        super().__init__(*parts, on_activity=lambda _: None)
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    def _reset(self) -> None:
        self.sent: list[tuple[RoomId, int]] = []

    async def _send(self, key: GhostTimeline, value: int) -> None:
        self.sent.append((key.room, value))
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    def offer(self, value: int, room: RoomId = GENERAL, user: UserId = GHOST) -> None:
        if self._accepts(key := GhostTimeline(room, user)):
            self._put(key, value)


async def run_pending() -> None:
    """Run every task that is ready, some steps long."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def sender() -> AsyncIterator[NumberSender]:
    sender = NumberSender(FakeMonitor())
    running = asyncio.create_task(sender.run())
    await run_pending()
    yield sender
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_value_during_request_is_sent_afterwards(sender: NumberSender) -> None:
    sender.gate.clear()
    sender.offer(1)
    await run_pending()
    for value in (2, 3):
        sender.offer(value)
    sender.gate.set()
    await run_pending()
    assert sender.sent == [(GENERAL, 1), (GENERAL, 3)]


async def test_same_value_during_request_is_not_repeated(sender: NumberSender) -> None:
    sender.gate.clear()
    sender.offer(1)
    await run_pending()
    sender.offer(1)
    sender.gate.set()
    await run_pending()
    assert sender.sent == [(GENERAL, 1)]


async def test_values_beyond_maximum_are_dropped(sender: NumberSender) -> None:
    sender.offer(1)
    sender.offer(1, BUILDERS)
    sender.offer(2)
    await run_pending()
    assert sender.sent == [(GENERAL, 2)]


async def test_value_of_unregistered_ghost_is_dropped(sender: NumberSender) -> None:
    sender.offer(1, user=UNREGISTERED)
    await run_pending()
    assert sender.sent == []


async def test_value_during_outage_is_dropped(sender: NumberSender) -> None:
    monitor = cast("FakeMonitor", sender._monitor)
    monitor.is_up = False
    sender.offer(1)
    monitor.is_up = True
    await run_pending()
    assert sender.sent == []


@pytest.mark.parametrize(
    "error",
    [HomeserverUnavailable("no response"), HomeserverRefused(403, "M_FORBIDDEN", ""), DatabaseUnavailable("down")],
    ids=lambda error: type(error).__name__,
)
async def test_failed_value_is_dropped(sender: NumberSender, error: Exception) -> None:
    sender.error = error
    sender.offer(1)
    await run_pending()
    sender.error = None
    sender.offer(2)
    await run_pending()
    assert sender.sent == [(GENERAL, 1), (GENERAL, 2)]
    is_outage = isinstance(error, HomeserverUnavailable)
    assert cast("FakeMonitor", sender._monitor).errors == ([error] if is_outage else [])


async def test_sender_that_does_not_run_drops_values() -> None:
    sender = NumberSender(FakeMonitor())
    sender.offer(1)
    assert sender._pending == {}
