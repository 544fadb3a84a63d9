"""The pages by the keyboard alone: the palette, the completion of names, and the actions of messages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Route, expect

from tests.parts.browser import Browser, start_browser
from tests.parts.in_process_city import InProcessCity
from tests.parts.room_pages import DANA, TARAS, city_with_rooms, field, row, say, visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENTS: Final = "**/api/v1/agents*"
TABS: Final = 40
"""Presses of Tab within which a keyboard reaches the parts of a page."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    async with city_with_rooms(tmp_path_factory.mktemp("page_keys") / "city.db", sqlite_template) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def open_palette(page: Page) -> Locator:
    """Open the palette by its key once the page is drawn; return its field."""
    await page.get_by_role("button", name="Find anything in the city").wait_for()
    await page.keyboard.press("Control+k")
    return page.get_by_role("combobox", name="Find anything in the city")


@pytest.mark.parametrize(
    ("language", "title"), [("en-US", "Find anything in the city"), ("uk-UA", "Знайти будь-що в місті")]
)
async def test_palette_opens_what_is_chosen_by_keys(
    city: InProcessCity, browser: Browser, language: str, title: str
) -> None:
    page = await visit(city, browser, "/", locale=language)
    await page.get_by_role("button", name=title).wait_for()
    await page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name=title)
    await expect(box).to_be_focused()
    await box.fill("нау")
    option = page.get_by_role("option", name="Наука")
    await expect(option).to_have_attribute("aria-selected", "true")
    await expect(box).to_have_attribute("aria-activedescendant", str(await option.get_attribute("id")))
    await box.fill("писар")
    await expect(page.get_by_role("option", name="Писар")).to_be_visible()
    await box.press("Enter")
    await expect(page).to_have_url(re.compile("/agents/scribe$"))
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(box).to_have_count(0)


