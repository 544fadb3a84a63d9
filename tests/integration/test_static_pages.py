"""Serving of the city's pages: paths, content codings, caching, security headers, precedence of API routes."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from daarion_appservice.city.slugs import RESERVED
from daarion_appservice.city.types import RoomId
from daarion_appservice.wiring import servers
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.unit.test_reference import installed_routes

PAGES = [
    "/",
    "/city",
    "/city/general",
    "/city/feed-of-obolon",
    "/city/%D0%9F",
    "/city/general/0192f0a1",
    "/secondme",
    "/search",
    "/places",
    "/agents",
    "/agents/daarwizz",
    "/nodes/node-1",
    "/microdao/daarion",
]
DOCUMENT = "<!doctype html><title>Місто</title>" + "<p>Добрий вечір</p>" * 100
SCRIPT = "export const city = 'Київ';\n" * 100


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Built pages, and private files beside them."""
    folder = tmp_path / "web_dist"
    (folder / "assets").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("the city's own")
    files = {
        "index.html": DOCUMENT,
        "assets/city-a1b2c3.js": SCRIPT,
        "favicon.svg": "<svg/>",
        "service-worker.js": SCRIPT,
        "widget.js": SCRIPT,
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    for name in ("index.html", "assets/city-a1b2c3.js"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / f"{name}.br").write_bytes(b"as Brotli packs it")
    monkeypatch.setattr(servers, "DIST", folder)
    return folder


@pytest.fixture
async def city(dist: Path, sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        yield city


async def ask(
    city: InProcessCity, path: str, method: str = "GET", **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Without unpacking what comes."""
    address = URL(f"http://{HOST}:{city.city.settings.api.port}{path}", encoded=True)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session,
        session.request(method, address, headers=sent) as answer,
    ):
        return answer, await answer.read()


# --- pages --------------------------------------------------------------------------------------------


async def test_every_page_returns_the_document(city: InProcessCity) -> None:
    for path in PAGES:
        answer, content = await ask(city, path)
        assert (path, answer.status, content.decode().partition("<p>")[2]) == (path, 200, DOCUMENT.partition("<p>")[2])
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        head, nothing = await ask(city, path, "HEAD")
        assert (head.status, nothing, head.headers["ETag"]) == (200, b"", answer.headers["ETag"])


async def test_page_has_strict_security_policy(city: InProcessCity) -> None:
    answer, _ = await ask(city, "/")
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; worker-src 'self'; manifest-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "microphone=(self)" in answer.headers["Permissions-Policy"]


async def test_frame_ancestors_setting_allows_embedding(dist: Path, sqlite_url: str) -> None:
    origins = ["https://app.element.io", "http://localhost:8080"]
    async with in_process_city(sqlite_url, web={"frame_ancestors": origins}) as city:
        answer, _ = await ask(city, "/city")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors https://app.element.io http://localhost:8080")


async def test_only_embedded_chat_allows_embed_ancestors(dist: Path, sqlite_url: str) -> None:
    web = {
        "frame_ancestors": ["https://app.element.io"],
        "embed_ancestors": ["https://shop.example", "http://localhost:*"],
    }
    async with in_process_city(sqlite_url, web=web) as city:
        chat, content = await ask(city, "/embed/general")
        assert (chat.status, content.decode(), chat.headers["Cache-Control"]) == (200, DOCUMENT, "no-cache")
        policy = chat.headers["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors https://shop.example http://localhost:*")
        assert chat.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert chat.headers["X-Robots-Tag"] == "noindex"
        for path in (*PAGES, "/embed", "/embed/general/1"):
            page, _ = await ask(city, path, Accept="text/html")
            policy = page.headers["Content-Security-Policy"]
            assert (path, policy.endswith("frame-ancestors https://app.element.io")) == (path, True)


async def test_sign_in_window_has_no_frame_and_keeps_opener(dist: Path, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, web={"embed_ancestors": ["https://shop.example"]}) as city:
        window, content = await ask(city, "/embed/sign-in?state=1")
        assert (window.status, content.decode()) == (200, DOCUMENT)
        assert window.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        assert window.headers["Cross-Origin-Opener-Policy"] == "unsafe-none"


async def test_chat_has_no_ancestors_by_default(city: InProcessCity) -> None:
    chat, _ = await ask(city, "/embed/general")
    assert chat.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
    script, content = await ask(city, "/widget.js")
    assert (script.status, script.headers["Content-Type"]) == (404, "application/problem+json")
    assert b"web.embed_ancestors" in content


async def test_widget_script_is_for_other_origins(dist: Path, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, web={"embed_ancestors": ["https://shop.example"]}) as city:
        script, content = await ask(city, "/widget.js", Origin="https://shop.example")
        assert (script.status, content.decode()) == (200, SCRIPT)
        assert script.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert script.headers["Access-Control-Allow-Origin"] == "*"
        assert script.headers["Cache-Control"] == "public, max-age=3600, stale-while-revalidate=86400"
        again, _ = await ask(city, "/widget.js", If_None_Match=script.headers["ETag"])
        assert again.status == 304


async def test_page_is_revalidated_by_etag(city: InProcessCity) -> None:
    for path in ("/", "/city/general", "/city/nowhere"):
        first, document = await ask(city, path)
        assert first.headers["Cache-Control"] == "no-cache"
        again, nothing = await ask(city, path, If_None_Match=first.headers["ETag"])
        assert (again.status, nothing) == (304, b"")
        assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]
        other, content = await ask(city, path, If_None_Match='W/"another"')
        assert (other.status, content) == (200, document)


async def test_unknown_path_returns_page_or_problem(city: InProcessCity) -> None:
    for path in ("/agentz", "/city/", "/assets"):
        shown, content = await ask(city, path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
        assert (shown.status, content.decode()) == (404, DOCUMENT)
        etag = shown.headers["ETag"]
        assert (await ask(city, path, Accept="text/html", If_None_Match=etag))[0].status == 404
        response, content = await ask(city, path, Accept="*/*")
        assert (response.status, response.headers["Content-Type"]) == (404, "application/problem+json")
    answer, _ = await ask(city, "/city/rooms/nowhere", Accept="text/html")
    assert answer.headers["Content-Type"] == "application/problem+json", "the API answers all alike"


async def test_page_requests_count_as_reads(dist: Path, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, limits={"reads": "3/hour"}) as city:
        statuses = [
            (await ask(city, path, X_Forwarded_For="203.0.113.7"))[0].status
            for path in ("/", "/assets/city-a1b2c3.js", "/favicon.svg", "/agents")
        ]
        assert statuses == [200, 200, 200, 429]


# --- files --------------------------------------------------------------------------------------------


async def test_asset_is_immutable(city: InProcessCity) -> None:
    script, content = await ask(city, "/assets/city-a1b2c3.js")
    assert (script.status, content.decode()) == (200, SCRIPT)
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    icon, _ = await ask(city, "/favicon.svg")
    assert (icon.headers["Content-Type"], icon.headers["Cache-Control"]) == ("image/svg+xml", "no-cache")
    assert "default-src 'none'" in icon.headers["Content-Security-Policy"], "it is a document when opened by itself"


async def test_service_worker_is_revalidated(city: InProcessCity) -> None:
    worker, content = await ask(city, "/service-worker.js")
    assert (worker.status, content.decode()) == (200, SCRIPT)
    # A worker's scope is the folder of its script, and browsers take it only as JavaScript.
    assert worker.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert worker.headers["Cache-Control"] == "no-cache"
    assert "connect-src 'self'" in worker.headers["Content-Security-Policy"], "what the worker itself may fetch"


async def test_service_worker_ignores_api_routes() -> None:
    source = (Path(__file__).parents[2] / "web" / "worker" / "serviceWorker.ts").read_text()
    found = re.search(r"const PAGE =\s+/(.+)/;", source)
    assert found is not None
    pattern = re.compile(found[1].replace("\\/", "/"))
    assert [path for path in PAGES if not pattern.match(path)] == []
    routes = [route.split()[1] for route in await installed_routes()]
    assert [path for path in routes if pattern.match(path)] == []
    assert [slug for slug in RESERVED if pattern.match(f"/city/{slug}")] == []


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("web/worker/serviceWorker.ts", r"const PAGE =\s+.*city\(\\/\(\?!\(([a-z|-]+)\)\(\\/\|\$\)\)"),
        ("web/vite.config.ts", r"const cityApi =\s+.*\(city/\(([a-z|-]+)\)"),
        ("docs/explanation/pages.md", r"that the API uses below `/city/`\n\(([^)]+)\)"),
    ],
)
def test_reserved_slugs_are_the_same_everywhere(file: str, names: str) -> None:
    found = re.search(names, (Path(__file__).parents[2] / file).read_text())
    assert found is not None
    assert set(re.findall(r"[a-z-]+", found[1])) == RESERVED


async def test_manifest_has_name_of_city(dist: Path, sqlite_url: str) -> None:
    (dist / "manifest.webmanifest").write_text('{"name": "DAARION", "short_name": "DAARION", "start_url": "/"}')
    async with in_process_city(sqlite_url, city={"name": "Поділ"}) as city:
        manifest, content = await ask(city, "/manifest.webmanifest", Accept_Encoding="gzip")
        assert manifest.headers["Content-Type"] == "application/manifest+json"
        assert manifest.headers["Cache-Control"] == "no-cache"
        assert json.loads(content) == {"name": "Поділ", "short_name": "Поділ", "start_url": "/"}


async def test_precompressed_file_is_chosen(city: InProcessCity) -> None:
    plain, whole = await ask(city, "/assets/city-a1b2c3.js")
    zipped, content = await ask(city, "/assets/city-a1b2c3.js", Accept_Encoding="gzip, deflate")
    assert (zipped.headers["Content-Encoding"], gzip.decompress(content)) == ("gzip", whole)
    best, content = await ask(city, "/city/nowhere", Accept_Encoding="gzip, deflate, br")
    assert (best.headers["Content-Encoding"], content) == ("br", b"as Brotli packs it")
    _, plain_page = await ask(city, "/city/general")
    page, content = await ask(city, "/city/general", Accept_Encoding="gzip, deflate, br")
    assert (page.headers["Content-Encoding"], gzip.decompress(content)) == ("gzip", plain_page)
    assert {answer.headers["Vary"] for answer in (plain, zipped, best)} == {"Accept-Encoding"}
    icon, content = await ask(city, "/favicon.svg", Accept_Encoding="br")
    assert (icon.headers.get("Content-Encoding"), icon.headers.get("Vary"), content) == (None, None, b"<svg/>")


async def test_path_outside_build_gets_404(city: InProcessCity) -> None:
    for path in (
        "/assets/city-older.js",
        "/assets/",
        "/assets/city-a1b2c3.js.br",
        "/assets/../index.html",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/../secret.txt",
        "/secret.txt",
        "/index.html",
    ):
        answer, content = await ask(city, path)
        assert (path, answer.status) == (path, 404)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert b"the city's own" not in content


# --- beside the API -----------------------------------------------------------------------------------


async def test_pages_and_routes_do_not_overlap() -> None:
    below_city = {route.split()[1].split("/")[2] for route in await installed_routes() if " /city/" in route}
    assert below_city == RESERVED


async def test_reserved_path_is_no_page(city: InProcessCity) -> None:
    for slug in RESERVED:
        answer, _ = await ask(city, f"/city/{slug}")
        assert answer.headers["Content-Type"].startswith(("application/json", "application/problem+json"))


async def test_page_of_room_with_reserved_slug_moves(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.find("general")
        assert room is not None
        await tx.rooms.add(replace(room, id=RoomId("city_push"), slug="push", matrix_room_id=None), created_by=None)
    base, page = f"http://{HOST}:{city.city.settings.api.port}", {"Accept": "text/html,*/*;q=0.8"}
    url = f"{base}/city/push"
    async with city.session.get(url, headers=page, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/city/city_push")
    async with city.session.get(f"{url}/01ABC", headers=page) as answer:
        assert (answer.status, answer.url.path) == (200, "/city/city_push/01ABC")
    async with city.session.get(URL(f"{url}/%0D%0Aa%2Fb", encoded=True), headers=page, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/city/city_push/%0D%0Aa%2Fb"
    async with city.session.get(url, headers=page | {"Host": "evil.example"}, allow_redirects=False) as answer:
        assert answer.status == 421, "the host is checked first"
    assert (await city.get("/city/rooms/city_push"))["slug"] == "push"
    for path, headers in (("/city/push", {"Accept": "*/*"}), ("/city/feed", page)):
        async with city.session.get(base + path, headers=headers, allow_redirects=False) as answer:
            assert "json" in answer.headers["Content-Type"], "no such room, or no browser"


async def test_room_with_reserved_slug_is_refused(city: InProcessCity) -> None:
    oksana = citizen_token("u_1", "Оксана")
    refused = await city.call("POST", "/city/rooms", {"name": "Новини", "slug": "feed"}, token=oksana)
    assert (refused.status, refused.content["code"]) == (422, "slug_invalid")
    opened = await city.call("POST", "/city/rooms", {"name": "Home"}, token=oksana)
    assert (opened.status, opened.content["slug"]) == (201, "home-room")


async def test_cors_applies_to_api_only(city: InProcessCity) -> None:
    there = "https://city.example"
    api, _ = await ask(city, "/city/rooms", Origin=there)
    assert api.headers["Access-Control-Allow-Origin"] == there
    page, _ = await ask(city, "/", Origin=there)
    assert "Access-Control-Allow-Origin" not in page.headers


async def test_missing_build_gets_503(sqlite_url: str, dist: Path, tmp_path: Path) -> None:
    dist.rename(tmp_path / "elsewhere")
    with capture_logs() as logs:
        async with in_process_city(sqlite_url) as city:
            for path in PAGES:
                answer, content = await ask(city, path)
                assert (answer.status, answer.headers["Cache-Control"]) == (503, "no-store")
                assert b"make web" in content
            assert (await ask(city, "/city/rooms"))[0].status == 200
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["pages_missing"]


async def test_disabled_pages_leave_the_api(dist: Path, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, web={"enabled": False}) as city:
        for path in (*PAGES, "/assets/city-a1b2c3.js", "/favicon.svg"):
            assert (await ask(city, path))[0].status == 404
        assert (await ask(city, "/docs"))[0].status == 200
