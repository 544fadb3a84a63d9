"""Malformed requests: no bytes cause a 5xx response or end a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.raw_http import status_of, websocket

SURROGATE = "eyJhbGciOiJcdWQ4MDAifQ.e30.eA"
"""A JWT whose header names the algorithm "\\ud800": half of a surrogate pair, which UTF-8 cannot hold."""
NO_LIMITS = dict.fromkeys(["reads", "wrong_tokens", "messages", "changes", "rooms", "typing", "heartbeats"], "")
UPGRADE = {name.decode(): value.decode() for name, value in websocket()}
SOCKETS = ["/ws/city/presence", "/ws/city/rooms/general"]


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url, limits=NO_LIMITS) as city:
        yield city


def ports(city: InProcessCity) -> tuple[int, int]:
    return city.city.settings.api.port, city.city.settings.matrix.port


@pytest.mark.parametrize("path", ["/city/rooms", "/secondme/history", "/city/media/hs/x", *SOCKETS])
async def test_unencodable_token_is_invalid(city: InProcessCity, path: str) -> None:
    answer = await city.call("GET", path, token=SURROGATE, headers=UPGRADE)
    assert (answer.status, answer.content["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("path", ["/api/v1/presence/stream", *SOCKETS])
async def test_unencodable_query_token_is_invalid(city: InProcessCity, path: str) -> None:
    for token in (SURROGATE, "%ED%A0%80", "%FF", "%00"):
        answer = await city.call("GET", f"{path}?token={token}", headers=UPGRADE)
        assert (answer.status, answer.content["code"]) == (401, "token_invalid"), token


@pytest.mark.parametrize("path", SOCKETS)
async def test_unencodable_auth_event_gets_error_frame(city: InProcessCity, path: str) -> None:
    async with city.session.ws_connect(f"ws://{HOST}:{ports(city)[0]}{path}") as socket:
        await socket.send_json({"event": "auth", "token": SURROGATE})
        while (event := await next_frame(socket))["event"] != "error":
            pass
        assert event["code"] == "token_invalid"
        await socket.send_json({"event": "nonsense"})
        assert (await next_frame(socket))["code"] == "no_such_event", "the socket goes on"


@pytest.mark.parametrize("path", SOCKETS)
async def test_origin_that_is_no_text_is_refused(city: InProcessCity, path: str) -> None:
    for origin in (b"http://\xff", b"\xff", b"http://[", b"http://\xed\xa0\x80"):
        assert await status_of(ports(city)[0], path.encode(), websocket((b"Origin", origin))) in {400, 403}, origin


@pytest.mark.parametrize(
    "host", [b"127.0.0.1:99999", b"127.0.0.1:abc", b":abc", b"\xff", b"[::1", b"", b"a b", b"@:1:2"]
)
async def test_host_that_is_none_is_a_4xx(city: InProcessCity, host: bytes) -> None:
    assert await status_of(ports(city)[0], b"/city/rooms", ((b"Host", host),)) < 500
    assert 400 <= await status_of(ports(city)[1], b"/internal/matrix/presence/@a:b", ((b"Host", host),)) < 500


BYTES = st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\r\n\0"))
ODD = st.sampled_from(
    [
        b"\xff",
        b"\xed\xa0\x80",
        b"%FF",
        b"%ED%A0%80",
        b"%00",
        b"\xd0\xae",
        b"9" * 30,
        b"-1",
        b"NaN",
        b"{}",
        b"[",
        b"\x7f",
        b"=?;,",
    ]
)
VALUES = st.lists(
    BYTES | ODD | st.sampled_from([SURROGATE.encode(), b"Bearer ", b"http://", b"bytes=", b'"']), max_size=3
).map(b"".join)
HEADERS = st.sampled_from(
    [
        *(
            b"Authorization",
            b"Origin",
            b"Host",
            b"Accept",
            b"Accept-Encoding",
            b"Accept-Language",
            b"Content-Type",
            b"Cookie",
        ),
        *(b"If-None-Match", b"If-Modified-Since", b"If-Range", b"Range", b"Last-Event-ID", b"User-Agent", b"Referer"),
        *(
            b"X-Forwarded-For",
            b"X-Forwarded-Proto",
            b"Forwarded",
            b"Content-Length",
            b"Transfer-Encoding",
            b"Expect",
            b"Upgrade",
        ),
        *(
            b"Sec-WebSocket-Key",
            b"Sec-WebSocket-Version",
            b"Sec-WebSocket-Protocol",
            b"Sec-WebSocket-Extensions",
            b"TE",
        ),
        *(b"Access-Control-Request-Method", b"Access-Control-Request-Headers", b"Content-Encoding", b"If-Match"),
    ]
)
PATHS = st.sampled_from(
    [
        *(
            b"/",
            b"/city/rooms",
            b"/city/rooms/general",
            b"/city/rooms/",
            b"/city/rooms/general/messages",
            b"/city/feed",
        ),
        *(
            b"/city/media/hs/x",
            b"/city/media/",
            b"/api/v1/agents/",
            b"/api/v1/presence",
            b"/api/v1/nodes/",
            b"/api/v1/microdaos/",
        ),
        *(
            b"/ws/city/presence",
            b"/ws/city/rooms/general",
            b"/ws/city/rooms/",
            b"/openapi.json",
            b"/docs",
            b"/assets/",
            b"/city/general",
        ),
        *(
            b"/internal/matrix/presence/",
            b"/internal/matrix/presence/bulk",
            b"/_matrix/app/v1/users/",
            b"/_matrix/app/v1/rooms/",
        ),
        *(
            b"/_matrix/app/v1/transactions/",
            b"/_matrix/app/v1/thirdparty/user/daarion",
            b"/readyz",
            b"/metrics",
            b"/healthz",
        ),
    ]
)
QUERIES = st.sampled_from(
    [b"", b"?limit=", b"?before=", b"?sort=", b"?ids=", b"?since=", b"?token=", b"?user_ids=", b"?q=", b"?"]
)
REQUESTS = st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"]),
    st.tuples(PATHS, VALUES | st.just(b""), QUERIES, VALUES).map(b"".join).map(lambda path: path.replace(b" ", b"%20")),
    st.lists(st.tuples(HEADERS, VALUES), max_size=3).map(tuple),
    st.booleans(),
)


def some_requests(count: int) -> list[Any]:
    drawn: list[Any] = []

    @settings(
        max_examples=count // 20,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(REQUESTS, min_size=20, max_size=20))
    def draw(requests: list[Any]) -> None:
        drawn.extend(requests)

    draw()
    return drawn


async def test_no_bytes_whatsoever_get_a_5xx(city: InProcessCity) -> None:
    with capture_logs() as logs:
        for method, path, headers, is_socket in some_requests(400):
            sent = websocket(*headers) if is_socket else headers
            for port in ports(city):
                status = await status_of(port, path, sent, method=method)
                assert status < 500 or (status == 503 and path.startswith(b"/readyz")), (method, path, sent)
    assert [entry for entry in logs if entry["log_level"] in {"error", "critical"}] == []
    answer = await city.call("POST", "/city/rooms/general/messages", {"body": "hi"}, token=citizen_token("u_1"))
    assert answer.status == 201