async def test_palette_opens_what_is_found_after_enter(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/agents")
    is_entered = asyncio.Event()

    async def after_enter(route: Route) -> None:
        await is_entered.wait()
        await route.continue_()

    await page.route("**/city/rooms?*", after_enter)
    box = await open_palette(page)
    await box.fill("наук")
    await box.press("Enter")
    is_entered.set()
    await expect(page).to_have_url(re.compile("/city/science$"))
    await expect(box).to_have_count(0)


@pytest.mark.parametrize("is_entered", [False, True])
async def test_letters_typed_before_the_palette_is_loaded_count(
    city: InProcessCity, browser: Browser, is_entered: bool
) -> None:
    page = await visit(city, browser, "/city/general")
    is_typed = asyncio.Event()

    async def after_typing(route: Route) -> None:
        await is_typed.wait()
        await route.continue_()

    await page.route("**/PaletteOutlet-*.js", after_typing)
    await page.get_by_role("button", name="Find anything in the city").wait_for()
    await field(page).focus()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("нау")
    await expect(page.get_by_role("dialog").get_by_role("textbox")).to_have_value("нау")
    gap = """dialog => {
        const [field, placeholder] = ["input", "[role=status]"].map(each => dialog.querySelector(each));
        return placeholder.getBoundingClientRect().top - field.getBoundingClientRect().bottom;
    }"""
    assert await page.get_by_role("dialog").evaluate(gap) >= 8, "the ring of the focused field is not covered"
    if is_entered:
        await page.keyboard.press("Enter")
    is_typed.set()
    if not is_entered:
        box = page.get_by_role("combobox", name="Find anything in the city")
        await expect(box).to_have_value("нау")
        await expect(box).to_be_focused()
        await page.keyboard.type("к")
        await expect(box).to_have_value("наук")
        await box.press("Enter")
    await expect(page).to_have_url(re.compile("/city/science$"))
    await page.goto(f"{page.url.removesuffix('science')}general")
    await expect(field(page)).to_have_value("")


async def test_enter_waits_for_no_list_that_cannot_change_the_result(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/city")
    await page.route(AGENTS, lambda _route: None)
    box = await open_palette(page)
    await box.fill("наук")
    await box.press("Enter")
    await expect(page).to_have_url(re.compile("/city/science$"))


async def test_enter_opens_a_page_though_the_agents_cannot_be_loaded(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/city")
    await page.route(AGENTS, lambda route: route.abort())
    # Without a network a request that has failed is not sent again.
    await page.evaluate("dispatchEvent(new Event('offline'))")
    box = await open_palette(page)
    await box.fill("Second")
    await box.press("Enter")
    await expect(page).to_have_url(re.compile("/secondme$"))


async def test_typing_goes_on_at_once_after_completion(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/city/general")
    # A slow machine paints long after the next key.
    await page.evaluate("() => { window.requestAnimationFrame = (paint) => setTimeout(paint, 500); }")
    await field(page).press_sequentially("@scri")
    await expect(page.get_by_role("option", name="Писар")).to_be_visible()
    await field(page).press("Enter")
    await field(page).press_sequentially("слово", delay=150)
    await expect(field(page)).to_have_value("@scribe слово")


async def test_mention_is_completed_sent_and_highlighted(city: InProcessCity, browser: Browser) -> None:
    await say(city, "хто тут?")
    taras = await visit(city, browser, "/city/general")
    dana = await visit(city, browser, "/city/general", token=DANA)
    await field(taras).press_sequentially("Вітаю @руд")
    await expect(taras.get_by_role("option", name="Дана Руда")).to_have_attribute("aria-selected", "true")
    await field(taras).press("Enter")
    await expect(field(taras)).to_have_value("Вітаю @Дана Руда ")
    await field(taras).press_sequentially("і :sunfl")
    await expect(taras.get_by_role("option", name="sunflower")).to_be_visible()
    await field(taras).press("Tab")
    await field(taras).press_sequentially("@scri")
    await expect(taras.get_by_role("option", name="Писар")).to_be_visible()
    await field(taras).press("Enter")
    await expect(field(taras)).to_have_value("Вітаю @Дана Руда і 🌻 @scribe ")
    await field(taras).press("Enter")
    mine = row(taras, "Вітаю")
    await expect(mine.get_by_role("button", name="@Дана Руда")).to_be_visible()
    await expect(mine.get_by_role("link", name="@Писар")).to_have_attribute("href", "/agents/scribe")
    meant = row(dana, "Вітаю")
    await expect(meant).to_have_class(re.compile("mentionsMe"))
    newest = (await city.get("/city/rooms/general"))["messages"][-1]
    assert newest["mentions"] == ["u_dana", "agent:scribe"]
    # A change of the text keeps the mention.
    await field(taras).press("ArrowUp")
    await expect(field(taras)).to_have_value("Вітаю @Дана Руда і 🌻 @scribe")
    await field(taras).press_sequentially("!")
    await field(taras).press("Enter")
    await expect(meant.get_by_text("edited")).to_be_visible()
    await expect(meant.get_by_role("button", name="@Дана Руда")).to_be_visible()


async def test_keys_reply_edit_and_react_without_a_mouse(city: InProcessCity, browser: Browser) -> None:
    await say(city, "чуже слово", room="science")
    await say(city, "моє слово", room="science", token=TARAS)
    page = await visit(city, browser, "/city/science")
    await expect(row(page, "моє слово")).to_be_visible()
    await page.get_by_role("log").focus()
    await page.keyboard.press("ArrowUp")
    await expect(row(page, "моє слово")).to_be_focused()
    await page.keyboard.press("e")
    await expect(field(page)).to_have_value("моє слово")
    await expect(field(page)).to_be_focused()
    await page.keyboard.press("Escape")
    await page.get_by_role("log").focus()
    await page.keyboard.press("ArrowUp")
    await expect(row(page, "чуже слово")).to_be_focused()
    await page.keyboard.press("a")
    await expect(page.get_by_role("button", name="React with 👍")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(row(page, "чуже слово").get_by_role("button", name="👍: 1 person")).to_be_visible()
    await row(page, "чуже слово").focus()
    await page.keyboard.press("r")
    await expect(page.get_by_text("Reply to Дана Руда")).to_be_visible()
    await expect(field(page)).to_be_focused()


async def test_walk_by_keys_alone_keeps_the_focus(city: InProcessCity, browser: Browser) -> None:
    await say(city, "хто приніс ліхтар?", room="science")
    page = await visit(city, browser, "/")
    keys = page.keyboard
    await page.get_by_role("button", name="Find anything in the city").wait_for()
    await keys.press("Control+k")
    box = page.get_by_role("combobox", name="Find anything in the city")
    await expect(box).to_be_focused()
    await keys.type("нау")
    await expect(box).to_have_value("нау")
    await expect(page.get_by_role("option", name="Наука")).to_have_attribute("aria-selected", "true")
    await keys.press("Enter")
    asked = row(page, "хто приніс ліхтар?").first
    await expect(asked).to_be_visible()
    await tab_to(page, page.get_by_role("log"))
    await keys.press("ArrowUp")
    await expect(asked).to_be_focused()
    await keys.press("r")
    await expect(field(page)).to_be_focused()
    await keys.type("я приніс")
    await keys.press("Enter")
    await expect(row(page, "я приніс")).to_contain_text("хто приніс ліхтар?")
    await expect(field(page)).to_be_focused()
    await keys.press("ArrowUp")
    await expect(field(page)).to_have_value("я приніс")
    await keys.type(" два")
    await keys.press("Enter")
    await expect(row(page, "я приніс два").get_by_text("edited")).to_be_visible()
    await expect(field(page)).to_be_focused()
    # All messages: the search keeps the focus in its field, and a result opens at its message.
    await keys.press("Control+k")
    await expect(box).to_be_focused()
    await keys.type("search")
    await expect(page.get_by_role("option", name="Search").first).to_have_attribute("aria-selected", "true")
    await keys.press("Enter")
    words = page.get_by_role("main").get_by_role("searchbox")
    await tab_to(page, words)
    await keys.type("ліхтар")
    await keys.press("Enter")
    result = page.get_by_role("main").get_by_role("link").filter(has_text="ліхтар").last
    await expect(result).to_be_visible()
    await expect(words).to_be_focused()
    await tab_to(page, result)
    await keys.press("Enter")
    await expect(asked).to_be_in_viewport()


async def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus: a keyboard reaches it."""
    await wanted.wait_for()
    for _ in range(TABS):
        if await wanted.evaluate("element => element === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{TABS} tabs do not reach {wanted}")
