"""Compression and conditional requests of shared JSON responses."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

OKSANA = citizen_token("u_1", "Оксана")
MESSAGES = "/city/rooms/general/messages"


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        for number in range(5):
            body = {"body": f"{number} " + "багато слів " * 30}
            assert (await city.call("POST", MESSAGES, body, token=OKSANA)).status == 201
        yield city


async def fetch(city: InProcessCity, path: str, **headers: str) -> tuple[int, bytes, Any]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = f"http://{HOST}:{city.city.settings.api.port}{path}"
        async with session.get(url, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.mark.parametrize("path", [MESSAGES, "/city/rooms", "/city/rooms/general", "/api/v1/agents", "/city/feed"])
async def test_long_response_is_compressed_if_accepted(city: InProcessCity, path: str) -> None:
    _, plain, headers = await fetch(city, path, **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in headers
    _, packed, headers = await fetch(city, path, **{"Accept-Encoding": "br, gzip;q=0.5"})
    if len(plain) < 1024:
        assert "Content-Encoding" not in headers
        return
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert len(packed) < len(plain) / 2
    assert orjson.loads(gzip.decompress(packed)).__class__ is orjson.loads(plain).__class__


@pytest.mark.parametrize("path", [MESSAGES, "/city/rooms"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_cached_response_gets_304_until_change(city: InProcessCity, path: str, encoding: str) -> None:
    _, _, headers = await fetch(city, path)
    known = {"If-None-Match": headers["ETag"], "Accept-Encoding": encoding}
    status, body, again = await fetch(city, path, **known)
    assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
    assert again["Cache-Control"] == "private, no-cache"
    await city.call("POST", MESSAGES, {"body": "нове"}, token=OKSANA)
    assert (await fetch(city, path, **known))[0] == 200


async def test_response_with_token_is_not_compressed(city: InProcessCity) -> None:
    made = await city.call(
        "POST", "/api/v1/agents/scribe/tokens", token=ADMIN_TOKEN, headers={"Accept-Encoding": "gzip"}
    )
    assert made.status == 201
    assert not {"Content-Encoding", "ETag"} & set(made.headers)
    mine = await city.call("GET", "/secondme/history?user_id=u_1", token=OKSANA, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in mine.headers
