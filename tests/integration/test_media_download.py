"""Downloads and thumbnails: headers, caching, and the translation of the homeserver's errors."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daarion_appservice.errors import HomeserverUnavailable
from tests.parts.city import eventually
from tests.parts.fake_media_repository import SERVER, refused
from tests.parts.media_harness import HTML, OKSANA, PNG, TARAS, MediaHarness, media_harness


async def test_download_has_security_headers(harness: MediaHarness) -> None:
    await harness.receive_file("cat", content_type="text/html")
    status, content, headers = await harness.get("cat")
    assert (status, content, headers["Content-Type"]) == (200, PNG, "image/png")
    assert headers["Content-Disposition"].startswith("inline;")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Cache-Control"] == "public, max-age=600, immutable"


async def test_other_types_are_attachments(harness: MediaHarness) -> None:
    for content, called, given in (
        (HTML, "image/png", "application/octet-stream"),
        (HTML, "text/html; charset=utf-8", "application/octet-stream"),
        (HTML, "image/svg+xml", "application/octet-stream"),
        (b"a,b", "text/csv", "text/csv; charset=utf-8"),
        (b"%PDF-1.7", "application/pdf", "application/pdf"),
    ):
        await harness.receive_file("file", content, called)
        status, answered, headers = await harness.get("file")
        assert (status, answered, headers["Content-Type"]) == (200, content, given)
        assert headers["Content-Disposition"].startswith("attachment;")


async def test_content_disposition_encodes_filename(harness: MediaHarness) -> None:
    await harness.receive_file("file")

    async def named(_request: web.Request) -> web.Response:
        disposition = "inline; filename*=utf-8''%D0%BA%D1%96%D1%82%22%0D%0AX%3A%20y.png"
        return web.Response(body=PNG, headers={"Content-Type": "image/png", "Content-Disposition": disposition})

    harness.repository.answer = named
    _, _, headers = await harness.get("file")
    assert headers["Content-Disposition"] == (
        "inline; filename=\"____X: y.png\"; filename*=UTF-8''%D0%BA%D1%96%D1%82%22X%3A%20y.png"
    )
    assert "X" not in headers


async def test_download_is_revalidated_by_etag(harness: MediaHarness) -> None:
    event_id = await harness.receive_file("cat")
    _, _, headers = await harness.get("cat")
    count = len(harness.repository.requests)
    status, content, again = await harness.get("cat", **{"If-None-Match": headers["ETag"]})
    assert (status, content, again["ETag"], again["Cache-Control"]) == (
        304,
        b"",
        headers["ETag"],
        headers["Cache-Control"],
    )
    status, _, _ = await harness.get("cat", "/thumbnail", **{"If-None-Match": headers["ETag"]})
    assert status == 200, "another picture"
    assert len(harness.repository.requests) == count + 1
    await harness.receive("m.room.redaction", {"redacts": event_id})
    status, _, _ = await harness.get("cat", **{"If-None-Match": headers["ETag"]})
    assert status == 404, "even to who has it already"


async def test_large_file_is_downloaded_completely(harness: MediaHarness) -> None:
    content = PNG + bytes(range(256)) * 40_000
    await harness.receive_file("large", content)
    status, given, headers = await harness.get("large")
    assert (status, given == content, headers["Content-Length"]) == (200, True, str(len(content)))


async def test_download_over_limit_is_413(sqlite_url: str) -> None:
    async with media_harness(sqlite_url, media={"max_download_bytes": 100_000}) as harness:
        await harness.receive_file("exact", PNG + b"x" * (100_000 - len(PNG)))
        await harness.receive_file("large", PNG + b"x" * 100_001)
        assert await harness.status("exact") == 200
        assert (await harness.problem("large"))[:2] == (413, "media_too_large")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(PNG)
    while True:
        await response.write(b"x" * 60_000)


async def _cut_short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": "500000"})
    await response.prepare(request)
    await response.write(PNG + b"x" * 200_000)
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("answer", [_endless, _cut_short])
async def test_interrupted_download_aborts_connection(sqlite_url: str, answer: Any) -> None:
    async with media_harness(sqlite_url, media={"max_download_bytes": 600_000}) as harness:
        await harness.receive_file("file")
        harness.repository.answer = answer
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await harness.get("file")


async def test_homeserver_errors_of_download_are_translated(harness: MediaHarness) -> None:
    await harness.receive_file("cat")
    for answer, problem in (
        (refused(404, "M_NOT_FOUND"), (404, "no_such_media", None)),
        (refused(403, "M_FORBIDDEN"), (404, "no_such_media", None)),
        (refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=2500), (429, "too_many_requests", "3")),
        (refused(502, "M_UNKNOWN", "Failed to fetch remote media"), (503, "media_unavailable", "5")),
        (refused(504, "M_NOT_YET_UPLOADED"), (503, "media_unavailable", "5")),
        (refused(401, "M_UNKNOWN_TOKEN"), (503, "media_unavailable", "5")),
        (web.Response(status=502, text="<h1>nginx</h1>"), (503, "homeserver_unavailable", "5")),
        (web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}), (503, "media_unavailable", "5")),
    ):
        harness.repository.answer = _saying(answer)
        assert await harness.problem("cat") == problem


def _saying(answer: web.Response) -> Any:
    async def say(_request: web.Request) -> web.Response:
        return answer

    return say


async def test_missing_thumbnail_is_404(harness: MediaHarness) -> None:
    await harness.receive_file("cat")

    async def cannot(_request: web.Request) -> web.Response:
        return refused(400, "M_UNKNOWN", "Cannot find any thumbnails")

    harness.repository.answer = cannot
    assert (await harness.problem("cat", "/thumbnail"))[:2] == (404, "no_thumbnail")


async def test_thumbnail_sizes_are_snapped(harness: MediaHarness) -> None:
    await harness.receive_file("cat")
    queries: list[dict[str, str]] = []

    async def thumbnail(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        return web.Response(body=PNG, headers={"Content-Type": "image/png"})

    harness.repository.answer = thumbnail
    assert await harness.status("cat", "/thumbnail?width=33&height=1&method=crop") == 200
    assert await harness.status("cat", "/thumbnail") == 200
    assert queries == [
        {"width": "96", "height": "96", "method": "crop", "allow_redirect": "false"},
        {"width": "320", "height": "240", "method": "scale", "allow_redirect": "false"},
    ]
    for wrong in ("width=0", "width=x", "height=99999", "method=stretch"):
        assert (await harness.problem("cat", f"/thumbnail?{wrong}"))[:2] == (422, "invalid")


async def test_homeserver_unavailable_has_retry_after(harness: MediaHarness) -> None:
    await harness.receive_file("cat")
    harness.city.city.monitor.report_unavailable(HomeserverUnavailable("on purpose"))
    assert await harness.problem("cat") == (503, "homeserver_unavailable", "5")
    answer = await harness.upload()
    assert (answer.status, answer.content["code"], answer.headers["Retry-After"]) == (
        503,
        "homeserver_unavailable",
        "5",
    )
    harness.city.city.monitor.mark_up()
    assert (await harness.upload()).status == 201
    assert await harness.status("cat") == 200


async def test_legacy_media_api_is_used_as_fallback(harness: MediaHarness) -> None:
    harness.repository.is_old = True
    assert (await harness.upload()).status == 201
    await harness.receive_file("cat")
    assert await harness.status("cat") == 200
    assert await harness.status("cat", "/thumbnail") == 200
    assert harness.repository.requests[-2:] == [
        f"GET /_matrix/media/v3/download/{SERVER}/cat",
        f"GET /_matrix/media/v3/thumbnail/{SERVER}/cat",
    ]


async def test_homeserver_refusal_of_upload_is_403(harness: MediaHarness) -> None:
    async def full(request: web.Request) -> web.Response:
        await request.read()
        return refused(400, "M_UNKNOWN", "Media upload limit exceeded")

    harness.repository.answer = full
    answer = await harness.upload()
    assert (answer.status, answer.content["code"]) == (403, "media_refused")
    assert answer.content["detail"] == "the homeserver refuses the file: Media upload limit exceeded"


async def test_slow_client_does_not_block_others(sqlite_url: str) -> None:
    async with media_harness(sqlite_url, media={"transfers": 4}) as harness:
        await harness.receive_file("cat")
        end = asyncio.Event()

        async def take_forever(_request: web.Request) -> web.Response:
            await end.wait()
            return web.Response(body=PNG, headers={"Content-Type": "image/png"})

        harness.repository.answer = take_forever
        waiting = [asyncio.create_task(harness.status("cat", token=OKSANA)) for _ in range(8)]

        async def has_asked() -> bool:
            return bool(harness.repository.requests)

        await eventually(has_asked)
        harness.repository.answer = None
        assert await harness.status("cat", token=TARAS) == 200
        assert len(harness.repository.requests) == 2, "Oksana has her share of the places, and no more"
        end.set()
        assert await asyncio.gather(*waiting) == [200] * 8
