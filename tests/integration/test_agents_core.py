"""The agents core client, against a real HTTP server that does everything wrong that one can do."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from daarion_appservice.agents import core as core_module
from daarion_appservice.agents.core import AgentsCore
from daarion_appservice.agents.metrics import CoreMetrics
from daarion_appservice.agents.request import AgentRequest, Exchange, RequestKind
from daarion_appservice.city.types import SubjectId
from daarion_appservice.config import AgentsCoreSettings
from daarion_appservice.errors import CircuitOpen, CoreBusy, CoreError, CoreFailed, CoreNotConfigured
from tests.parts.agents_core import (
    DONE,
    EVENTS,
    JSON,
    Behaviour,
    ScriptedCore,
    after,
    answers,
    breaks_off_after,
    chunk,
    delta,
    empty_response,
    event,
    goes_on,
    pauses,
    says,
    sends,
    speaks,
    stalls_after,
    streams,
)
from tests.parts.city import eventually
from tests.parts.model_servers import SHAPES, Shape
from tests.parts.ports import HOST, free_port

SOON_S = 0.4
"""After which the client gives up a server that would keep it waiting for ever."""
QUESTION = AgentRequest(
    "litopys",
    "Що нового?",
    RequestKind.MENTION,
    SubjectId("u_123"),
    room="general",
    history=(Exchange("user", "Привіт"), Exchange("assistant", "Добрий вечір")),
)


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


class Client:
    """An AgentsCore with its metrics and its clock."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.clock = Clock()
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


@pytest.fixture
async def server() -> AsyncIterator[ScriptedCore]:
    async with ScriptedCore().serving() as server:
        yield server


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    """Whoever is put here is closed in the end."""
    made: list[Client] = []
    yield made
    for client in made:
        await client.core.close()


@pytest.fixture
async def client(server: ScriptedCore, clients: list[Client]) -> Client:
    clients.append(Client(server.url))
    return clients[-1]


@pytest.fixture
async def hasty(server: ScriptedCore, clients: list[Client]) -> Client:
    """One that gives up soon."""
    clients.append(Client(server.url, timeout_s=SOON_S))
    return clients[-1]


@pytest.fixture
async def openai(server: ScriptedCore, clients: list[Client]) -> Client:
    clients.append(Client(server.url, kind="openai"))
    return clients[-1]


# --- what is asked ------------------------------------------------------------------------------------


async def test_invoke_request_matches_contract(server: ScriptedCore, clients: list[Client]) -> None:
    client = Client(server.url + "/core", token="a secret")
    clients.append(client)
    async with client.core.generate(QUESTION) as pieces:
        assert [piece async for piece in pieces] == ["відповідь 1"]
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/core/agents/litopys/invoke")
    assert received.content == {
        "input": "Що нового?",
        "context": {
            "kind": "mention",
            "user_id": "u_123",
            "room": "general",
            "history": [
                {"role": "user", "content": "Привіт"},
                {"role": "assistant", "content": "Добрий вечір"},
            ],
        },
    }
    assert received.headers["Authorization"] == "Bearer a secret"
    assert received.headers["Accept"] == "text/event-stream, application/json"
    assert received.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("model", "asked_for"), [("", "litopys"), ("qwen3:8b", "qwen3:8b")])
