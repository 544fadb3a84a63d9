"""Threads on the page of a room, in a real browser: the line below the root, the panel, its composer and its live updates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.parts.browser import start_browser
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.message_rows import click_action
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

DANA: Final = citizen_token("u_dana", "Дана")
TARAS: Final = citizen_token("u_taras", "Тарас")
REPLIES: Final = 120
WIDE: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 390, "height": 844}


async def say(city: InProcessCity, body: str, *, token: str = DANA, **more: str) -> str:
    """Post a message and return its id."""
    answer = await city.call("POST", "/city/rooms/general/messages", {"body": body, **more}, token=token)
    assert answer.status == 201, answer
    return str(answer.content["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_threads") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    async with in_process_city(f"sqlite:///{file}", limits={"messages": "10000/minute"}) as city:
        await say(city, "до гілок")
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def page(city: InProcessCity) -> AsyncIterator[Page]:
    """The page of Taras, who is signed in, on a wide screen."""
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": TARAS}]}],
    }
    async with start_browser() as browser:
        taras = await browser.other_profile(locale="en-US", viewport=WIDE, storage_state=stored, base_url=origin)
        yield (await taras.open("/city/general")).page


def panel(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Thread", exact=True)


def room_log(page: Page) -> Locator:
    return page.get_by_role("log", name="Conversation in")


def line_of(page: Page, body: str) -> Locator:
    """The line with the figures of a thread, below the root with this text."""
    return room_log(page).get_by_role("article").filter(has_text=body).get_by_role("button", name="repl")


def composer(page: Page) -> Locator:
    return panel(page).get_by_role("textbox", name="Reply in the thread")


async def test_reply_in_a_new_thread_is_shown_in_the_panel(city: InProcessCity, page: Page) -> None:
    root = await say(city, "корінь нової гілки")
    row = room_log(page).get_by_role("article").filter(has_text="корінь нової гілки")
    await click_action(row, "Reply in thread")
    await expect(composer(page)).to_be_focused()
    await composer(page).fill("моя відповідь")
    await composer(page).press("Enter")
    await expect(panel(page).get_by_role("article").filter(has_text="моя відповідь")).to_be_visible()
    await expect(line_of(page, "корінь нової гілки")).to_contain_text("1 reply")
    await expect(room_log(page).get_by_text("моя відповідь", exact=True)).to_have_count(0)

    other = await say(city, "відповідь Дани", thread_root=root)
    reply = panel(page).get_by_role("article").filter(has_text="відповідь Дани")
    await expect(reply).to_be_visible()
    await expect(line_of(page, "корінь нової гілки")).to_contain_text("2 replies")
    answer = await city.call("PATCH", f"/city/rooms/general/messages/{other}", {"body": "змінена Даною"}, token=DANA)
    assert answer.status == 200, answer
    await expect(panel(page).get_by_text("змінена Даною", exact=True)).to_be_visible()
    await city.call("DELETE", f"/city/rooms/general/messages/{other}", token=DANA)
    await expect(panel(page).get_by_text("Message deleted")).to_be_visible()
    await expect(line_of(page, "корінь нової гілки")).to_contain_text("1 reply")


async def test_panel_is_still_open_after_a_reload(city: InProcessCity, page: Page) -> None:
    root = await say(city, "корінь довгої гілки")
    for number in range(REPLIES):
        await say(city, f"рядок {number}", thread_root=root)
    await line_of(page, "корінь довгої гілки").click()
    await panel(page).get_by_role("button", name="To the bottom").click()
    await expect(panel(page).get_by_text(f"рядок {REPLIES - 1}", exact=True)).to_be_in_viewport()
    await page.reload()
    await expect(panel(page).get_by_text(f"рядок {REPLIES - 1}", exact=True)).to_be_in_viewport()
    assert f"thread={root}" in page.url
    await panel(page).get_by_role("log").hover()
    top = panel(page).get_by_role("article").filter(has_text="корінь довгої гілки")
    for _ in range(200):
        await page.mouse.wheel(0, -800)
        if await top.count():
            break
        await page.evaluate("() => new Promise(requestAnimationFrame)")
    await expect(top).to_be_visible()
    await composer(page).press("Escape")
    await expect(panel(page)).to_have_count(0)
    assert "thread" not in page.url


async def test_new_reply_of_another_marks_the_thread(city: InProcessCity, page: Page) -> None:
    root = await say(city, "корінь непрочитаної гілки")
    await expect(room_log(page).get_by_text("корінь непрочитаної гілки", exact=True)).to_be_visible()
    await say(city, "нове в гілці", thread_root=root)
    line = line_of(page, "корінь непрочитаної гілки")
    await expect(line.get_by_role("img", name="New replies")).to_be_visible()
    await page.get_by_role("button", name="Threads", exact=True).click()
    listed = page.get_by_role("complementary", name="Threads").get_by_role("listitem")
    await listed.filter(has_text="корінь непрочитаної гілки").get_by_role("button").click()
    await expect(panel(page).get_by_text("нове в гілці", exact=True)).to_be_visible()
    await expect(line.get_by_role("img", name="New replies")).to_have_count(0)
    await panel(page).get_by_role("button", name="All threads").click()
    await expect(listed.first).to_be_visible()
    await page.get_by_role("complementary", name="Threads").get_by_role("button", name="Close").click()
    await expect(line).to_be_visible()


async def test_thread_covers_the_room_on_a_phone(city: InProcessCity, page: Page) -> None:
    root = await say(city, "корінь на телефоні")
    await say(city, "у гілці", thread_root=root)
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await line_of(page, "корінь на телефоні").click()
    await expect(panel(page).get_by_text("у гілці", exact=True)).to_be_visible()
    await expect(page.locator("section[inert]")).to_have_count(1)  # neither the keyboard nor a screen reader gets there
    await composer(page).fill("з телефона")
    await panel(page).get_by_role("button", name="Send").click()
    await expect(panel(page).get_by_text("з телефона", exact=True)).to_be_visible()
    await page.go_back()
    await expect(panel(page)).to_have_count(0)
    await expect(line_of(page, "корінь на телефоні")).to_contain_text("2 replies")
