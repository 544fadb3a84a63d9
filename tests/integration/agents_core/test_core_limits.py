"""Limits of concurrent requests to the agents core, its circuit breakers and metrics."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from daarion_appservice.agents import core as core_module
from daarion_appservice.errors import CircuitOpen, CoreBusy, CoreFailed
from tests.parts.agents_core import (
    ScriptedCore,
    after,
    answers,
    delta,
    goes_on,
    says,
)
from tests.parts.city import eventually
from tests.parts.core_client import Client, is_requested
from tests.parts.ports import HOST, free_port


@pytest.fixture
async def limited_client(server: ScriptedCore, clients: list[Client], monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client with at most three concurrent requests, two for one agent, and a short wait for a slot."""
    monkeypatch.setattr(core_module, "_SLOT_TIMEOUT_S", 0.2)
    clients.append(Client(server.url, parallel=3, parallel_per_agent=2))
    return clients[-1]


async def test_concurrent_requests_are_limited(server: ScriptedCore, limited_client: Client) -> None:
    gate = asyncio.Event()
    server.next(*[after(gate, says("so"))] * 3)
    of_one = [asyncio.create_task(limited_client.ask("one")) for _ in range(2)]
    await eventually(lambda: is_requested(server, 2))
    with pytest.raises(CoreBusy) as busy:
        await limited_client.ask("one")
    assert (busy.value.code, busy.value.status) == ("core_busy", 503)
    assert busy.value.retry_after_s

    of_another = asyncio.create_task(limited_client.ask("another"))
    await eventually(lambda: is_requested(server, 3))
    with pytest.raises(CoreBusy):
        await limited_client.ask("a third")
    assert len(server.requests) == 3
    assert limited_client.calls("busy") == 2

    gate.set()
    assert await asyncio.gather(*of_one, of_another) == [["so"]] * 3
    assert await asyncio.gather(*(limited_client.ask(agent) for agent in ("one", "one", "a third"))), (
        "all places are free again"
    )


async def test_a_place_that_is_free_soon_is_waited_for(server: ScriptedCore, clients: list[Client]) -> None:
    client = Client(server.url, parallel=1)
    clients.append(client)
    gate = asyncio.Event()
    server.next(after(gate, says("one")))
    asking = asyncio.create_task(client.ask())
    await eventually(lambda: is_requested(server, 1))
    waiting = asyncio.create_task(client.ask())
    await asyncio.sleep(0)
    gate.set()
    assert await asking == ["one"]
    assert await waiting == ["відповідь 2"]


DOWN = answers({"error": "down"}, status=500)


async def test_five_failures_open_circuit(server: ScriptedCore, client: Client) -> None:
    with capture_logs() as logs:
        server.next(*[DOWN] * 4, says("yes"), *[DOWN] * 5)
        for _ in range(10):
            try:
                await client.ask()
            except CoreFailed:
                assert client.core.is_ready("litopys") or len(server.requests) == 10
        assert not client.core.is_ready("litopys")
        assert client.value("daarion_core_breaker_open") == 1
        await expect_circuit_open(client, retry_after_s=30)
        client.clock.now_ms += 29_999
        await expect_circuit_open(client, retry_after_s=0.001)
        assert len(server.requests) == 10, "nobody asked it meanwhile"

        client.clock.now_ms += 1
        gate = asyncio.Event()
        server.next(after(gate, DOWN))
        assert client.core.is_ready("litopys")
        trying = asyncio.create_task(client.ask())
        await eventually(lambda: is_requested(server, 11))
        await expect_circuit_open(client, retry_after_s=30)
        gate.set()
        with pytest.raises(CoreFailed):
            await trying
        await expect_circuit_open(client, retry_after_s=30)

        client.clock.now_ms += 30_000
        assert await client.ask() == ["відповідь 12"]
        assert await client.ask() == ["відповідь 13"]
    assert client.value("daarion_core_breaker_open") == 0
    assert client.calls("circuit_open") == 4
    assert [line["event"] for line in logs if line["event"] != "core_failed"] == [
        "core_circuit_open",
        "core_circuit_closed",
    ]


async def expect_circuit_open(client: Client, *, retry_after_s: float) -> None:
    with pytest.raises(CircuitOpen) as resting:
        await client.ask()
    assert (resting.value.code, resting.value.status) == ("core_circuit_open", 503)
    assert resting.value.retry_after_s == retry_after_s


async def test_agent_circuit_does_not_affect_others(server: ScriptedCore, client: Client) -> None:
    server.next(*[DOWN] * 5)
    for _ in range(5):
        with pytest.raises(CoreFailed):
            await client.ask("litopys")
    await expect_circuit_open(client, retry_after_s=30)
    assert await client.ask("scribe") == ["відповідь 6"]
    assert (client.core.is_ready("litopys"), client.core.is_ready("scribe")) == (False, True)
    assert client.value("daarion_core_breaker_open") == 1


async def test_unreachable_core_opens_shared_circuit(clients: list[Client]) -> None:
    client = Client(f"http://{HOST}:{free_port()}")
    clients.append(client)
    for agent in ("litopys", "scribe", "litopys", "scribe", "varta"):
        with pytest.raises(CoreFailed):
            await client.ask(agent)
    assert not client.core.is_ready("somebody else")
    with pytest.raises(CircuitOpen):
        await client.ask("somebody else")


async def test_request_error_does_not_count_as_core_failure(server: ScriptedCore, client: Client) -> None:
    for status in (400, 404, 413, 422):
        server.next(answers({}, status=status))
    server.next(says(""), says("я" * 30_001), goes_on(delta("x" * 1_000)))
    for _ in range(7):
        with pytest.raises(CoreFailed):
            await client.ask()
    assert client.core.is_ready("litopys")
    server.next(*[answers({}, status=status) for status in (401, 403, 429, 502, 500)])
    for _ in range(5):
        with pytest.raises(CoreFailed):
            await client.ask()
    assert not client.core.is_ready("litopys")


async def test_queued_requests_stop_when_circuit_opens(server: ScriptedCore, clients: list[Client]) -> None:
    client = Client(server.url, parallel=1)
    clients.append(client)
    server.next(*[DOWN] * 4)
    for _ in range(4):
        with pytest.raises(CoreFailed):
            await client.ask()
    gate = asyncio.Event()
    server.next(after(gate, DOWN))
    last = asyncio.create_task(client.ask())
    await eventually(lambda: is_requested(server, 5))
    waiting = asyncio.create_task(client.ask())
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(CoreFailed):
        await last
    with pytest.raises(CircuitOpen):
        await waiting
    assert len(server.requests) == 5


async def test_answers_are_measured(server: ScriptedCore, client: Client) -> None:
    await client.ask()
    server.next(DOWN)
    with pytest.raises(CoreFailed):
        await client.ask()
    assert client.value("daarion_core_call_seconds_count", kind="mention") == 1, "failures do not make it look fast"
    assert {
        outcome: client.calls(outcome)
        for outcome in ("answered", "failed", "timeout", "cancelled", "busy", "circuit_open")
    } == {
        "answered": 1,
        "failed": 1,
        "timeout": 0,
        "cancelled": 0,
        "busy": 0,
        "circuit_open": 0,
    }
