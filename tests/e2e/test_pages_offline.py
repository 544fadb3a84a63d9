"""The pages without network or service: the service worker opens them, and upgrades replace its cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from daarion_appservice.city.types import HistoryVisibility
from daarion_appservice.http.static_pages import DIST
from daarion_appservice.wiring import servers
from tests.parts.browser import SAVE_DATA, Browser, start_browser
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity
from tests.parts.restarted_service import Service
from tests.parts.service_worker import seen_by, settled, until_seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN: Final = ("u_ann", "Ann")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    service = Service(tmp_path)
    shutil.copytree(DIST, service.dist)
    monkeypatch.setattr(servers, "DIST", service.dist)
    try:
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def reader(first: Browser) -> AsyncIterator[Browser]:
    browser = await first.other_profile(locale="en-US", service_workers="allow")
    try:
        yield browser
    finally:
        await browser.kill()


async def open_page(browser: Browser, service: Service, path: str) -> Page:
    page = (await browser.open(service.address("/secondme"))).page
    await page.evaluate("token => localStorage.setItem('city.session', token)", citizen_token(*ANN))
    await page.goto(service.address(path))
    await settled(page)
    return page


async def say(page: Page, text: str) -> None:
    field = page.get_by_role("textbox", name="Message to")
    await field.fill(text)
    await field.press("Enter")
    await expect(field).to_have_value("")


async def holds(city: InProcessCity, *wanted: str) -> None:
    async def is_so() -> bool:
        return [message["body"] for message in await city.get("/city/rooms/general/messages")] == list(wanted)

    await eventually(is_so)


def build_of(page: Page) -> Any:
    return page.evaluate("document.querySelector('meta[name=description]').dataset.build ?? 'first'")


async def stored(page: Page) -> dict[str, list[str]]:
    """The paths in each cache."""
    found: dict[str, list[str]] = await page.evaluate(
        """async () => Object.fromEntries(await Promise.all((await caches.keys()).map(async name =>
            [name, (await (await caches.open(name)).keys()).map(request => new URL(request.url).pathname)])))"""
    )
    return found


async def test_pages_are_installable(service: Service, browser: Browser) -> None:
    await service.start(city={"name": "Поділ"})
    async with reader(browser) as person:
        page = await open_page(person, service, "/")
        devtools = await page.context.new_cdp_session(page)
        manifest = await devtools.send("Page.getAppManifest")
        assert (manifest["errors"], manifest["url"]) == ([], service.address("/manifest.webmanifest"))
        members = json.loads(manifest["data"])
        assert members["name"] == "Поділ"
        # Profiles of tests are private windows, in which Chromium installs nothing.
        errors = (await devtools.send("Page.getInstallabilityErrors"))["installabilityErrors"]
        assert {error["errorId"] for error in errors} <= {"in-incognito"}
        pictures = [
            *members["icons"],
            *members["screenshots"],
            {"src": "/icons/apple-touch-icon.png", "sizes": "180x180"},
        ]
        for picture in pictures:
            size = await page.evaluate(
                "async (src) => { const image = new Image(); image.src = src; await image.decode(); return"
                " `${image.naturalWidth}x${image.naturalHeight}` }",
                picture["src"],
            )
            assert (picture["src"], size) == (picture["src"], picture["sizes"])
        for shortcut in members["shortcuts"]:
            assert (await page.context.request.get(service.address(shortcut["url"]))).ok


async def test_reload_offline_keeps_pending_message(service: Service, browser: Browser) -> None:
    city = await service.start()
    async with reader(browser) as person:
        page = await open_page(person, service, "/city/general")
        await page.get_by_role("textbox", name="Message to").wait_for()
        await page.context.set_offline(True)
        await say(page, "written offline")
        await page.get_by_text("Waiting for the connection").wait_for()
        await page.reload()
        await page.get_by_text("There is no network.").wait_for()
        await page.get_by_role("heading", name="General").wait_for()
        await page.get_by_text("written offline").wait_for()
        # Another address of the city, opened by hand.
        await page.goto(service.address("/agents"))
        await page.get_by_role("heading", name="Agents of the city").wait_for()
        await page.goto(service.address("/city/general"))
        await page.get_by_text("written offline").wait_for()
        await page.context.set_offline(False)
        await holds(city, "written offline")
        await expect(page.get_by_role("log").get_by_text("written offline")).to_be_visible()


async def make_private(city: InProcessCity, slug: str) -> None:
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.lock(slug)
        assert room is not None
        await tx.rooms.set_rules(room.id, join_rule="invite", history_visibility=HistoryVisibility.JOINED)


async def test_seen_rooms_are_read_offline_by_their_reader(service: Service, browser: Browser) -> None:
    city = await service.start()
    ann = citizen_token(*ANN)
    await city.call("POST", "/city/rooms/builders/join", token=ann)
    await make_private(city, "builders")
    await city.call("POST", "/city/rooms/builders/messages", {"body": "between us"}, token=ann)
    async with reader(browser) as person:
        page = await open_page(person, service, "/city")
        await page.get_by_role("main").get_by_role("link", name="General").wait_for()
        await page.goto(service.address("/city/builders"))
        said = page.get_by_role("log").get_by_text("between us")
        await said.wait_for()
        await until_seen(page, "u_ann room builders")
        await page.context.set_offline(True)
        await page.reload()
        await said.wait_for()
        await page.get_by_text("There is no network.").wait_for()
        await page.goto(service.address("/city"))
        await page.get_by_role("main").get_by_role("link", name="General").wait_for()

        # Signing out deletes what was seen; the next person reads nothing of it.
        await page.get_by_role("button", name="Account: Ann").click()
        await page.get_by_role("button", name="Sign out").click()

        async def is_deleted() -> bool:
            return not any(name.startswith("u_ann ") for name in await seen_by(page))

        await eventually(is_deleted)
        await page.evaluate("token => localStorage.setItem('city.session', token)", citizen_token("u_bob", "Bob"))
        await page.goto(service.address("/city/builders"))
        await page.get_by_text("There is no network.").wait_for()
        await expect(page.get_by_text("between us")).to_have_count(0)


async def test_reload_without_service_shows_page(service: Service, browser: Browser) -> None:
    await service.start()
    async with reader(browser) as person:
        page = await open_page(person, service, "/city/general")
        await page.get_by_role("textbox", name="Message to").wait_for()
        await service.stop()
        await say(page, "into the silence")
        await page.get_by_text("Waiting for the connection").wait_for()
        await page.reload()
        await page.get_by_text("into the silence").wait_for()
        await page.get_by_text("The connection to the city is lost.").wait_for()
        await holds(await service.start(), "into the silence")
        await expect(page.get_by_role("log").get_by_text("into the silence")).to_be_visible()


async def test_only_documents_and_assets_are_stored(service: Service, browser: Browser) -> None:
    await service.start()
    async with reader(browser) as person:
        page = await open_page(person, service, "/city/general")
        await page.reload()
        await page.get_by_role("textbox", name="Message to").wait_for()
        [paths] = (await stored(page)).values()
        assert "/" in paths
        assert [path for path in paths if path != "/" and not path.startswith("/assets/")] == []


async def test_service_responses_are_shown_with_any_status(service: Service, browser: Browser) -> None:
    await service.start()
    async with reader(browser) as person:
        page = await open_page(person, service, "/city/general")
        await service.stop()
        shutil.rmtree(service.dist)
        await service.start()
        answer = await page.goto(service.address("/city/general"))
        assert answer is not None
        assert answer.status == 503
        await page.get_by_role("heading", name="The city is open, but its pages are missing").wait_for()


async def page_that_fails(service: Service, browser: Browser, link: str) -> Page:
    """Return a tab in which the page behind ``link`` could not be loaded."""
    await service.start()
    person = await browser.other_profile(locale="en-US")
    page = (await person.open("about:blank")).page
    await page.add_init_script(SAVE_DATA)
    await page.goto(service.address("/"))
    await page.get_by_role("heading", level=1).wait_for()
    await page.route("**/assets/*", lambda route: route.abort())
    await page.get_by_role("link", name=link).first.click()
    await page.get_by_text("This page could not be loaded.").wait_for()
    return page


async def test_page_after_outage_has_its_styles(service: Service, browser: Browser) -> None:
    page = await page_that_fails(service, browser, "Second Me")
    await page.unroute("**/assets/*")
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_role("heading", name="Second Me", level=1).wait_for()
    unstyled = await page.evaluate(
        """() => {
            // A sheet that could not be loaded has no rules that could be read.
            const rulesOf = sheet => { try { return [...sheet.cssRules].map(rule => rule.cssText); } catch { return []; } };
            const rules = [...document.styleSheets].flatMap(rulesOf).join();
            const classes = new Set([...document.querySelectorAll("main [class]")].flatMap(node => [...node.classList]));
            return [...classes].filter(name => !rules.includes("." + name));
        }"""
    )
    assert unstyled == []
    await page.context.close()


async def test_failed_page_is_loaded_on_next_visit(service: Service, browser: Browser) -> None:
    page = await page_that_fails(service, browser, "Agents")
    await page.get_by_role("link", name="City").first.click()
    await page.get_by_text("This page could not be loaded.").wait_for(state="detached")
    await page.unroute("**/assets/*")
    await page.get_by_role("link", name="Agents").first.click()
    await page.get_by_role("heading", name="Agents of the city").wait_for()
    await page.context.close()


async def test_new_build_is_shown_and_open_tabs_keep_parts(service: Service, browser: Browser) -> None:
    await service.start()
    async with reader(browser) as person:
        old = await open_page(person, service, "/city/general")
        assert await build_of(old) == "first"
        await service.stop()
        service.upgrade()
        await service.start()
        new = (await person.open(service.address("/city/general"))).page
        assert await build_of(new) == "next"
        await settled(new)
        await eventually(lambda: has_whole_caches(new, 2))
        # The service no longer has the old build's files; the tab opens its page without a reload.
        await old.evaluate("window.isSame = true")
        await old.get_by_role("link", name="Agents").click()
        await old.get_by_role("heading", name="Agents of the city").wait_for()
        assert await old.evaluate("window.isSame")
        # Without the service it is the new build that opens, also while the old worker serves.
        await service.stop()
        await new.reload()
        await new.get_by_role("link", name="Agents").wait_for()
        assert await build_of(new) == "next"
        await old.close()
        await new.close()
        await service.start()

        async def has_only_the_new_build() -> bool:
            # A browser that has not yet noticed that the tabs closed keeps the old worker for one more visit.
            later = (await person.open(service.address("/city/general"))).page
            assert await build_of(later) == "next"
            await settled(later)
            is_clean = await has_whole_caches(later, 1)
            await later.close()
            return is_clean

        await eventually(has_only_the_new_build)


async def has_whole_caches(page: Page, count: int) -> bool:
    """Each build's cache has its document, which the worker stores last. Opens none: that would make one that is removed."""
    documents: list[bool] = await page.evaluate(
        """async () => Promise.all((await caches.keys()).map(async (cacheName) =>
            (await caches.match("/", { cacheName })) !== undefined))"""
    )
    return documents == [True] * count


