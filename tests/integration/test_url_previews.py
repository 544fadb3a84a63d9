"""The routes ``/city/preview``: who may call them, what they request from the homeserver, and their cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from daarion_appservice.city.types import CitizenId
from daarion_appservice.errors import HomeserverUnavailable, NotFound
from daarion_appservice.http.auth.principals import Citizen
from daarion_appservice.http.routes.url_previews import FoundPreviews
from daarion_appservice.matrix.client.url_previews import UrlPreviews
from tests.parts.city import ADMIN_TOKEN
from tests.parts.fake_media_repository import SERVER, refused
from tests.parts.in_process_city import SERVICE_TOKEN, HttpResponse
from tests.parts.media_harness import HTML, OKSANA, PNG, TARAS, MediaHarness, media_harness
from tests.parts.waiting import WAIT_S

PAGE = "https://example.org/page"
PREVIEW = {
    "og:title": "Фунікулер\nКиєва",
    "og:description": "Сполучає Поділ із Верхнім містом.",
    "og:site_name": "Вікіпедія",
    "og:image": f"mxc://{SERVER}/picture",
}
PREVIEW_URL = "GET /_matrix/client/v1/media/preview_url"


@pytest.fixture
async def harness(sqlite_url: str) -> AsyncIterator[MediaHarness]:
    async with media_harness(sqlite_url, media={"url_previews": True}, limits={"previews": "40/minute"}) as harness:
        harness.repository.answer = answer_with(PREVIEW)
        yield harness


def answer_with(preview: dict[str, Any] | web.Response) -> Any:
    """Return an answer of the homeserver: a preview, or the thumbnail of its picture."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/thumbnail/city.localhost/picture"):
            return web.Response(body=PNG, content_type="image/png")
        return preview if isinstance(preview, web.Response) else web.json_response(preview)

    return answer


async def ask(harness: MediaHarness, url: str = PAGE, *, token: str | None = OKSANA, tail: str = "") -> HttpResponse:
    return await harness.city.call("GET", f"/city/preview{tail}?url={quote(url, safe='')}", token=token)


async def test_preview_is_sanitized_and_cached(harness: MediaHarness) -> None:
    for token in (OKSANA, TARAS, await harness.city.agent_token("daarwizz")):
        answer = await ask(harness, PAGE + "#section", token=token)
        assert (answer.status, answer.content) == (
            200,
            {
                "url": PAGE,
                "title": "Фунікулер Києва",
                "description": "Сполучає Поділ із Верхнім містом.",
                "site_name": "Вікіпедія",
                "image_url": "/city/preview/image?url=https%3A%2F%2Fexample.org%2Fpage",
            },
        )
    assert harness.repository.requests == [PREVIEW_URL]


@pytest.mark.parametrize("tail", ["", "/image"])
async def test_only_citizens_and_agents_have_previews(harness: MediaHarness, tail: str) -> None:
    statuses = [(await ask(harness, token=token, tail=tail)).status for token in (None, ADMIN_TOKEN, SERVICE_TOKEN)]
    assert (statuses, harness.repository.requests) == ([401, 403, 403], [])


@pytest.mark.parametrize("tail", ["", "/image"])
async def test_private_address_is_not_requested(harness: MediaHarness, tail: str) -> None:
    for url in ("http://127.0.0.1:8008/", "http://synapse.internal/", "https://a:b@example.org/", "x"):
        answer = await ask(harness, url, tail=tail)
        assert (answer.status, answer.content["code"]) == (422, "url_not_public"), url
    for query in ("", "?url=", f"?url={'a' * 3000}"):
        answer = await harness.city.call("GET", f"/city/preview{tail}{query}", token=OKSANA)
        assert (answer.status, answer.content["code"]) == (422, "invalid"), query
    assert harness.repository.requests == []


@pytest.mark.parametrize("tail", ["", "/image"])
async def test_setting_off_requests_nothing(sqlite_url: str, tail: str) -> None:
    async with media_harness(sqlite_url) as harness:
        answer = await ask(harness, tail=tail)
        assert (answer.status, answer.content["code"], harness.repository.requests) == (404, "no_preview", [])


@pytest.mark.parametrize("response", [{}, refused(502, "M_UNKNOWN"), refused(404, "M_UNRECOGNIZED")])
async def test_absent_preview_is_cached(harness: MediaHarness, response: Any) -> None:
    harness.repository.answer = answer_with(response)
    for _ in range(2):
        answer = await ask(harness)
        assert (answer.status, answer.content["code"]) == (404, "no_preview")
    assert harness.repository.requests.count(PREVIEW_URL) == 1


