"""Signal handlers of the demo."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from daarion_appservice.demo.signals import on_signals
from tests.parts.waiting import WAIT_S


@pytest.fixture
def sighup_action() -> Iterator[None]:
    """Let SIGHUP act, also where these tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("sighup_action")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_second_signal_ends_the_demo_at_once(number: signal.Signals) -> None:
    first, again = asyncio.Event(), asyncio.Event()
    with on_signals(first.set, again.set):
        for event in (first, again):
            assert not event.is_set()
            os.kill(os.getpid(), number)
            async with asyncio.timeout(WAIT_S):
                await event.wait()
