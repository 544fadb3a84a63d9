"""Rooms that another task pauses while the worker handles the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daarion_appservice.matrix.inbound import worker as worker_module
from daarion_appservice.storage.database import Transaction
from tests.parts.city import eventually
from tests.parts.inbound_harness import BUILDERS, GENERAL, InboundHarness, message_event


def before_event(harness: InboundHarness, event_id: str, call: Callable[[], Awaitable[object]]) -> None:
    """Have ``call`` happen right before an event is handled."""
    handle = harness.handlers.handle

    async def handle_after_call(tx: Transaction, event: dict[str, Any], **options: Any) -> Any:
        if event["event_id"] == event_id:
            await call()
        return await handle(tx, event, **options)

    harness.handlers.handle = handle_after_call  # type: ignore[method-assign]


async def test_pause_that_ends_during_a_pass_does_not_change_the_order(
    harness: InboundHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events of the room in earlier batches were skipped, so those in later batches wait for the next pass as well."""
    monkeypatch.setattr(worker_module, "_BATCH", 2)
    await harness.store(
        message_event("$1"), message_event("$other", room=BUILDERS), message_event("$2"), message_event("$3")
    )
    pause = harness.inbound.paused(GENERAL)
    await pause.__aenter__()
    before_event(harness, "$other", lambda: pause.__aexit__(None, None, None))
    async with harness.running():
        await eventually(harness.is_empty)
    assert harness.handlers.tried == ["$other", "$1", "$2", "$3"]
