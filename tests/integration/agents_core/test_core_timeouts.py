"""Timeouts and cancellations of requests to the agents core."""

from __future__ import annotations

import asyncio

import pytest

from tests.parts.agents_core import (
    DONE,
    JSON,
    Behaviour,
    ScriptedCore,
    delta,
    empty_response,
    goes_on,
    pauses,
    speaks,
    stalls_after,
    streams,
)
from tests.parts.city import eventually
from tests.parts.core_client import QUESTION, SOON_S, Client, failure, is_disconnected, is_requested

SLOW: dict[str, tuple[Behaviour, list[str], str]] = {
    "no headers": (empty_response, [], "did not respond within"),
    "no body": (stalls_after(headers=JSON), [], "did not respond within"),
    "half a body": (stalls_after(b'{"output": "ra', headers=JSON), [], "did not respond within"),
    "no piece": (stalls_after(b": soon\n\n"), [], "did not respond within"),
    "comments for ever": (goes_on(b":\n\n", pause_s=0.01), [], "did not respond within"),
    "stuck in the middle": (stalls_after(delta("one")), ["one"], "did not complete its response within"),
    "half headers": (speaks(b"HTTP/1.1 200 OK\r\nContent-", then_stalls=True), [], "did not respond within"),
}


@pytest.mark.parametrize("behaviour", SLOW)
async def test_slow_response_times_out(server: ScriptedCore, impatient: Client, behaviour: str) -> None:
    behave, pieces, words = SLOW[behaviour]
    server.next(behave)
    chunks, error = await failure(impatient)
    assert chunks == pieces
    assert (error.code, error.status) == ("core_timeout", 504)
    assert words in error.detail
    assert impatient.calls("timeout") == 1

    await eventually(lambda: is_disconnected(server))


async def test_response_in_tiny_parts_ends_in_time(server: ScriptedCore, impatient: Client) -> None:
    server.next(goes_on(delta("x"), pause_s=0.02))
    chunks, error = await failure(impatient)
    assert (set(chunks), error.code) == ({"x"}, "core_timeout")


async def test_first_chunk_has_own_timeout(server: ScriptedCore, clients: list[Client]) -> None:
    client = Client(server.url, first_chunk_timeout_s=SOON_S)
    clients.append(client)
    server.next(empty_response)
    _, error = await failure(client)
    assert error.detail == f"the agents core did not respond within {SOON_S:g} seconds"

    gate = asyncio.Event()

    server.next(pauses(gate, delta("one"), delta("two"), DONE))
    async with client.core.generate(QUESTION) as pieces:
        assert await anext(pieces) == "one"
        await asyncio.sleep(SOON_S * 1.5)
        gate.set()
        assert [piece async for piece in pieces] == ["two"], "what has begun may take its time"


async def test_slow_reader_is_not_a_core_timeout(server: ScriptedCore, impatient: Client) -> None:
    server.next(streams("one", "two"))
    async with impatient.core.generate(QUESTION) as pieces:
        assert await anext(pieces) == "one"
        await asyncio.sleep(SOON_S * 1.5)
        assert [piece async for piece in pieces] == ["two"]


async def test_leaving_in_the_middle_ends_the_call(server: ScriptedCore, client: Client) -> None:
    server.next(stalls_after(delta("one")))
    async with client.core.generate(QUESTION) as pieces:
        assert await anext(pieces) == "one"
    await eventually(lambda: is_disconnected(server))
    assert client.calls("cancelled") == 1
    assert client.value("daarion_core_calls_in_flight") == 0


@pytest.mark.parametrize("behaviour", [empty_response, stalls_after(delta("one"))], ids=["headers", "middle"])
async def test_cancelling_ends_the_call(server: ScriptedCore, client: Client, behaviour: Behaviour) -> None:
    server.next(behaviour)
    asking = asyncio.create_task(client.ask())
    await eventually(lambda: is_requested(server, 1))
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    await eventually(lambda: is_disconnected(server))
    assert client.calls("cancelled") == 1


async def test_cancel_before_first_chunk_sends_no_request(server: ScriptedCore, client: Client) -> None:
    async with client.core.generate(QUESTION):
        pass
    assert server.requests == []
    assert client.calls("cancelled") == 1
