"""Stored events that are handed over to the worker are handled before the inbox is read, and never out of order."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from daarion_appservice.clock import now_ms
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.matrix.inbound.offered_rows import waiting_rows
from daarion_appservice.storage.inbox import InboxRepository
from daarion_appservice.storage.inbox_writer import ReceivedTransaction
from tests.parts.city import eventually
from tests.parts.inbound_harness import BUILDERS, GENERAL, InboundHarness, message_event

_txn_ids = count()


async def receive(harness: InboundHarness, *events: dict[str, Any], is_offered: bool = True) -> None:
    """Store a transaction as the receiver does."""
    received = ReceivedTransaction(f"{next(_txn_ids)}", "", [inbox_event(event) for event in events], now_ms())
    stored = await harness.database.inbox_writer.store(received)
    assert stored is not None
    if is_offered:
        harness.inbound.offer(waiting_rows(received, stored))
    harness.inbound.wake()


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Reads of the worker wait until this event is set."""
    may_read, waiting = asyncio.Event(), InboxRepository.waiting
    may_read.set()

    async def wait(self: InboxRepository, **limits: Any) -> Any:
        await may_read.wait()
        return await waiting(self, **limits)

    monkeypatch.setattr(InboxRepository, "waiting", wait)
    return may_read


async def until(harness: InboundHarness, *bodies: str, room: str = "general") -> None:
    async def are_there() -> bool:
        return await harness.bodies(room) == list(bodies)

    await eventually(are_there)


async def test_offered_events_are_handled_without_a_read(harness: InboundHarness, no_reading: asyncio.Event) -> None:
    async with harness.running():
        await receive(harness, message_event("$1"))
        await until(harness, "$1")
        # The worker reads the inbox after that, and waits; what comes meanwhile is read then.
        no_reading.clear()
        await receive(harness, message_event("$2"), message_event("$3"))
        no_reading.set()
        await until(harness, "$1", "$2", "$3")
        assert harness.handlers.tried == ["$1", "$2", "$3"]


async def test_offered_event_does_not_wait_for_a_read(harness: InboundHarness, no_reading: asyncio.Event) -> None:
    no_reading.clear()
    harness.inbound._offered.open()
    await receive(harness, message_event("$1"))
    handling = asyncio.create_task(harness.inbound._handle_due())
    try:
        harness.inbound._backfilled_absence = harness.inbound._monitor.absences
        await until(harness, "$1")
        assert not handling.done()
    finally:
        no_reading.set()
        await handling


@pytest.mark.parametrize("room", [GENERAL, BUILDERS])
async def test_offered_event_does_not_overtake_an_event_that_waits(harness: InboundHarness, room: str) -> None:
    """Another process stored the first event, or an earlier attempt failed."""
    harness.inbound._offered.open()
    await receive(harness, message_event("$1", room=room), is_offered=False)
    await receive(harness, message_event("$2"))
    await harness.inbound._handle_offered()
    assert harness.handlers.tried == []
    await harness.handle_all()
    assert harness.handlers.tried == ["$1", "$2"]


async def test_offered_event_that_another_process_handled_is_not_handled_again(harness: InboundHarness) -> None:
    harness.inbound._offered.open()
    await receive(harness, message_event("$1"))
    row = harness.inbound._offered.take()
    await harness.handle_all()
    harness.inbound._offered.open()
    harness.inbound._offered.add(row)
    await harness.inbound._handle_offered()
    assert harness.handlers.tried == ["$1"]
    assert await harness.bodies() == ["$1"]


async def test_offered_event_that_fails_is_retried_in_order(harness: InboundHarness) -> None:
    harness.handlers.broken.add("$1")
    async with harness.running():
        await receive(harness, message_event("$1"))
        await eventually(harness.has_tried("$1", times=3))
        await receive(harness, message_event("$2"))
        harness.handlers.broken.clear()
        await until(harness, "$1", "$2")


async def test_event_of_another_server_is_confirmed_first(harness: InboundHarness) -> None:
    harness.inbound._offered.open()
    await receive(harness, message_event("$1", sender="@eve:elsewhere.example"))
    await harness.inbound._handle_offered()
    assert harness.handlers.tried == []


async def test_rows_are_kept_for_a_running_worker_only(harness: InboundHarness) -> None:
    await receive(harness, message_event("$1"))
    assert harness.inbound._offered.take() == []
    harness.inbound._offered.open()
    await receive(harness, *(message_event(f"$many{number}") for number in range(21)))
    assert harness.inbound._offered.take() == []
