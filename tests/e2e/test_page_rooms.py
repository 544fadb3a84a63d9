"""The rooms as somebody uses them all day: the list beside the conversation, the palette, mentions, cards, links and keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Route, expect

from tests.parts.browser import Browser, start_browser
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

DANA: Final = citizen_token("u_dana", "Дана Руда")
TARAS: Final = citizen_token("u_taras", "Тарас Шевчук")
WIDE: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
OLD: Final = 160
"""Messages in the room with a long history."""
TABS: Final = 40
"""Presses of Tab within which a keyboard reaches the parts of a page."""


async def say(city: InProcessCity, body: str, *, room: str = "general", token: str = DANA, **more: str) -> str:
    """Post a message and return its id."""
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body, **more}, token=token)
    assert answer.status == 201, answer
    return str(answer.content["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_rooms") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    limits = {"messages": "10000/minute", "reads": "100000/minute"}
    async with in_process_city(f"sqlite:///{file}", limits=limits) as city:
        for name, slug in (("Наука", "science"), ("Музика", "music")):
            answer = await city.call("POST", "/city/rooms", {"name": name, "slug": slug}, token=DANA)
            assert answer.status == 201, answer
        await say(city, "Добрий вечір!")
        await say(city, "Лекція завтра", room="science")
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def visit(city: InProcessCity, browser: Browser, path: str, *, token: str = TARAS, **options: Any) -> Page:
    """A page of a citizen, on a wide screen unless ``options`` say otherwise."""
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": token}]}],
    }
    wanted = {"locale": "en-US", "viewport": WIDE, "storage_state": stored, "base_url": origin} | options
    page = (await (await browser.other_profile(**wanted)).open("about:blank")).page
    await page.goto(path)
    return page


def row(page: Page, body: str) -> Locator:
    return page.get_by_role("log").get_by_role("article").filter(has_text=body)


def field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message to")


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
    box, log = await article.bounding_box(), await page.get_by_role("log").bounding_box()
    assert box is not None
    assert log is not None
    assert abs(box["y"] + box["height"] / 2 - log["y"] - log["height"] / 2) < log["height"] / 4, (box, log)


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
    await keys.type("нау")
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


async def test_long_placeholder_ends_in_an_ellipsis(city: InProcessCity, browser: Browser) -> None:
    name = "Кімната з назвою, довшою за екран телефона"
    room = {"name": name, "slug": "long-name"}
    assert (await city.call("POST", "/city/rooms", room, token=DANA)).status == 201
    page = await visit(city, browser, "/city/long-name", viewport=PHONE)
    shown = page.get_by_role("main").locator("form").get_by_text(name)
    await expect(shown).to_be_visible()
    is_cut = "text => [text.scrollWidth > text.clientWidth, getComputedStyle(text).textOverflow]"
    assert await shown.locator("xpath=..").evaluate(is_cut) == [True, "ellipsis"]
    empty = await field(page).bounding_box()
    await field(page).fill("одне слово")
    await expect(shown).to_be_hidden()
    assert await field(page).bounding_box() == empty


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
    # A page that renders slowly: the button of the row appears frames later.
    await page.evaluate("setInterval(() => { const end = Date.now() + 80; while (Date.now() < end); }, 90)")
    text = page.get_by_role("log").get_by_text("тримайте палець")
    box = await text.bounding_box()
    assert box is not None
    session = await page.context.new_cdp_session(page)
    finger = [{"x": box["x"] + 10, "y": box["y"] + 10}]
    await session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": finger})
    sheet = page.get_by_role("dialog", name="Дії з повідомленням")
    await expect(sheet).to_be_visible()
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    # Playwright delivers events in order: after this one, a click at the finger's place would have closed the sheet.
    await page.mouse.move(1, 1)
    await expect(sheet).to_be_visible()


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
