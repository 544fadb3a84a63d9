"""Requests to the city listener, and checks of its error responses."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

from tests.parts.city import citizen_token
from tests.parts.in_process_city import HttpResponse, InProcessCity
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

OKSANA = citizen_token("u_123", "Оксана")
MESSAGES = "/city/rooms/general/messages"
HEARTBEAT = "/api/v1/agents/scribe/heartbeat"
INTERNAL = "/internal/matrix/presence"

TIMESTAMP = "a timestamp"

_PROBLEM_FIELDS = {"type", "title", "status", "code", "detail"}


def problem_of(answer: HttpResponse) -> tuple[int, str]:
    """Return the status and code of a response that is an RFC 9457 problem."""
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
    assert answer.content.keys() - {"errors"} == _PROBLEM_FIELDS
    code = answer.content["code"]
    assert (answer.content["status"], answer.content["type"]) == (answer.status, f"urn:daarion:problem:{code}")
    assert answer.content["detail"]
    return answer.status, code


def matrix_error_of(answer: HttpResponse) -> tuple[int, str]:
    """Return the status and error code of a response that is a Matrix error."""
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.content.keys() == {"errcode", "error"}
    return answer.status, answer.content["errcode"]


async def raw_response(city: InProcessCity, request: bytes) -> bytes:
    """Send bytes to the city listener, and return the first 64 KiB of the response."""
    reader, writer = await asyncio.open_connection(HOST, city.city.settings.api.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(65_536), WAIT_S)
    finally:
        writer.close()


async def post_message(
    city: InProcessCity, body: str, *, token: str = OKSANA, room: str = "general", **fields: Any
) -> Any:
    """Post a message as a citizen, by default, and return it."""
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body} | fields, token=token)
    assert answer.status in {200, 201}, answer
    return answer.content


def with_placeholders(content: dict[str, Any]) -> dict[str, Any]:
    """Return a response whose timestamps, which must be of the last minute, are replaced by ``TIMESTAMP``."""
    shape = dict(content)
    for key in ("created_at", "last_event", "edited_at"):
        if isinstance(value := shape.get(key), str):
            assert value.endswith("Z")
            assert abs(datetime.fromisoformat(value).timestamp() - time.time()) < 60
            shape[key] = TIMESTAMP
    return shape


def nested(depth: int) -> Any:
    """Return lists nested ``depth`` levels deep."""
    content: Any = []
    for _ in range(depth - 1):
        content = [content]
    return content


async def call_internal(city: InProcessCity, method: str, path: str, content: Any = ..., **more: Any) -> HttpResponse:
    """Send a request to ``/internal/matrix/presence``."""
    return await city.call(method, f"{INTERNAL}{path}", content, listener="matrix", **more)
