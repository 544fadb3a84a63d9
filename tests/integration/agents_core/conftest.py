"""Fixtures of the tests of the agents core client, which requests a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.parts.agents_core import (
    ScriptedCore,
)
from tests.parts.core_client import SOON_S, Client


@pytest.fixture
async def server() -> AsyncIterator[ScriptedCore]:
    async with ScriptedCore().serving() as server:
        yield server


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    """Clients that are closed after the test."""
    made: list[Client] = []
    yield made
    for client in made:
        await client.core.close()


@pytest.fixture
async def client(server: ScriptedCore, clients: list[Client]) -> Client:
    clients.append(Client(server.url))
    return clients[-1]


@pytest.fixture
async def impatient(server: ScriptedCore, clients: list[Client]) -> Client:
    """A client with a short timeout."""
    clients.append(Client(server.url, timeout_s=SOON_S))
    return clients[-1]


@pytest.fixture
async def openai(server: ScriptedCore, clients: list[Client]) -> Client:
    clients.append(Client(server.url, kind="openai"))
    return clients[-1]
