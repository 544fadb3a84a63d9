"""The browser's Back and Forward: the topmost overlay closes first, and pages return to where they were scrolled to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.parts.browser import Browser, start_browser, until_at_bottom, until_no_overlay, until_true
from tests.parts.city import eventually
from tests.parts.in_process_city import InProcessCity
from tests.parts.message_rows import click_action
from tests.parts.room_pages import PHONE, TARAS, WIDE, city_with_rooms, field, row, say, visit

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("viewport", [PHONE, WIDE], ids=["phone", "wide"]),
]

ROOM: Final = "/city/science"
OLD: Final = 160
"""Messages in the room with a long history."""
NEWEST: Final = f"старе повідомлення {OLD - 1}"
TOP_MESSAGE: Final = """() => {
    const list = document.querySelector("[role=log]");
    if (list === null) return;
    const { top } = list.getBoundingClientRect();
    const rows = [...list.querySelectorAll("[data-message]")];
    const first = rows.findIndex(row => row.getBoundingClientRect().bottom > top);
    // Rows above the visible ones are rendered a while after the list is scrolled.
    if (first > 0) return [rows[first].dataset.message, Math.round(rows[first].getBoundingClientRect().top - top)];
}"""
"""The first visible message of the conversation below others, and its distance from the top of the list in pixels."""
RESTING_MESSAGE: Final = f"""async () => {{
    const before = ({TOP_MESSAGE})();
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    const after = ({TOP_MESSAGE})();
    return before && String(before) === String(after) ? after : null;
}}"""
"""The same, once rows above have their heights; else null."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    async with city_with_rooms(tmp_path_factory.mktemp("page_back") / "city.db", sqlite_template) as city:
        await say(city, "моє слово", room="science", token=TARAS)
        for number in range(OLD):
            await say(city, f"старе повідомлення {number}", room="music")
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def enter(city: InProcessCity, browser: Browser, viewport: Any, **options: Any) -> Page:
    """Open the list of rooms and then a room, as a reader does."""
    touch: dict[str, Any] = {"has_touch": True} if viewport is PHONE else {}
    page = await visit(city, browser, "/city", viewport=viewport, **touch, **options)
    # The list moves while it is loaded, also under a pointer.
    await page.get_by_role("main").get_by_role("link", name="Наука").press("Enter")
    await expect(row(page, "моє слово")).to_be_visible()
    return page


async def goes_back_to_list(page: Page) -> None:
    await page.go_back()
    await expect(page).to_have_url(re.compile("/city$"))


async def open_card(page: Page) -> Locator:
    await page.get_by_role("log").get_by_role("button", name="Дана Руда").last.click()
    return page.get_by_role("dialog", name="Who this is")


async def open_palette(page: Page) -> Locator:
    await page.keyboard.press("Control+k")
    return page.get_by_role("combobox", name="Find anything in the city")


async def open_room_menu(page: Page) -> Locator:
    await page.get_by_role("main").get_by_role("button", name="More about the room").click()
    # The browser opens the menu, and its content comes, with its history entry, once the page knows that.
    return page.get_by_role("group", name="More about the room").get_by_role("link")


async def open_members(page: Page) -> Locator:
    button = page.get_by_role("main").get_by_role("button", name="Who is here")
    if await button.get_attribute("aria-expanded") == "true":
        pytest.skip("in a wide window the members are beside the conversation")
    await button.click()
    return page.get_by_role("dialog", name="Who is in")


async def open_actions(page: Page) -> Locator:
    """The sheet of a message on a phone, and its reactions in a wide window."""
    if page.viewport_size == PHONE:
        await click_action(row(page, "моє слово"), "Message actions")
        return page.get_by_role("dialog")
    await click_action(row(page, "моє слово"), "Add a reaction")
    return page.get_by_role("button", name="React with 👍")


async def open_thread(page: Page) -> Locator:
    mine = row(page, "моє слово").first
    if page.viewport_size == PHONE:
        await click_action(mine, "Message actions")
        await page.get_by_role("dialog").get_by_role("button", name="Reply in thread").click()
    else:
        await click_action(mine, "Reply in thread")
    return page.get_by_role("complementary", name="Thread", exact=True)


async def scroll_up(page: Page) -> Any:
    """Scroll farther up than the messages that the room has when it is opened; return the first visible message and its top."""
    await expect(row(page, NEWEST)).to_be_visible()
    log = page.get_by_role("log")

    async def is_at_start() -> bool:
        # A list that has just been opened returns to its end while its rows get their heights.
        await log.evaluate("list => list.scrollTo(0, 0)")
        return await log.get_by_text("старе повідомлення 0", exact=True).count() > 0

    # Nothing is left to be loaded above.
    await eventually(is_at_start)
    await log.evaluate("list => list.scrollBy(0, 333)")
    await expect(page.get_by_role("button", name="To the bottom")).to_be_visible()
    return await eventually(lambda: page.evaluate(RESTING_MESSAGE))


