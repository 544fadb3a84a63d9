"""Requests that are refused before or by validation, and CORS."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daarion_appservice.http import routing
from daarion_appservice.http.bad_request_log import BadRequestFilter
from tests.parts.api import (
    HEARTBEAT,
    INTERNAL,
    MESSAGES,
    OKSANA,
    call_internal,
    post_message,
    problem_of,
    raw_response,
)
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S


@cache
def bomb() -> bytes:
    """Return 200 MB of zeros, compressed; built at the first use, because it takes half a second."""
    return gzip.compress(bytes(200_000_000))


NOT_THERE = [
    ("GET", "/city/rooms/nowhere", (404, "no_such_room")),
    ("GET", "/city/rooms/nowhere/messages", (404, "no_such_room")),
    ("POST", "/city/rooms/nowhere/messages", (404, "no_such_room")),
    ("GET", "/api/v1/agents/nobody", (404, "no_such_agent")),
    ("GET", "/api/v1/agents/nobody/presence", (404, "no_such_agent")),
    ("GET", "/nothing", (404, "no_such_route")),
    ("GET", "/internal/matrix/presence/@a:b", (404, "no_such_route")),
    ("PUT", "/_matrix/app/v1/transactions/1", (404, "no_such_route")),
    ("GET", "/healthz", (404, "no_such_route")),
    ("DELETE", "/city/rooms", (405, "method_not_allowed")),
    ("GET", HEARTBEAT, (405, "method_not_allowed")),
    ("GET", "/city/rooms?limit=0", (422, "invalid")),
    ("GET", "/city/rooms?limit=501", (422, "invalid")),
    ("GET", "/city/rooms?limit=many", (422, "invalid")),
    ("GET", "/city/rooms?offset=-1", (422, "invalid")),
    ("GET", "/city/rooms?sort=random", (422, "invalid")),
    ("GET", f"{MESSAGES}?before=now", (422, "invalid")),
    ("GET", f"{MESSAGES}?before=99999999999999999999", (422, "invalid")),
    ("GET", f"{MESSAGES}?limit=201", (422, "invalid")),
    ("GET", "/api/v1/agents?presence=here", (422, "invalid")),
    ("GET", "/api/v1/agents?q=%00", (422, "text_invalid")),
]


async def test_unknown_resource_or_invalid_query_is_refused(sqlite_city: InProcessCity) -> None:
    for method, path, refusal in NOT_THERE:
        content = {"body": "hi"} if method == "POST" else ...
        answer = await sqlite_city.call(method, path, content, token=OKSANA)
        assert problem_of(answer) == refusal, (method, path)
        assert ("Allow" in answer.headers) == (answer.status == 405)


async def test_malformed_path_parameter_is_404_or_422(city: InProcessCity) -> None:
    for name in ("%00", "a%00b", "%ff", "%F0%9F%8E%89", "..%2f..", "x" * 3000, "%ED%A0%80", "'%20OR%201=1", "%25"):
        for path in (f"/city/rooms/{name}", f"/city/rooms/{name}/messages", f"/api/v1/agents/{name}/presence"):
            status, _ = problem_of(await city.call("GET", path))
            assert status in {404, 422}, path


@pytest.mark.parametrize(
    ("body", "content_type", "refusal"),
    [
        (b"{", "application/json", (400, "not_json")),
        (b"\xff", "application/json", (400, "not_json")),
        (b'{"body": "\\ud800"}', "application/json", (400, "not_json")),
        (b"[" * 5000, "application/json", (400, "not_json")),
        (b'{"body": "hi"}', "text/plain", (415, "not_json")),
        (b"body=hi", "application/x-www-form-urlencoded", (415, "not_json")),
        (b'{"body": "' + b"x" * 1024 * 1024 + b'"}', "application/json", (413, "body_too_large")),
    ],
    ids=["cut off", "no text", "half a character", "nested", "plain text", "a form", "a megabyte"],
)
async def test_body_that_is_not_json_is_refused(
    sqlite_city: InProcessCity, body: bytes, content_type: str, refusal: tuple[int, str]
) -> None:
    answer = await sqlite_city.call("POST", MESSAGES, body=body, headers={"Content-Type": content_type}, token=OKSANA)
    assert problem_of(answer) == refusal


async def test_body_with_wrong_content_encoding_is_400(
    sqlite_city: InProcessCity, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await sqlite_city.call("POST", MESSAGES, body=b"plain", headers=headers, token=OKSANA)
    assert problem_of(answer) == (400, "bad_request")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("encoding", "pack", "refusal"),
    [
        ("gzip", gzip.compress, None),
        ("GZIP", gzip.compress, None),
        ("x-gzip", gzip.compress, None),
        ("deflate", zlib.compress, None),
        ("identity", bytes, None),
        ("br", bytes, (400, "bad_request")),
        ("gzip, gzip", gzip.compress, (400, "bad_request")),
        ("gzip", lambda body: gzip.compress(body)[:-4], (400, "bad_request")),
        ("gzip", lambda body: gzip.compress(body) + b"more", (400, "bad_request")),
        ("gzip", lambda _body: bomb(), (413, "body_too_large")),
    ],
)
async def test_compressed_body_is_decompressed_up_to_limit(
    sqlite_city: InProcessCity, encoding: str, pack: Callable[[bytes], bytes], refusal: tuple[int, str] | None
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    body = pack(b'{"body": "packed"}')
    answer = await sqlite_city.call("POST", MESSAGES, body=body, headers=headers, token=OKSANA)
    if refusal is None:
        assert (answer.status, answer.content["body"]) == (201, "packed")
    else:
        assert problem_of(answer) == refusal


@pytest.mark.parametrize(("method", "path"), [("POST", "/no-such-route"), ("POST", MESSAGES), ("GET", "/city/rooms")])
async def test_unread_compressed_body_is_not_decompressed(sqlite_city: InProcessCity, method: str, path: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: city\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb())}\r\n\r\n"
    next_request = b"GET /city/feed HTTP/1.1\r\nHost: city\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(HOST, sqlite_city.city.settings.api.port)
    before_s = time.process_time()
    writer.write((head.encode() + bomb()) * 10 + next_request)
    async with asyncio.timeout(WAIT_S):
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 ") == 11
    assert time.process_time() - before_s < 0.8
    writer.close()


async def test_slow_body_is_408(sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "_BODY_S", 0.2)
    head = f"POST {MESSAGES} HTTP/1.1\r\nHost: city\r\nAuthorization: Bearer {OKSANA}\r\n"
    answer = await raw_response(
        sqlite_city, f"{head}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{".encode()
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer


async def test_invalid_http_is_counted_not_logged(sqlite_city: InProcessCity, caplog: pytest.LogCaptureFixture) -> None:
    secret = "a secret token"
    for request in (
        f"GET /ws?token={secret} HTTP/9\r\n\r\n",
        f"GET / HTTP/1.1\r\n{secret}\1: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ):
        assert b" 400 " in await raw_response(sqlite_city, request.encode())
    assert caplog.text == ""

    now_s = 0.0
    counted = BadRequestFilter(lambda: now_s)
    failure = logging.makeLogRecord({"exc_info": (None, BadHttpMessage(secret), None)})
    with capture_logs() as logs:
        assert [counted.filter(failure) for _ in range(3)] == [False] * 3
        now_s = 60.0
        assert not counted.filter(failure)
        assert counted.filter(logging.makeLogRecord({"exc_info": (None, ValueError(), None)})), "a fault of ours"
    assert logs == [{"event": "bad_requests", "log_level": "info", "count": count} for count in (1, 3)]


async def test_invalid_fields_are_all_listed(sqlite_city: InProcessCity) -> None:
    answer = await sqlite_city.call("POST", MESSAGES, {"body": 1, "client_id": ""}, token=OKSANA)
    assert problem_of(answer) == (422, "invalid")
    assert {error["field"] for error in answer.content["errors"]} == {"body", "client_id"}
    assert all(error["message"] for error in answer.content["errors"])


async def test_unknown_fields_are_ignored(sqlite_city: InProcessCity) -> None:
    assert (await post_message(sqlite_city, "hi", mood="good"))["body"] == "hi"
    assert await sqlite_city.get("/city/rooms?mood=good")


async def test_deeply_nested_body_is_422(sqlite_city: InProcessCity) -> None:
    json = {"Content-Type": "application/json"}
    for depth, refusal in ((1000, (422, "too_deep")), (100_000, (400, "not_json"))):
        body = b'{"name": "x", "beside": ' + b"[" * depth + b"]" * depth + b"}"
        answer = await sqlite_city.call("POST", "/city/rooms", body=body, headers=json, token=OKSANA)
        assert problem_of(answer) == refusal
        answer = await call_internal(sqlite_city, "POST", "/online", body=body, headers=json)
        assert answer.status == refusal[0]


async def test_cors_allows_configured_origins_only(sqlite_city: InProcessCity) -> None:
    def preflight_headers(origin: str) -> dict[str, str]:
        return {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }

    allowed = await sqlite_city.call("OPTIONS", MESSAGES, headers=preflight_headers("https://city.example"))
    assert allowed.status == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://city.example"
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
    assert "AUTHORIZATION" in allowed.headers["Access-Control-Allow-Headers"].upper()
    assert "Access-Control-Allow-Credentials" not in allowed.headers

    for origin in ("https://evil.example", "http://city.example", "https://city.example.evil", "null"):
        denied = await sqlite_city.call("OPTIONS", MESSAGES, headers=preflight_headers(origin))
        assert problem_of(denied) == (403, "preflight_refused")
        assert origin in denied.content["detail"]
        assert "Access-Control-Allow-Origin" not in denied.headers
        read = await sqlite_city.call("GET", "/city/rooms", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in read.headers
    read = await sqlite_city.call("GET", "/city/rooms", headers={"Origin": "https://city.example"})
    assert read.headers["Access-Control-Allow-Origin"] == "https://city.example"
    failed = await sqlite_city.call("GET", "/city/rooms/nowhere", headers={"Origin": "https://city.example"})
    assert failed.headers["Access-Control-Allow-Origin"] == "https://city.example", "errors can be read, too"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


FIELDS = (
    "name", "description", "slug", "body", "reply_to", "client_id", "status", "status_msg", "session_id",
    "matrix_user_id", "user_ids",
)  # fmt: skip


BODIES = (
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.just("@agent_scribe:city.localhost"), max_size=5) | ANYTHING
)


TAKING = [("api", "/city/rooms"), ("api", MESSAGES), ("api", HEARTBEAT)] + [
    ("matrix", f"{INTERNAL}/{what}") for what in ("bulk", "online")
]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents=st.lists(BODIES, min_size=4, max_size=4), raw=st.binary(max_size=60), name=st.text(max_size=10))
async def test_arbitrary_bodies_never_cause_500(
    city: InProcessCity, contents: list[Any], raw: bytes, name: str
) -> None:
    for listener, path in TAKING:
        token = SERVICE_TOKEN if path == HEARTBEAT else OKSANA
        for content in contents:
            answer = await city.call("POST", path, content, token=token, listener=listener)
            assert answer.status < 500, (path, content, answer)
        headers = {"Content-Type": "application/json"}
        answer = await city.call("POST", path, body=raw, headers=headers, token=token, listener=listener)
        assert answer.status < 500, (path, raw, answer)
    quoted = "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass"))
    for path in ("/city/rooms/", "/api/v1/agents/", "/city/rooms?sort=", f"{MESSAGES}?before=", "/api/v1/agents?q="):
        assert (await city.call("GET", path + quoted)).status < 500, path + quoted
