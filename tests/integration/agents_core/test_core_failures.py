"""Invalid, interrupted and refused responses of the agents core."""

from __future__ import annotations

import gzip

import pytest
from structlog.testing import capture_logs

from daarion_appservice.errors import CoreNotConfigured
from tests.parts.agents_core import (
    DONE,
    EVENTS,
    JSON,
    Behaviour,
    ScriptedCore,
    answers,
    breaks_off_after,
    delta,
    event,
    goes_on,
    says,
    sends,
    speaks,
    streams,
)
from tests.parts.core_client import Client, failure
from tests.parts.ports import HOST, free_port

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
        chunks, error = await failure(client)
    assert chunks == []
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
    chunks, error = await failure(client)
    assert chunks[0] == "one"
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
    chunks, error = await failure(client)
    assert (chunks, error.code, error.status) == ([], "core_failed", 502)
    assert error.detail == "the agents core cannot be reached"


async def test_no_core_at_all(clients: list[Client]) -> None:
    client = Client("")
    clients.append(client)
    assert not client.core.is_ready("litopys")
    with pytest.raises(CoreNotConfigured) as failed:
        await client.ask()
    assert (failed.value.code, failed.value.status) == ("no_core", 503)