OVERLAYS: Final[list[Callable[[Page], Awaitable[Locator]]]] = [
    open_card,
    open_palette,
    open_room_menu,
    open_members,
    open_actions,
]


@pytest.mark.parametrize("opens", OVERLAYS)
async def test_back_closes_the_overlay_and_keeps_the_room(
    city: InProcessCity, browser: Browser, viewport: Any, opens: Callable[[Page], Awaitable[Locator]]
) -> None:
    page = await enter(city, browser, viewport)
    overlay = await opens(page)
    await expect(overlay).to_be_visible()
    await page.go_back()
    await expect(overlay).to_be_hidden()
    await expect(page).to_have_url(re.compile(f"{ROOM}$"))
    # Forward to a closed overlay changes nothing, and the next step back leaves the room.
    await page.go_forward()
    await until_no_overlay(page)
    await expect(overlay).to_be_hidden()
    await goes_back_to_list(page)


async def test_menu_has_its_entry_once_it_is_shown(city: InProcessCity, browser: Browser, viewport: Any) -> None:
    """A step back right after the click closes the menu, though its event "toggle" comes in a later task."""
    page = await enter(city, browser, viewport)
    button = page.get_by_role("main").get_by_role("button", name="More about the room")
    # The end of an `await` comes before every later task.
    opened = "async button => { button.click(); await null; return history.state.overlays; }"
    assert await button.evaluate(opened) == 1
    menu = page.get_by_role("group", name="More about the room")
    await page.go_back()
    await expect(menu).to_be_hidden()
    await expect(page).to_have_url(re.compile(f"{ROOM}$"))
    # As long as the event has not come, the menu may also be closed by the same button.
    assert await button.evaluate("async button => { button.click(); button.click(); await null; }") is None
    await expect(menu).to_be_hidden()
    await until_no_overlay(page)


@pytest.mark.parametrize("opens", OVERLAYS)
async def test_escape_leaves_no_entry_behind(
    city: InProcessCity, browser: Browser, viewport: Any, opens: Callable[[Page], Awaitable[Locator]]
) -> None:
    page = await enter(city, browser, viewport)
    for _ in range(2):
        overlay = await opens(page)
        await expect(overlay).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(overlay).to_be_hidden()
        await until_no_overlay(page)
    await goes_back_to_list(page)


async def test_link_in_an_overlay_leaves_the_room_as_previous_page(
    city: InProcessCity, browser: Browser, viewport: Any
) -> None:
    page = await enter(city, browser, viewport)
    palette = await open_palette(page)
    await palette.fill("музи")
    await expect(page.get_by_role("option", name="Музика")).to_have_attribute("aria-selected", "true")
    await palette.press("Enter")
    await expect(page.get_by_role("heading", name="Музика", level=1)).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Наука", level=1)).to_be_visible()
    await goes_back_to_list(page)


async def test_mention_from_a_card_stays_in_the_room(city: InProcessCity, browser: Browser, viewport: Any) -> None:
    page = await enter(city, browser, viewport)
    await (await open_card(page)).get_by_role("button", name="Mention").click()
    await expect(field(page)).to_have_value("@Дана Руда ")
    await field(page).fill("")
    await until_no_overlay(page)
    await goes_back_to_list(page)


async def test_reload_ends_an_overlay_and_its_entry(city: InProcessCity, browser: Browser, viewport: Any) -> None:
    page = await enter(city, browser, viewport)
    await expect(await open_card(page)).to_be_visible()
    await page.reload()
    await expect(row(page, "моє слово")).to_be_visible()
    await until_no_overlay(page)
    await goes_back_to_list(page)


async def test_back_to_a_room_returns_to_the_message_it_was_left_at(
    city: InProcessCity, browser: Browser, viewport: Any
) -> None:
    page = await enter(city, browser, viewport)
    palette = await open_palette(page)
    await palette.fill("музи")
    await palette.press("Enter")
    left = await scroll_up(page)
    await (await open_palette(page)).fill("нау")
    await expect(page.get_by_role("option", name="Наука")).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("Enter")
    await expect(row(page, "моє слово")).to_be_visible()
    await page.go_back()
    await expect(page.locator(f"[data-message='{left[0]}']")).to_be_in_viewport()
    # Rows above may still get their heights.
    await until_true(
        page,
        f"left => {{ const [id, top] = ({TOP_MESSAGE})() ?? []; return id === left[0] && Math.abs(top - left[1]) < 3; }}",
        left,
    )
    # Forward: the other room was left at its end.
    await page.go_forward()
    await expect(row(page, "моє слово")).to_be_visible()
    await until_at_bottom(page)