async def test_openai_request_matches_openai_client(
    server: ScriptedCore, clients: list[Client], model: str, asked_for: str
) -> None:
    client = Client(server.url, kind="openai", model=model)
    clients.append(client)
    server.next(answers({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Дощ"}}]}))
    async with client.core.generate(QUESTION) as pieces:
        assert [piece async for piece in pieces] == ["Дощ"]
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.content == {
        "model": asked_for,
        "messages": [
            {"role": "user", "content": "Привіт"},
            {"role": "assistant", "content": "Добрий вечір"},
            {"role": "user", "content": "Що нового?"},
        ],
        "stream": True,
        "user": "u_123",
    }
    assert "Authorization" not in received.headers


@pytest.mark.parametrize(
    ("agent", "path"),
    [
        ("a/../../admin", "/agents/a%2F..%2F..%2Fadmin/invoke"),
        ("a?b#c%2e", "/agents/a%3Fb%23c%252e/invoke"),
        ("літопис", "/agents/%D0%BB%D1%96%D1%82%D0%BE%D0%BF%D0%B8%D1%81/invoke"),
    ],
)
async def test_an_agents_id_leads_nowhere_else(server: ScriptedCore, client: Client, agent: str, path: str) -> None:
    await client.ask(agent)
    assert [received.path for received in server.requests] == [path]


@pytest.mark.parametrize("agent", ["", ".", "..", "a\nb", "a\0b", "x" * 256])
async def test_unsafe_agent_id_is_not_requested(server: ScriptedCore, client: Client, agent: str) -> None:
    with pytest.raises(CoreFailed, match="an agent with this id"):
        await client.ask(agent)
    assert server.requests == []


async def test_each_request_has_own_connection(server: ScriptedCore, client: Client) -> None:
    for _ in range(3):
        await client.ask()
    assert len({received.connection for received in server.requests}) == 3, "one used before may be closing just then"


# --- answers as they should be ------------------------------------------------------------------------

GOOD_INVOKE: dict[str, tuple[Behaviour, str]] = {
    "json": (says("Дощ і вітер"), "Дощ і вітер"),
    "json with a byte order mark": (sends(b'\xef\xbb\xbf{"output": "rain"}'), "rain"),
    "json with more in it": (answers({"output": "rain", "tokens": 3, "error": None}), "rain"),
    "streamed": (streams("Дощ", " і ", "вітер"), "Дощ і вітер"),
    "streamed, empty pieces": (streams("", "rain", ""), "rain"),
    "streamed, spaces first": (streams("\n", "  ", " rain", " "), "rain "),
    "streamed, comments": (sends(b": hello\n\n", delta("rain"), b":\n:\n", DONE, headers=EVENTS), "rain"),
    "streamed, CRLF": (sends(b'data: {"delta": "rain"}\r\n\r\ndata: [DONE]\r\n\r\n', headers=EVENTS), "rain"),
    "streamed, CR": (sends(b'data: {"delta": "rain"}\r\rdata: [DONE]\r\r', headers=EVENTS), "rain"),
    "streamed, data in lines": (sends(b'event: x\ndata: {"delta":\ndata: "rain"}\n\n', DONE, headers=EVENTS), "rain"),
    "streamed, no empty line at the end": (sends(delta("rain"), b"data: [DONE]", headers=EVENTS), "rain"),
    "streamed, byte by byte": (
        sends(*(bytes([each]) for each in 'data: {"delta": "дощ 🌧"}\n\ndata: [DONE]\n\n'.encode()), headers=EVENTS),
        "дощ 🌧",
    ),
    "streamed, cut within a character": (
        sends(b'data: {"delta": "\\ud83c"}\n\n', b'data: {"delta": "\\udf27!"}\n\n', DONE, headers=EVENTS),
        "🌧!",
    ),
    "streamed, and never closed": (stalls_after(delta("rain"), DONE), "rain"),
    "with a charset": (
        sends(b'{"output": "rain"}', headers={"Content-Type": "application/json; charset=utf-8"}),
        "rain",
    ),
    "no type": (sends(b'{"output": "rain"}', headers={}), "rain"),
    "201": (sends(b'{"output": "rain"}', status=201), "rain"),
    "not utf-8": (sends(b'{"output": "\xff!"}'), "\ufffd!"),
    "half a character": (sends(b'{"output": "\\ud83c!"}'), "\ufffd!"),
    "streamed, not utf-8": (sends(delta("one"), b'data: {"delta": "\xff"}\n\n', DONE, headers=EVENTS), "one\ufffd"),
    "streamed, half a character": (
        sends(delta("one"), b'data: {"delta": "\\udf27"}\n\n', DONE, headers=EVENTS),
        "one\ufffd",
    ),
    "streamed, events that are no pieces": (
        sends(delta("one"), event({"usage": 3}), event({"delta": None}), b"data: ping\n\n", DONE, headers=EVENTS),
        "one",
    ),
    "with thoughts": (says("<think>hm</think>rain"), "rain"),
    "streamed, with thoughts": (streams("<thi", "nk>hm</th", "ink>", "rain"), "rain"),
    "U+0000": (answers({"output": "ra\0in"}), "ra\ufffdin"),
    "as long as may be": (says("я" * 30_000), "я" * 30_000),
}


@pytest.mark.parametrize("behaviour", GOOD_INVOKE)
async def test_answers_are_understood_in_every_form(server: ScriptedCore, client: Client, behaviour: str) -> None:
    behave, text = GOOD_INVOKE[behaviour]
    server.next(behave)
    assert "".join(await client.ask()) == text
    assert client.calls("answered") == 1


GOOD_OPENAI: dict[str, tuple[Behaviour, str]] = {
    "streamed": (
        sends(chunk(None), chunk(""), chunk("Дощ"), chunk(" і вітер"), chunk(None, "stop"), DONE, headers=EVENTS),
        "Дощ і вітер",
    ),
    "[DONE] missing": (sends(chunk("rain"), chunk(None, "stop"), headers=EVENTS), "rain"),
    "finish_reason missing": (sends(chunk("rain"), DONE, headers=EVENTS), "rain"),
    "with tokens counted": (
        sends(event({"choices": []}), chunk("rain"), event({"choices": [], "usage": {}}), DONE, headers=EVENTS),
        "rain",
    ),
    "cut short by the model's limit": (sends(chunk("rain a"), chunk(None, "length"), headers=EVENTS), "rain a"),
    "in one": (answers({"choices": [{"message": {"content": "rain"}, "finish_reason": "stop"}]}), "rain"),
}


@pytest.mark.parametrize("shape", [pytest.param(shape, id=shape.id) for shape in SHAPES])
async def test_shape_of_model_server_is_read(server: ScriptedCore, openai: Client, shape: Shape) -> None:
    server.next(sends(shape.body, headers={"Content-Type": shape.content_type}))
    if shape.reply_text is not None:
        assert "".join(await openai.ask()) == shape.reply_text
    else:
        with pytest.raises(CoreFailed, match=shape.error):
            await openai.ask()


@pytest.mark.parametrize(
    "end", [stalls_after, breaks_off_after], ids=["the stream stays open", "the connection is cut"]
)
async def test_answer_that_finished_is_not_lost(
    server: ScriptedCore, openai: Client, monkeypatch: pytest.MonkeyPatch, end: Callable[..., Behaviour]
) -> None:
    monkeypatch.setattr(core_module, "_TRAILING_DATA_S", 0.1)
    server.next(end(chunk("Дощ", "stop"), chunk(" і вітер", "stop")))
    assert "".join(await openai.ask()) == "Дощ і вітер"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/api/v3", "/api/v3/chat/completions"),
        (
            "/openai/deployments/gpt/?api-version=2024-10-21",
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
        ),
    ],
)
async def test_openai_request_uses_base_url(server: ScriptedCore, clients: list[Client], url: str, path: str) -> None:
    clients.append(Client(server.url + url, kind="openai"))
    server.next(answers({"choices": [{"message": {"content": "Дощ"}}]}))
    assert await clients[-1].ask() == ["Дощ"]
    assert [received.path for received in server.requests] == [path]


async def test_unopened_reasoning_is_hidden_after_two_replies(server: ScriptedCore, client: Client) -> None:
    reasoned = streams("Хм.", "</think>", "Так")
    server.next(reasoned, reasoned, reasoned, streams("Без думок"))
    with capture_logs() as logs:
        assert "".join(await client.ask()) == "Хм.</think>Так"
        assert "".join(await client.ask("other")) == "Хм.</think>Так"
        assert "".join(await client.ask()) == "Так"
        assert "".join(await client.ask()) == "Без думок"
    assert [entry["agent"] for entry in logs if entry["event"] == "core_reasoning_unopened"] == ["litopys", "other"]


async def test_token_is_sent_in_the_header_that_is_set(server: ScriptedCore, clients: list[Client]) -> None:
    clients.append(Client(server.url, token="a secret", token_header="api-key"))
    await clients[-1].ask()
    (received,) = server.requests
    assert received.headers["api-key"] == "a secret"
    assert "Authorization" not in received.headers


@pytest.mark.parametrize("behaviour", GOOD_OPENAI)
async def test_openais_answers_are_understood_in_every_form(
    server: ScriptedCore, openai: Client, behaviour: str
) -> None:
    behave, text = GOOD_OPENAI[behaviour]
    server.next(behave)
    assert "".join(await openai.ask()) == text


async def test_chunks_arrive_during_generation(server: ScriptedCore, client: Client) -> None:
    server.next(stalls_after(delta("one"), delta("two")))
    async with client.core.generate(QUESTION) as pieces:
        assert [await anext(pieces), await anext(pieces)] == ["one", "two"]
        assert client.value("daarion_core_calls_in_flight") == 1
    assert client.value("daarion_core_calls_in_flight") == 0


# --- answers as they should not be --------------------------------------------------------------------

FAILING: dict[str, tuple[Behaviour, str]] = {
    "500": (answers({"error": "boom"}, status=500), "status 500"),
    "503": (sends(b"<h1>no</h1>", status=503, headers={"Content-Type": "text/html"}), "status 503"),
    "404": (answers({"error": "no such agent"}, status=404), "status 404"),
    "204": (sends(status=204), "status 204"),
    "redirect": (sends(status=302, headers={"Location": "/agents/other/invoke"}), "status 302"),
    "html": (sends(b"<html>", headers={"Content-Type": "text/html"}), "text/html, which is neither"),
    "no type": (sends(b"It rains", headers={}), "octet-stream, which is neither"),
    "packed": (
        sends(gzip.compress(b'{"output": "rain"}'), headers=JSON | {"Content-Encoding": "gzip"}),
        "compressed response",
    ),
    "no json": (sends(b"<html>"), "not JSON"),
    "half json": (sends(b'{"output": "ra'), "not JSON"),
    "nothing": (sends(b""), "not JSON"),
    "too deep": (sends(b"[" * 100_000), "not JSON"),
    "a list": (answers(["rain"]), "an unknown format"),
    "a number": (answers(5), "an unknown format"),
    "no output": (answers({"text": "rain"}), "an unknown format"),
    "output is a number": (says(5), "an unknown format"),
    "output is null": (says(None), "an unknown format"),
    "empty": (says(""), "an empty reply"),
    "spaces": (says(" \n\t"), "an empty reply"),
    "an error": (answers({"error": "the model is on fire"}), "reported an error"),
    "too long": (says("я" * 30_001), "more than 30000 characters"),
    "too many bytes": (sends(b'{"output": "rain"' + b" " * 2_000_000), "more than 1048576 bytes"),
    "endless json": (goes_on(b" " * 65_536, headers=JSON), "more than 1048576 bytes"),
    "cut off, json": (breaks_off_after(b'{"output": "ra', headers=JSON), "before it was complete"),
    "content-length short": (
        breaks_off_after(b'{"output": "rain"}', headers=JSON | {"Content-Length": "100"}),
        "before it was complete",
    ),
    "no http": (speaks(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "not HTTP"),
    "hung up": (speaks(b""), "before it was complete"),
    "endless header": (speaks(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000), "not HTTP"),
}

FAILING_STREAMS: dict[str, tuple[Behaviour, str]] = {
    "cut off": (breaks_off_after(delta("one")), "before it was complete"),
    "cut off by length": (
        breaks_off_after(delta("one"), headers=EVENTS | {"Content-Length": "1000"}),
        "before it was complete",
    ),
    "[DONE] missing": (sends(delta("one"), headers=EVENTS), "before it was complete"),
    "an error": (sends(delta("one"), event({"error": {"message": "boom"}}), headers=EVENTS), "reported an error"),
    "no json": (sends(delta("one"), b"data: {two\n\n", headers=EVENTS), "not JSON"),
    "an error by name": (sends(delta("one"), b"event: error\ndata: boom\n\n", headers=EVENTS), "reported an error"),
    "endless": (goes_on(delta("one")), "more than 30000 characters"),
    "too long": (streams("one", "я" * 30_000), "more than 30000 characters"),
}

EMPTY_STREAMS: dict[str, tuple[Behaviour, str]] = {
    "empty": (sends(DONE, headers=EVENTS), "an empty reply"),
    "spaces": (streams(" ", "\n"), "an empty reply"),
    "no events": (sends(b"", headers=EVENTS), "before it was complete"),
    "endless line": (goes_on(b"data: " + b"x" * 65_536), "more than 1048576 bytes"),
    "endless comments": (goes_on(b":" + b"x" * 65_536 + b"\n"), "more than 8388608 bytes"),
    "endless events of nothing": (goes_on(event({"delta": "", "more": "x" * 10_000})), "more than 8388608 bytes"),
}


async def failure(client: Client) -> tuple[list[str], CoreError]:
    """What came of the answer, and how it failed."""
    came: list[str] = []

    async def read() -> None:
        async with client.core.generate(QUESTION) as pieces:
            async for piece in pieces:
                came.append(piece)  # noqa: PERF401 -- what came counts, also when it fails then

    with pytest.raises(CoreError) as failed:
        await read()
    return came, failed.value


@pytest.mark.parametrize(
    "behaviour",
    [*FAILING.values(), *EMPTY_STREAMS.values()],
    ids=[*FAILING, *(f"stream: {each}" for each in EMPTY_STREAMS)],
)
async def test_invalid_response_is_described(
    server: ScriptedCore, client: Client, behaviour: tuple[Behaviour, str]
) -> None:
    behave, words = behaviour
    server.next(behave)
    with capture_logs() as logs:
        came, error = await failure(client)
    assert came == []
    assert (error.code, error.status) == ("core_failed", 502)
    assert error.detail.startswith("the agents core ")
    assert words in error.detail
    assert [(line["event"], line["agent"], line["error"]) for line in logs] == [
        ("core_failed", "litopys", error.detail)
    ]
    assert len(server.requests) == 1, "it is asked once, and nowhere else"
    assert client.calls("failed") == 1
    assert await client.ask() == ["відповідь 2"], "the next question is answered"


@pytest.mark.parametrize("behaviour", FAILING_STREAMS)
async def test_interrupted_response_fails(server: ScriptedCore, client: Client, behaviour: str) -> None:
    behave, words = FAILING_STREAMS[behaviour]
    server.next(behave)
    came, error = await failure(client)
    assert came[0] == "one"
    assert (error.code, error.status) == ("core_failed", 502)
    assert words in error.detail
    assert client.calls("failed") == 1


async def test_core_error_text_is_only_logged(server: ScriptedCore, client: Client) -> None:
    server.next(answers({"error": "password of the database: hunter2"}, status=500))
    with capture_logs() as logs:
        _, error = await failure(client)
    assert "hunter2" not in error.detail
    assert "hunter2" in logs[0]["seen"]


async def test_unreachable_core_fails(clients: list[Client]) -> None:
    client = Client(f"http://{HOST}:{free_port()}")
    clients.append(client)
    came, error = await failure(client)
    assert (came, error.code, error.status) == ([], "core_failed", 502)
    assert error.detail == "the agents core cannot be reached"


async def test_no_core_at_all(clients: list[Client]) -> None:
    client = Client("")
    clients.append(client)
    assert not client.core.is_ready("litopys")
    with pytest.raises(CoreNotConfigured) as failed:
        await client.ask()
    assert (failed.value.code, failed.value.status) == ("no_core", 503)


# --- slow ---------------------------------------------------------------------------------------------

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
async def test_slow_response_times_out(server: ScriptedCore, hasty: Client, behaviour: str) -> None:
    behave, pieces, words = SLOW[behaviour]
    server.next(behave)
    came, error = await failure(hasty)
    assert came == pieces
    assert (error.code, error.status) == ("core_timeout", 504)
    assert words in error.detail
    assert hasty.calls("timeout") == 1

    await eventually(lambda: is_left_alone(server))


async def is_left_alone(server: ScriptedCore) -> bool:
    return server.under_way == 0 and server.hung_up == 1


async def test_an_answer_that_drips_ends_in_time_all_the_same(server: ScriptedCore, hasty: Client) -> None:
    server.next(goes_on(delta("x"), pause_s=0.02))
    came, error = await failure(hasty)
    assert (set(came), error.code) == ({"x"}, "core_timeout")


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


async def test_slow_reader_is_not_a_core_timeout(server: ScriptedCore, hasty: Client) -> None:
    server.next(streams("one", "two"))
    async with hasty.core.generate(QUESTION) as pieces:
        assert await anext(pieces) == "one"
        await asyncio.sleep(SOON_S * 1.5)
        assert [piece async for piece in pieces] == ["two"]


# --- whoever does not wait ----------------------------------------------------------------------------


async def test_leaving_in_the_middle_ends_the_call(server: ScriptedCore, client: Client) -> None:
    server.next(stalls_after(delta("one")))
    async with client.core.generate(QUESTION) as pieces:
        assert await anext(pieces) == "one"
    await eventually(lambda: is_left_alone(server))
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
    await eventually(lambda: is_left_alone(server))
    assert client.calls("cancelled") == 1


async def test_cancel_before_first_chunk_sends_no_request(server: ScriptedCore, client: Client) -> None:
    async with client.core.generate(QUESTION):
        pass
    assert server.requests == []
    assert client.calls("cancelled") == 1


async def is_requested(server: ScriptedCore, times: int) -> bool:
    return len(server.requests) == times


# --- many at once -------------------------------------------------------------------------------------


@pytest.fixture
async def narrow(server: ScriptedCore, clients: list[Client], monkeypatch: pytest.MonkeyPatch) -> Client:
    """Three calls in all, two of one agent; others are not waited for long."""
    monkeypatch.setattr(core_module, "_SLOT_TIMEOUT_S", 0.2)
    clients.append(Client(server.url, parallel=3, parallel_per_agent=2))
    return clients[-1]


async def test_concurrent_requests_are_limited(server: ScriptedCore, narrow: Client) -> None:
    gate = asyncio.Event()
    server.next(*[after(gate, says("so"))] * 3)
    of_one = [asyncio.create_task(narrow.ask("one")) for _ in range(2)]
    await eventually(lambda: is_requested(server, 2))
    with pytest.raises(CoreBusy) as busy:
        await narrow.ask("one")
    assert (busy.value.code, busy.value.status) == ("core_busy", 503)
    assert busy.value.retry_after_s

    of_another = asyncio.create_task(narrow.ask("another"))
    await eventually(lambda: is_requested(server, 3))
    with pytest.raises(CoreBusy):
        await narrow.ask("a third")
    assert len(server.requests) == 3
    assert narrow.calls("busy") == 2

    gate.set()
    assert await asyncio.gather(*of_one, of_another) == [["so"]] * 3
    assert await asyncio.gather(*(narrow.ask(agent) for agent in ("one", "one", "a third"))), (
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


# --- a core that fails again and again ----------------------------------------------------------------

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
        await rests(client, retry_after_s=30)
        client.clock.now_ms += 29_999
        await rests(client, retry_after_s=0.001)
        assert len(server.requests) == 10, "nobody asked it meanwhile"

        client.clock.now_ms += 1
        gate = asyncio.Event()
        server.next(after(gate, DOWN))
        assert client.core.is_ready("litopys")
        trying = asyncio.create_task(client.ask())
        await eventually(lambda: is_requested(server, 11))
        await rests(client, retry_after_s=30)
        gate.set()
        with pytest.raises(CoreFailed):
            await trying
        await rests(client, retry_after_s=30)

        client.clock.now_ms += 30_000
        assert await client.ask() == ["відповідь 12"]
        assert await client.ask() == ["відповідь 13"]
    assert client.value("daarion_core_breaker_open") == 0
    assert client.calls("circuit_open") == 4
    assert [line["event"] for line in logs if line["event"] != "core_failed"] == [
        "core_circuit_open",
        "core_circuit_closed",
    ]


async def rests(client: Client, *, retry_after_s: float) -> None:
    with pytest.raises(CircuitOpen) as resting:
        await client.ask()
    assert (resting.value.code, resting.value.status) == ("core_circuit_open", 503)
    assert resting.value.retry_after_s == retry_after_s


async def test_agent_circuit_does_not_affect_others(server: ScriptedCore, client: Client) -> None:
    server.next(*[DOWN] * 5)
    for _ in range(5):
        with pytest.raises(CoreFailed):
            await client.ask("litopys")
    await rests(client, retry_after_s=30)
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


# --- numbers ------------------------------------------------------------------------------------------


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
