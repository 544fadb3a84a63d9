"""Uploads: limits, types, principals, and aborted requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.parts.city import eventually
from tests.parts.in_process_city import SERVICE_TOKEN
from tests.parts.media_harness import HTML, OKSANA, PNG, MediaHarness, media_harness
from tests.parts.ports import HOST


async def test_upload_over_limit_is_refused_unread(sqlite_url: str) -> None:
    async with media_harness(sqlite_url, media={"max_upload_bytes": 1000}) as harness:
        answer = await harness.upload(b"x" * 1001, "text/plain")
        assert (answer.status, answer.content["code"]) == (413, "media_too_large")
        assert answer.content["detail"] == "the file has 1001 bytes; the limit is 1000"
        assert (await harness.upload(b"x" * 1000, "text/plain")).status == 201


async def test_upload_over_homeserver_limit_is_413(harness: MediaHarness) -> None:
    harness.repository.max_upload_bytes = 100
    answer = await harness.upload(b"x" * 101, "text/plain")
    assert (answer.status, answer.content["detail"]) == (413, "the file has 101 bytes; the limit is 100")
    assert harness.repository.requests == []


async def test_upload_limit_without_homeserver_limit(harness: MediaHarness) -> None:
    harness.repository.max_upload_bytes = None
    assert (await harness.upload(b"x" * 3_000_000, "text/plain")).status == 201
    assert len(harness.repository.files["file0"][0]) == 3_000_000


async def test_upload_with_wrong_content_type_is_415(harness: MediaHarness) -> None:
    for content, mimetype, status, code in (
        (HTML, "image/png", 415, "media_type_mismatch"),
        (PNG, "image/jpeg", 415, "media_type_mismatch"),
        (PNG, "text/html", 415, "media_type_mismatch"),
        (b"--x", "multipart/form-data; boundary=x", 415, "media_type_mismatch"),
        (b"", "image/png", 422, "media_empty"),
    ):
        answer = await harness.upload(content, mimetype)
        assert (answer.status, answer.content["code"]) == (status, code), mimetype
    assert harness.repository.uploads == []


async def test_allowed_types_limit_uploads(sqlite_url: str) -> None:
    async with media_harness(sqlite_url, media={"allowed_types": ["image/*"]}) as harness:
        assert (await harness.upload()).status == 201
        answer = await harness.upload(b"%PDF-1.7", "application/pdf")
        assert (answer.status, answer.content["code"]) == (415, "media_type_not_allowed")


async def test_upload_needs_content_length_and_no_encoding(harness: MediaHarness) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield PNG

    headers = {"Authorization": f"Bearer {OKSANA}", "Content-Type": "image/png"}
    url = f"{harness.url}/city/media"
    async with harness.city.session.post(url, data=pieces(), headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (411, "media_size_unknown")
    packed = await harness.city.call(
        "POST", "/city/media", token=OKSANA, body=PNG, headers={"Content-Type": "image/png", "Content-Encoding": "gzip"}
    )
    assert packed.content["code"] in {"media_size_unknown", "bad_request"}
    assert harness.repository.requests == []


@pytest.mark.parametrize("token", [None, SERVICE_TOKEN])
async def test_upload_is_for_citizens_and_agents_only(harness: MediaHarness, token: str | None) -> None:
    assert (await harness.upload(token=token)).status == (403 if token else 401)
    assert harness.repository.requests == []


async def test_agent_upload_is_sent_as_its_ghost(harness: MediaHarness) -> None:
    token = await harness.city.agent_token("scribe")
    upload = await harness.upload(token=token)
    assert harness.repository.uploads[0].query["user_id"] == "@agent_scribe:city.localhost"
    assert (await harness.post(token=token, media=upload.content["mxc"])).status == 201


async def test_upload_aborted_by_client_is_discarded(harness: MediaHarness) -> None:
    port = harness.city.city.settings.api.port
    _, writer = await asyncio.open_connection(HOST, port)
    head = f"POST /city/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OKSANA}\r\nContent-Type: text/plain\r\n"
    writer.write(f"{head}Content-Length: 300000\r\n\r\n".encode() + b"x" * 200_000)
    await writer.drain()

    async def is_requested() -> bool:
        return bool(harness.repository.requests)

    await eventually(is_requested)
    writer.transport.abort()
    assert (await harness.upload()).status == 201, "the city goes on"
    assert list(harness.repository.files) == ["file0"]
    assert harness.repository.files["file0"][0] == PNG