async def test_back_to_a_page_returns_to_its_position(city: InProcessCity, browser: Browser, viewport: Any) -> None:
    page = await visit(city, browser, "/", viewport=viewport | {"height": 400})
    await expect(page.get_by_role("link", name="General").first).to_be_visible()
    position = "document.scrollingElement.scrollTop"
    # What is loaded later makes the page longer, and moves what is shown.
    await page.wait_for_load_state("networkidle")
    await until_true(page, f"() => {{ scrollTo(0, 300); return {position} === 300; }}")
    await (
        page.get_by_role("banner")
        .get_by_role("link", name="Agents")
        .or_(page.get_by_role("navigation").get_by_role("link", name="Agents"))
        .first.click()
    )
    await expect(page.get_by_role("heading", level=1, name="Agents")).to_be_visible()
    await until_true(page, f"{position} === 0")
    await page.go_back()
    await until_true(page, f"{position} === 300")


async def test_back_to_a_list_keeps_its_filter_and_order(city: InProcessCity, browser: Browser, viewport: Any) -> None:
    page = await visit(city, browser, "/city", viewport=viewport)
    main = page.get_by_role("main")
    search, by_name = main.get_by_role("searchbox", name="Find a room"), main.get_by_role("button", name="By name")
    await by_name.click()
    await search.fill("нау")
    await main.get_by_role("link", name="Наука").click()
    await expect(row(page, "моє слово")).to_be_visible()
    await page.go_back()
    await expect(search).to_have_value("нау")
    await expect(by_name).to_have_attribute("aria-pressed", "true")
    await expect(main.get_by_role("link", name="Наука")).to_be_visible()
    await expect(main.get_by_role("link", name="General")).to_have_count(0)
    await page.reload()
    await expect(search).to_have_value("нау")
    await page.get_by_role("link", name="Agents").locator("visible=true").first.click()
    await main.get_by_role("searchbox", name="Find an agent").fill("писар")
    await main.get_by_role("link", name="Писар").click()
    await expect(page).to_have_url(re.compile("/agents/scribe$"))
    await page.go_back()
    await expect(main.get_by_role("searchbox", name="Find an agent")).to_have_value("писар")


async def test_room_opened_anew_starts_at_its_end_and_a_link_at_its_message(
    city: InProcessCity, browser: Browser, viewport: Any
) -> None:
    """Another visit in the same tab is another history entry, also if both are the first ones of their documents."""
    page = await visit(city, browser, "/city/music", viewport=viewport)
    linked, _ = await scroll_up(page)
    await page.goto("/agents")
    await page.goto("/city/music")
    await expect(row(page, NEWEST)).to_be_visible()
    await until_at_bottom(page)
    for _ in range(2):
        await page.goto("/agents")
        await page.goto(f"/city/music/{linked}")
        await expect(page.locator(f"[data-message='{linked}']")).to_be_in_viewport()
        await page.get_by_role("button", name="To the bottom").click()
        await until_at_bottom(page)


async def test_link_within_the_page_is_an_entry_of_its_own(
    city: InProcessCity, browser: Browser, viewport: Any
) -> None:
    page = await enter(city, browser, viewport)
    key = await page.evaluate("history.state.key")
    await page.get_by_role("link", name="Skip to content").press("Enter")
    await expect(page).to_have_url(re.compile("#main$"))
    await until_true(page, "key => ![undefined, key].includes(history.state?.key)", key)


async def test_place_of_a_message_that_is_gone_is_the_end_of_the_room(
    city: InProcessCity, browser: Browser, viewport: Any
) -> None:
    page = await enter(city, browser, viewport)
    await (await open_palette(page)).fill("музи")
    await page.keyboard.press("Enter")
    await scroll_up(page)
    await (await open_palette(page)).fill("нау")
    await page.keyboard.press("Enter")
    await expect(row(page, "моє слово")).to_be_visible()
    gone = {"status": 404, "json": {"code": "no_such_message", "title": "", "status": 404}}
    await page.route("**/messages?*around=*", lambda route: route.fulfill(**gone))
    await page.go_back()
    await expect(row(page, NEWEST)).to_be_in_viewport()
    await until_at_bottom(page)
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_double_click_on_a_link_is_one_step(city: InProcessCity, browser: Browser, viewport: Any) -> None:
    page = await visit(city, browser, "/city", viewport=viewport)
    await page.get_by_role("main").get_by_role("link", name="Наука").evaluate("link => { link.click(); link.click(); }")
    await expect(row(page, "моє слово")).to_be_visible()
    await page.go_back()
    await expect(page).to_have_url(re.compile("/city$"))


async def test_double_click_that_closes_a_thread_stays_in_the_room(
    city: InProcessCity, browser: Browser, viewport: Any
) -> None:
    page = await enter(city, browser, viewport)
    # Twice: the second thread is closed by a later click on the same button.
    for _ in range(2):
        panel = await open_thread(page)
        await panel.get_by_role("button", name="Close").evaluate("button => { button.click(); button.click(); }")
        await expect(panel).to_be_hidden()
        await expect(page).to_have_url(re.compile(f"{ROOM}$"))
    await page.go_back()
    await expect(page).to_have_url(re.compile("/city$"))
