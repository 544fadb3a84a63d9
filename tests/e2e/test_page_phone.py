"""A room in a narrow window: its header, its input, and the sheet with the actions of a message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.parts.browser import Browser, start_browser, until_at_bottom
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity
from tests.parts.room_pages import DANA, PHONE, city_with_rooms, field, row, say, visit

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    async with city_with_rooms(tmp_path_factory.mktemp("page_phone") / "city.db", sqlite_template) as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def test_phone_shows_name_of_a_room_to_join(city: InProcessCity, browser: Browser) -> None:
    page = await visit(
        city, browser, "/city/general", token=citizen_token("u_nova", "Нова"), viewport=PHONE, reduced_motion="reduce"
    )
    title = page.get_by_role("heading", name="General", level=1)
    await expect(title).to_be_visible()
    assert await title.evaluate("title => title.scrollWidth <= title.clientWidth")
    await page.get_by_role("main").get_by_role("button", name="More about the room").click()
    await page.get_by_role("button", name="Join", exact=True).click()
    await page.get_by_role("main").get_by_role("button", name="More about the room").click()
    await expect(page.get_by_role("button", name="Leave the room", exact=True)).to_be_visible()


HEIGHTS_WITH_AND_WITHOUT_PEOPLE: Final = """bar => {
    const full = bar.offsetHeight;
    for (const each of bar.querySelectorAll("ul, span:first-child")) each.replaceChildren();
    return [full, bar.offsetHeight];
}"""


@pytest.mark.parametrize("width", [PHONE["width"], 1280])
async def test_rooms_stay_in_place_as_people_come(city: InProcessCity, browser: Browser, width: int) -> None:
    page = await visit(city, browser, "/city", viewport={"width": width, "height": 844})
    bar = page.get_by_role("region", name="Who is in the city now")
    await expect(bar.get_by_role("listitem").first).to_be_visible()
    full, empty = await bar.evaluate(HEIGHTS_WITH_AND_WITHOUT_PEOPLE)
    assert full == empty


@pytest.mark.parametrize("width", [PHONE["width"], 599, 600, 1280])
async def test_room_offers_to_join_in_one_place(city: InProcessCity, browser: Browser, width: int) -> None:
    page = await visit(
        city,
        browser,
        "/city/general",
        token=citizen_token(f"u_{width}", "Нова"),
        viewport={"width": width, "height": 844},
    )
    await page.get_by_role("main").get_by_role("button", name="More about the room").click()
    await expect(page.get_by_role("link", name="Open in Element")).to_be_visible()
    await expect(page.get_by_role("button", name="Join", exact=True)).to_have_count(1)


async def test_long_placeholder_ends_in_an_ellipsis(city: InProcessCity, browser: Browser) -> None:
    name = "Кімната з назвою, довшою за екран телефона"
    room = {"name": name, "slug": "long-name"}
    assert (await city.call("POST", "/city/rooms", room, token=DANA)).status == 201
    page = await visit(city, browser, "/city/long-name", viewport=PHONE)
    shown = page.get_by_role("main").locator("form").get_by_text(name)
    await expect(shown).to_be_visible()
    is_cut = "text => [text.scrollWidth > text.clientWidth, getComputedStyle(text).textOverflow]"
    assert await shown.locator("xpath=..").evaluate(is_cut) == [True, "ellipsis"]
    # A banner above may move the field.
    size = "field => [field.offsetWidth, field.offsetHeight]"
    empty = await field(page).evaluate(size)
    await field(page).fill("одне слово")
    await expect(shown).to_be_hidden()
    assert await field(page).evaluate(size) == empty


async def test_thread_field_shows_its_whole_placeholder(city: InProcessCity, browser: Browser) -> None:
    root = await say(city, "корінь без відповідей", room="science")
    reply = await say(city, "перша", room="science", thread_root=root)
    laptop = {"width": 1280, "height": 800}
    page = await visit(city, browser, f"/city/science/{reply}", locale="uk-UA", viewport=laptop)
    thread = page.get_by_role("complementary", name="Гілка", exact=True)
    box = await thread.get_by_role("textbox", name="Відповісти в гілці").bounding_box()
    assert box is not None
    assert box["width"] > 170, box
    await thread.get_by_role("button", name="Додати до повідомлення").click()
    await expect(thread.get_by_role("button", name="Записати голосове повідомлення")).to_be_visible()


async def test_phone_shows_actions_in_a_sheet(city: InProcessCity, browser: Browser) -> None:
    await say(city, "тисніть довго", room="science")
    page = await visit(
        city, browser, "/city/science", viewport=PHONE, has_touch=True, locale="uk-UA", reduced_motion="reduce"
    )
    await expect(page.get_by_role("banner")).to_be_hidden()
    # Chromium's headless shell has a mouse on a phone, too, and it would leave the log after the tap.
    log = await page.get_by_role("log").bounding_box()
    assert log is not None
    await page.mouse.move(log["x"] + 1, log["y"] + 1)
    await row(page, "тисніть довго").tap()
    await page.get_by_role("button", name="Дії з повідомленням").tap()
    sheet = page.get_by_role("dialog", name="Дії з повідомленням")
    # Without motion, too, its animation has a first frame.
    await expect(sheet).to_be_in_viewport(ratio=1)
    box = await sheet.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] == pytest.approx(PHONE["height"], abs=1)
    await sheet.get_by_role("button", name="Відповісти", exact=True).tap()
    await expect(page.get_by_text("Відповідь для Дана Руда")).to_be_visible()
    await page.get_by_role("link", name="Кімнати міста").tap()
    await expect(page.get_by_role("banner")).to_be_visible()


async def test_long_press_opens_sheet_that_stays(city: InProcessCity, browser: Browser) -> None:
    await say(city, "тримайте палець", room="science")
    page = await visit(city, browser, "/city/science", viewport=PHONE, has_touch=True, locale="uk-UA")
    text = page.get_by_role("log").get_by_text("тримайте палець")
    await until_at_bottom(page)
    await text.hover(trial=True)  # waits until it rests
    box = await text.bounding_box()
    assert box is not None
    # A page that renders slowly: the button of the row appears frames later.
    await page.evaluate("setInterval(() => { const end = Date.now() + 80; while (Date.now() < end); }, 90)")
    session = await page.context.new_cdp_session(page)
    finger = [{"x": box["x"] + 10, "y": box["y"] + 10}]
    await session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": finger})
    sheet = page.get_by_role("dialog", name="Дії з повідомленням")
    await expect(sheet).to_be_visible()
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    # Playwright delivers events in order: after this one, a click at the finger's place would have closed the sheet.
    await page.mouse.move(1, 1)
    await expect(sheet).to_be_visible()


async def test_palette_has_a_button_to_close_for_fingers(city: InProcessCity, browser: Browser) -> None:
    page = await visit(city, browser, "/city", viewport=PHONE, has_touch=True, is_mobile=True)
    await page.get_by_role("button", name="Find anything in the city").tap()
    palette = page.get_by_role("dialog", name="Find anything in the city")
    await palette.get_by_role("button", name="Close").tap()
    await expect(palette).to_be_hidden()
