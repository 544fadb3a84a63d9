"""The rooms as somebody uses them all day: the list beside the conversation, cards, links and direct chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tests.parts.browser import Browser, start_browser, until_true
from tests.parts.in_process_city import InProcessCity
from tests.parts.room_pages import DANA, PHONE, city_with_rooms, field, row, say, visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLD: Final = 160
"""Messages in the room with a long history."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    async with city_with_rooms(tmp_path_factory.mktemp("page_rooms") / "city.db", sqlite_template) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def test_room_list_stays_while_rooms_change(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/city/general")
    rooms = page.get_by_role("navigation", name="List of rooms")
    await expect(rooms.get_by_role("link", name="General")).to_have_attribute("aria-current", "page")
    await rooms.evaluate("pane => (pane.dataset.same = 'yes')")
    await rooms.get_by_role("link", name="Наука").click()
    await expect(row(page, "Лекція завтра")).to_be_visible()
    await expect(rooms).to_have_attribute("data-same", "yes")
    await rooms.get_by_role("searchbox").fill("музи")
    await expect(rooms.locator("li")).to_have_count(1)
    await rooms.get_by_role("searchbox").press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Музика")).to_be_visible()
    await rooms.get_by_role("searchbox").fill("")
    await page.keyboard.press("Alt+ArrowDown")
    await expect(page.get_by_role("heading", name="Музика")).to_be_hidden()
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await expect(rooms).to_be_hidden()


async def test_name_opens_a_card_that_mentions(city: InProcessCity, browser: Browser) -> None:
    await say(city, "клацніть на мене")
    page = await visit(city, browser, "/city/general")
    await page.get_by_role("log").get_by_role("button", name="Дана Руда").last.click()
    card = page.get_by_role("dialog", name="Who this is")
    await expect(card.get_by_text("@citizen_u_dana:city.localhost")).to_be_visible()
    await card.get_by_role("button", name="Mention").click()
    await expect(field(page)).to_have_value("@Дана Руда ")
    await field(page).fill("")


@pytest.mark.parametrize("back", [30, 130])
async def test_link_to_a_message_lands_on_it(city: InProcessCity, browser: Browser, back: int) -> None:
    known = await city.get("/city/rooms/music")
    if known["last_seq"] < OLD:
        for number in range(OLD):
            await say(city, f"старе повідомлення {number}", room="music")
    page = await visit(city, browser, "/city/music")
    await expect(row(page, f"старе повідомлення {OLD - 1}")).to_be_visible()
    number = OLD - back
    history = await city.get("/city/rooms/music/messages?limit=200&before=100000")
    while not any(each["body"].endswith(f" {number}") for each in history):
        history = await city.get(f"/city/rooms/music/messages?limit=200&before={history[0]['seq']}")
    target = next(each for each in history if each["body"].endswith(f" {number}"))
    await page.goto(f"/city/music/{target['id']}")
    article = page.locator(f"[data-message='{target['id']}']")
    await expect(article).to_be_in_viewport(ratio=1)
    # Rows above may still get their heights.
    await until_true(
        page,
        """id => {
            const middle = ({top, height}) => top + height / 2;
            const log = document.querySelector("[role=log]").getBoundingClientRect();
            const row = document.querySelector(`[data-message="${id}"]`)?.getBoundingClientRect();
            return row && Math.abs(middle(row) - middle(log)) < log.height / 4;
        }""",
        target["id"],
    )


async def test_name_shows_a_placeholder_while_its_card_loads(city: InProcessCity, browser: Browser) -> None:
    await say(city, "хто я?")
    arrives = asyncio.Event()

    async def wait(route: Route) -> None:
        await arrives.wait()
        await route.continue_()

    page = await visit(city, browser, "about:blank")
    await page.route("**/assets/ProfileCard-*.js", wait)
    await page.goto("/city/general")
    await page.get_by_role("log").get_by_role("button", name="Дана Руда").last.click()
    loading = page.get_by_role("status").filter(has_text="Loading…")
    await expect(loading).to_be_in_viewport()
    arrives.set()
    await expect(page.get_by_role("dialog").get_by_text("Дана Руда")).to_be_visible()
    await expect(loading).to_have_count(0)


async def test_link_to_a_reply_opens_its_thread(city: InProcessCity, browser: Browser) -> None:
    root = await say(city, "корінь", room="science")
    reply = await say(city, "у гілці", room="science", thread_root=root)
    page = await visit(city, browser, f"/city/science/{reply}")
    thread = page.get_by_role("complementary", name="Thread", exact=True)
    await expect(thread.get_by_text("у гілці")).to_be_visible()


async def test_double_click_opens_one_room(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/city")
    sent: list[str] = []
    page.on("request", lambda each: sent.append(each.method) if each.url.endswith("/city/rooms") else None)
    await page.get_by_role("main").get_by_role("button", name="Open a room").click()
    dialog = page.get_by_role("dialog", name="A new room")
    await dialog.get_by_role("textbox").first.fill("Двічі")
    await dialog.locator("button[type=submit]").dblclick()
    await expect(page.get_by_role("heading", name="Двічі", level=1)).to_be_visible()
    assert sent.count("POST") == 1


async def test_card_opens_direct_chat_listed_for_both(city: InProcessCity, browser: Browser) -> None:
    await say(city, "напишіть мені")
    other = await visit(city, browser, "/city/science", token=DANA)
    page = await visit(city, browser, "/city/general")
    await page.get_by_role("log").get_by_role("button", name="Дана Руда").last.click()
    await page.get_by_role("dialog").get_by_role("button", name="Write to them").click()
    await expect(page.get_by_role("heading", name="Дана Руда")).to_be_visible()
    await field(page).fill("тільки тобі")
    await field(page).press("Enter")
    await expect(row(page, "тільки тобі")).to_be_visible()
    for tab, name in ((page, "Дана Руда"), (other, "Тарас Шевчук")):
        chats = tab.get_by_role("list", name="Direct chats")
        await expect(chats.get_by_role("link", name=name)).to_contain_text("тільки тобі")
    await other.get_by_role("list", name="Direct chats").get_by_role("link", name="Тарас Шевчук").click()
    await expect(row(other, "тільки тобі")).to_be_visible()