async def until_worker_left(page: Page) -> None:
    left: list[str] = []

    async def is_none_left() -> bool:
        left[:] = await page.evaluate(
            """async () => {
                const workers = (await navigator.serviceWorker.getRegistrations()).map(({ active }) => `worker ${active?.state}`);
                return [...workers, ...(await caches.keys())];
            }"""
        )
        return not left

    await eventually(is_none_left, explain=lambda: "\n".join(left))


async def test_pages_that_are_switched_off_leave_no_worker(service: Service, browser: Browser) -> None:
    await service.start()
    async with reader(browser) as person:
        page = await open_page(person, service, "/city/general")
        await service.stop()
        await service.start(web={"enabled": False})
        answer = await page.goto(service.address("/"))
        assert answer is not None
        assert answer.status == 404
        await until_worker_left(page)


async def test_older_version_removes_service_worker(service: Service, browser: Browser) -> None:
    await service.start()
    async with reader(browser) as person:
        page = await open_page(person, service, "/city/general")
        await service.stop()
        service.upgrade()
        (service.dist / "service-worker.js").unlink()
        await service.start()
        # Pages of an older version register no worker; this build's would cancel the removal.
        await page.add_init_script("navigator.serviceWorker.register = () => Promise.reject(new TypeError())")
        await page.goto(service.address("/city/general"))
        assert await build_of(page) == "next"
        await until_worker_left(page)
        await page.get_by_role("textbox", name="Message to").wait_for()
