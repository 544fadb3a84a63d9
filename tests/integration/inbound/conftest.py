"""Fixtures of the tests of the inbound worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.matrix.inbound import worker as worker_module
from tests.parts.inbound_harness import InboundHarness, inbound_harness


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InboundHarness]:
    """The inbound worker on each database, with short pauses between attempts."""
    monkeypatch.setattr(worker_module, "_MIN_RETRY_MS", 4)
    async with inbound_harness(database_url) as harness:
        yield harness