async def test_old_homeserver_is_asked_by_old_path(harness: MediaHarness) -> None:
    harness.repository.is_old = True
    assert (await ask(harness)).status == 200
    assert harness.repository.requests == ["GET /_matrix/media/v3/preview_url"]


async def test_outage_is_not_cached(harness: MediaHarness) -> None:
    harness.city.city.monitor.report_unavailable(HomeserverUnavailable("down"))
    answer = await ask(harness)
    assert (answer.status, answer.content["code"]) == (503, "homeserver_unavailable")
    harness.city.city.monitor.mark_up()
    assert (await ask(harness)).status == 200


async def test_concurrent_requests_are_joined(harness: MediaHarness) -> None:
    release, answer = asyncio.Event(), harness.repository.answer
    assert answer is not None

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.wait_for(release.wait(), WAIT_S)
        return await answer(request)

    harness.repository.answer = slow
    asked = [asyncio.create_task(ask(harness, token=token)) for token in (OKSANA, TARAS, OKSANA)]
    await asyncio.wait_for(_until(lambda: bool(harness.repository.requests)), WAIT_S)
    release.set()
    assert [each.status for each in await asyncio.gather(*asked)] == [200, 200, 200]
    assert harness.repository.requests == [PREVIEW_URL]


async def _until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_previews_have_their_own_rate(harness: MediaHarness) -> None:
    statuses = [(await ask(harness)).status for _ in range(41)]
    assert statuses == [200] * 40 + [429]
    assert (await ask(harness, tail="/image")).status == 429
    assert (await ask(harness, token=TARAS)).status == 200


async def test_slow_page_has_no_preview(harness: MediaHarness) -> None:
    found, _ = _own_previews(harness, timeout_s=0.05)

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(WAIT_S)
        raise AssertionError

    harness.repository.answer = hang
    for _ in range(2):
        with pytest.raises(NotFound):
            await asyncio.wait_for(found.find(Citizen(CitizenId("u_1"), "Оксана"), PAGE), WAIT_S / 2)
    assert harness.repository.requests == [PREVIEW_URL]


async def test_cache_is_bounded_and_expires(harness: MediaHarness) -> None:
    found, clock = _own_previews(harness, cache_size=2)
    reader, requests = Citizen(CitizenId("u_1"), "Оксана"), harness.repository.requests
    for page in ("a", "b", "a", "c", "a"):
        await found.find(reader, f"https://example.org/{page}")
    assert len(requests) == 3
    await found.find(reader, "https://example.org/b")
    assert len(requests) == 4
    clock[0] += 3_600_000
    await found.find(reader, "https://example.org/b")
    assert len(requests) == 5


def _own_previews(harness: MediaHarness, **options: Any) -> tuple[FoundPreviews, list[int]]:
    """Return previews with other bounds, and their clock."""
    city, clock = harness.city.city, [0]
    previews = UrlPreviews(city.homeserver, city.monitor, lambda: clock[0], **options)
    return FoundPreviews(previews, city.settings.media), clock


async def test_picture_is_thumbnail_of_homeserver(harness: MediaHarness) -> None:
    url = f"{harness.url}/city/preview/image?url={quote(PAGE, safe='')}"
    headers = {"Authorization": f"Bearer {OKSANA}"}
    async with harness.city.session.get(url, headers=headers) as response:
        assert (response.status, await response.read()) == (200, PNG)
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["Cache-Control"] == "private, max-age=3600"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        etag = response.headers["ETag"]
    asked = list(harness.repository.requests)
    assert asked == [PREVIEW_URL, f"GET /_matrix/client/v1/media/thumbnail/{SERVER}/picture"]
    async with harness.city.session.get(url, headers=headers | {"If-None-Match": etag}) as response:
        assert (response.status, harness.repository.requests) == (304, asked)


async def test_only_pictures_are_served(harness: MediaHarness) -> None:
    for content, code in ((HTML, "no_thumbnail"), (None, "no_preview")):

        async def answer(request: web.Request, content: bytes | None = content) -> web.Response:
            if "preview_url" in request.path:
                return web.json_response(PREVIEW)
            return (
                refused(404, "M_NOT_FOUND") if content is None else web.Response(body=content, content_type="image/png")
            )

        harness.repository.answer = answer
        response = await ask(harness, tail="/image")
        assert (response.status, response.content["code"]) == (404, code)


async def test_preview_without_picture_has_none(harness: MediaHarness) -> None:
    harness.repository.answer = answer_with({"og:title": "A", "og:image": "https://example.org/tracker.png"})
    assert (await ask(harness)).content["image_url"] is None
    assert (await ask(harness, tail="/image")).status == 404
