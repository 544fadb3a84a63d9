"""The access log: one line for each request, with a request id and without tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from tests.parts.api import OKSANA
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST


@pytest.fixture
async def logging_city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url, logging={"access": True}) as city:
        yield city


def requests_of(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["event"] == "http_request"]


async def test_requests_of_both_listeners_are_logged(logging_city: InProcessCity) -> None:
    with capture_logs() as logs:
        answer = await logging_city.call("GET", "/city/rooms", token=OKSANA)
        await logging_city.call("GET", "/healthz", listener="matrix")
    first, second = requests_of(logs)
    assert first.pop("duration_ms") >= 0
    assert first == {
        "event": "http_request",
        "log_level": "info",
        "listener": "api",
        "method": "GET",
        "path": "/city/rooms",
        "status": 200,
        "bytes": int(answer.headers["Content-Length"]),
        "client": HOST,
    }
    assert (second["listener"], second["path"]) == ("matrix", "/healthz")


async def test_log_has_no_query_and_no_token(logging_city: InProcessCity) -> None:
    with capture_logs() as logs:
        await logging_city.call("GET", f"/city/rooms?token={OKSANA}", token=OKSANA)
        await logging_city.call("GET", "/nothing%0Ahere")
    assert OKSANA not in str(requests_of(logs))
    assert [line["path"] for line in requests_of(logs)] == ["/city/rooms", "/nothing%0Ahere"]
    assert requests_of(logs)[1]["status"] == 404


async def test_request_id_is_taken_from_proxy_or_made(logging_city: InProcessCity) -> None:
    sent = await logging_city.call("GET", "/city/rooms", headers={"X-Request-ID": "from-the-proxy.1"})
    assert sent.headers["X-Request-ID"] == "from-the-proxy.1"
    for wrong in ("with space", "x" * 65, "{}"):
        made = await logging_city.call("GET", "/none", headers={"X-Request-ID": wrong})
        assert made.headers["X-Request-ID"] not in {"", wrong}
    assert "request_id" not in get_contextvars()


async def test_access_log_is_off_by_default(sqlite_city: InProcessCity) -> None:
    with capture_logs() as logs:
        answer = await sqlite_city.call("GET", "/city/rooms")
    assert requests_of(logs) == []
    assert "X-Request-ID" not in answer.headers
