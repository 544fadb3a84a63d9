"""A client of the agents core with its own metrics and clock, and conditions of its tests."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daarion_appservice.agents.core import AgentsCore
from daarion_appservice.agents.metrics import CoreMetrics
from daarion_appservice.agents.request import AgentRequest, Exchange, RequestKind
from daarion_appservice.city.types import SubjectId
from daarion_appservice.config import AgentsCoreSettings
from daarion_appservice.errors import CoreError
from tests.parts.agents_core import (
    ScriptedCore,
)
from tests.parts.clock import MillisecondsClock

SOON_S = 2.0
"""The timeout of clients in tests of a server that stops responding, in seconds; what it sends before must be received."""
QUESTION = AgentRequest(
    "litopys",
    "Що нового?",
    RequestKind.MENTION,
    SubjectId("u_123"),
    room="general",
    history=(Exchange("user", "Привіт"), Exchange("assistant", "Добрий вечір")),
)


class Client:
    """An ``AgentsCore`` with its own metrics and clock."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.clock = MillisecondsClock()
        self.registry = CollectorRegistry()
        wanted = AgentsCoreSettings.model_validate({"url": url} | settings)
        self.core = AgentsCore(wanted, self.clock, CoreMetrics(self.registry))

    async def ask(self, agent: str = "litopys") -> list[str]:
        async with self.core.generate(_of(agent)) as pieces:
            return [piece async for piece in pieces]

    def calls(self, outcome: str) -> float:
        found = self.registry.get_sample_value("daarion_core_calls_total", {"kind": "mention", "outcome": outcome})
        assert found is not None
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def _of(agent: str) -> AgentRequest:
    return AgentRequest(agent, "Що нового?", RequestKind.MENTION, SubjectId("u_123"))


async def failure(client: Client) -> tuple[list[str], CoreError]:
    """Return the chunks that arrived before the request failed, and its error."""
    chunks: list[str] = []

    async def read() -> None:
        async with client.core.generate(QUESTION) as pieces:
            async for piece in pieces:
                chunks.append(piece)  # noqa: PERF401 -- the chunks before the failure count

    with pytest.raises(CoreError) as failed:
        await read()
    return chunks, failed.value


async def is_disconnected(server: ScriptedCore) -> bool:
    """Return whether the client has closed every connection on which the server began to read a request."""
    return server.under_way == 0 and server.hung_up == server.started


async def is_requested(server: ScriptedCore, times: int) -> bool:
    """Return whether the server has received this many requests."""
    return len(server.requests) == times
