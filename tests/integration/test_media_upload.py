"""Uploads: limits, types, principals, and aborted requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.parts.city import eventually
from tests.parts.gallery import HTML, OKSANA, PNG, Gallery, gallery_on
from tests.parts.in_process_city import SERVICE_TOKEN
from tests.parts.ports import HOST


async def test_upload_over_limit_is_refused_unread(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, media={"max_upload_bytes": 1000}) as gallery:
        answer = await gallery.upload(b"x" * 1001, "text/plain")
        assert (answer.status, answer.content["code"]) == (413, "media_too_large")
        assert answer.content["detail"] == "the file has 1001 bytes; the limit is 1000"
        assert (await gallery.upload(b"x" * 1000, "text/plain")).status == 201


async def test_upload_over_homeserver_limit_is_413(gallery: Gallery) -> None:
    gallery.keeper.max_upload_bytes = 100
    answer = await gallery.upload(b"x" * 101, "text/plain")
    assert (answer.status, answer.content["detail"]) == (413, "the file has 101 bytes; the limit is 100")
    assert gallery.keeper.asked == []


async def test_upload_limit_without_homeserver_limit(gallery: Gallery) -> None:
    gallery.keeper.max_upload_bytes = None
    assert (await gallery.upload(b"x" * 3_000_000, "text/plain")).status == 201
    assert len(gallery.keeper.files["file0"][0]) == 3_000_000


async def test_upload_with_wrong_content_type_is_415(gallery: Gallery) -> None:
    for content, mimetype, status, code in (
        (HTML, "image/png", 415, "media_type_wrong"),
        (PNG, "image/jpeg", 415, "media_type_wrong"),
        (PNG, "text/html", 415, "media_type_wrong"),
        (b"--x", "multipart/form-data; boundary=x", 415, "media_type_wrong"),
        (b"", "image/png", 422, "media_empty"),
    ):
        answer = await gallery.upload(content, mimetype)
        assert (answer.status, answer.content["code"]) == (status, code), mimetype
    assert gallery.keeper.uploads == []


async def test_allowed_types_limit_uploads(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, media={"allowed_types": ["image/*"]}) as gallery:
        assert (await gallery.upload()).status == 201
        answer = await gallery.upload(b"%PDF-1.7", "application/pdf")
        assert (answer.status, answer.content["code"]) == (415, "media_type_not_allowed")


async def test_upload_needs_content_length_and_no_encoding(gallery: Gallery) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield PNG

    headers = {"Authorization": f"Bearer {OKSANA}", "Content-Type": "image/png"}
    url = f"{gallery.url}/city/media"
    async with gallery.town.session.post(url, data=pieces(), headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (411, "media_size_unknown")
    packed = await gallery.town.call(
        "POST", "/city/media", token=OKSANA, body=PNG, headers={"Content-Type": "image/png", "Content-Encoding": "gzip"}
    )
    assert packed.content["code"] in {"media_size_unknown", "bad_request"}
    assert gallery.keeper.asked == []


@pytest.mark.parametrize("token", [None, SERVICE_TOKEN])
async def test_upload_is_for_citizens_and_agents_only(gallery: Gallery, token: str | None) -> None:
    assert (await gallery.upload(token=token)).status == (403 if token else 401)
    assert gallery.keeper.asked == []


async def test_agent_upload_is_sent_as_its_ghost(gallery: Gallery) -> None:
    token = await gallery.town.agent_token("scribe")
    upload = await gallery.upload(token=token)
    assert gallery.keeper.uploads[0].query["user_id"] == "@agent_scribe:city.localhost"
    assert (await gallery.post(token=token, media=upload.content["mxc"])).status == 201


async def test_upload_aborted_by_client_is_discarded(gallery: Gallery) -> None:
    port = gallery.town.city.settings.api.port
    _, writer = await asyncio.open_connection(HOST, port)
    head = f"POST /city/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OKSANA}\r\nContent-Type: text/plain\r\n"
    writer.write(f"{head}Content-Length: 300000\r\n\r\n".encode() + b"x" * 200_000)
    await writer.drain()

    async def is_asked() -> bool:
        return bool(gallery.keeper.asked)

    await eventually(is_asked)
    writer.transport.abort()
    assert (await gallery.upload()).status == 201, "the city goes on"
    assert list(gallery.keeper.files) == ["file0"]
    assert gallery.keeper.files["file0"][0] == PNG
