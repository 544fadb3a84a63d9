"""Fixtures of the tests of the outbound worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.parts.outbound import OutboundHarness, outbound_harness
from tests.parts.scripted_homeserver import (
    ScriptedHomeserver,
)


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    server = ScriptedHomeserver()
    async with server.serving():
        yield server


@pytest.fixture
def client_timeout_s() -> float:
    """Return the timeout of requests (s): so long that no request reaches it on a busy machine."""
    return 20


@pytest.fixture
async def outbound(
    sqlite_url: str, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, client_timeout_s: float
) -> AsyncIterator[OutboundHarness]:
    async with outbound_harness(sqlite_url, homeserver, monkeypatch, client_timeout_s=client_timeout_s) as harness:
        yield harness
