"""The chat of a room on a page of another site: its button, its frame, the window to sign in, and sites that may not embed it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import FrameLocator, Page, expect

from tests.parts.browser import Browser, Tab, click_to_close, serve_page, start_browser, until_true
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE: Final = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
ROOM: Final = "/city/rooms/general/messages"
DANA: Final = citizen_token("u_dana", "Дана")

SITE: Final = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
<title>A shop</title><body><h1>A shop</h1><button>Buy</button><script>
const { city, ...data } = Object.fromEntries(new URLSearchParams(location.search));
const script = document.createElement("script");
Object.assign(script.dataset, data);
script.src = city + "/widget.js";
document.head.append(script);
</script></body></html>"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser(is_complete=True) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[str]:
    """Origin of a page that loads the script of the city in its address."""
    async with serve_page(SITE) as origin:
        yield origin.replace(HOST, "localhost")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("embed") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    sections: dict[str, dict[str, Any]] = {
        "sign_in": {"name": True},
        "web": {"embed_ancestors": ["http://localhost:*"]},
        "limits": {"reads": "100000/minute"},
    }
    async with in_process_city(f"sqlite:///{file}", [], **sections) as city:
        await _post(city, "Вітаю у дворі")
        yield city


async def _post(city: InProcessCity, body: str, **more: str) -> str:
    answer = await city.call("POST", ROOM, {"body": body, **more}, token=DANA)
    assert answer.status == 201, answer
    return str(answer.content["id"])


def _origin(city: InProcessCity) -> str:
    return f"http://{HOST}:{city.city.settings.api.port}"


async def _visit(browser: Browser, city: InProcessCity, site: str, **options: Any) -> Tab:
    """Open the site in a browser that has never been there; options of the browser and ``data-`` attributes of the script."""
    data = {name: options.pop(name) for name in ("room", "lang", "theme", "accent") if name in options}
    visitor = await browser.other_profile(locale="en-US", **options)
    query = "&".join(f"{name}={value}" for name, value in ({"city": _origin(city)} | data).items())
    return await visitor.open(f"{site}/?{query}")


def _chat(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


async def _axe(tab: Tab) -> list[str]:
    """Return the faults that axe finds in the chat."""
    frame = tab.page.frames[-1]
    await frame.evaluate(AXE.read_text())
    found = await frame.evaluate("axe.run()")
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]


async def test_button_opens_chat_and_counts_while_closed(city: InProcessCity, browser: Browser, site: str) -> None:
    tab = await _visit(browser, city, site, reduced_motion="reduce")
    page, chat = tab.page, _chat(tab.page)
    button = page.get_by_role("button", name="Open the chat: General")
    await button.wait_for()
    assert await button.get_attribute("aria-expanded") == "false"
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await chat.get_by_role("article").get_by_text("Вітаю у дворі").wait_for()
    assert await page.locator("iframe").get_attribute("title") == "General"
    await until_true(page, "document.activeElement.shadowRoot?.activeElement.localName === 'iframe'")
    assert await _axe(tab) == []

    await chat.get_by_role("log").press("Escape")
    await expect(page.locator("iframe")).to_be_hidden()
    await until_true(page, "document.activeElement.shadowRoot?.activeElement.localName === 'button'")
    await expect(button.locator("b")).to_have_text("")

    await _post(city, "Хто тут?")
    asked = page.get_by_role("button", name="Open the chat: General, 1 new message")
    await expect(asked.locator("b")).to_have_text("1")
    await asked.click()
    await chat.get_by_role("article").get_by_text("Хто тут?").wait_for()
    await expect(page.get_by_role("button", name="Close the chat: General").locator("b")).to_have_text("")
    await chat.get_by_role("button", name="Close", exact=True).click()
    await expect(page.locator("iframe")).to_be_hidden()
    assert tab.errors == []


async def test_reader_signs_in_by_window_and_writes(city: InProcessCity, browser: Browser, site: str) -> None:
    tab = await _visit(browser, city, site)
    page, chat = tab.page, _chat(tab.page)
    await page.get_by_role("button", name="Open the chat: General").click()
    async with page.expect_popup() as opening:
        await chat.get_by_role("button", name="Sign in", exact=True).click()
    window = await opening.value
    await window.get_by_label("What is your name?").fill("Іванна")
    await click_to_close(window, "Come in")
    await chat.get_by_role("textbox", name="Message to General").fill("з крамниці")
    await chat.get_by_role("button", name="Send", exact=True).click()
    await chat.get_by_role("article").get_by_text("з крамниці").wait_for()
    await expect(
        chat.get_by_role("article").filter(has_text="з крамниці").get_by_role("img", name="sending")
    ).to_have_count(0)

    # Without storage of its own the frame asks again; the window knows the citizen by now, and asks before it tells.
    await page.reload()
    await page.get_by_role("button", name="Open the chat: General").click()
    async with page.expect_popup() as opening:
        await chat.get_by_role("button", name="Sign in", exact=True).click()
    window = await opening.value
    await click_to_close(window, "Continue as Іванна")
    await chat.get_by_role("textbox", name="Message to General").wait_for()


async def test_window_gives_no_token_to_another_opener(city: InProcessCity, browser: Browser, site: str) -> None:
    tab = await _visit(browser, city, site)
    context = tab.page.context
    own = await context.new_page()
    await own.goto(f"{_origin(city)}/city")
    await own.evaluate("token => localStorage.setItem('city.session', token)", DANA)
    await tab.page.evaluate("addEventListener('message', ({ data }) => { window.received = JSON.stringify(data) })")
    async with tab.page.expect_popup() as opening:
        await tab.page.evaluate("url => void window.open(url)", f"{_origin(city)}/embed/sign-in?state=1")
    window = await opening.value
    await click_to_close(window, "Continue as Дана")
    # Messages arrive in order: when this one is there, the other would be.
    await tab.page.evaluate("postMessage('last', '*')")
    await until_true(tab.page, "window.received !== undefined")
    assert "session" not in await tab.page.evaluate("window.received")


async def test_links_of_chat_open_in_new_tab(city: InProcessCity, browser: Browser, site: str) -> None:
    await _post(city, f"див. {_origin(city)}/agents")
    tab = await _visit(browser, city, site)
    page, chat = tab.page, _chat(tab.page)
    await page.get_by_role("button", name="Open the chat: General").click()
    async with page.expect_popup() as opening:
        await chat.get_by_role("link", name="/agents").click()
    assert (await opening.value).url.endswith("/agents")
    async with page.expect_popup() as opening:
        await chat.get_by_role("link", name="Open in the city").click()
    assert (await opening.value).url.endswith("/city/general")
    await chat.get_by_role("log").wait_for()


async def test_chat_leaves_the_history_of_the_site_alone(city: InProcessCity, browser: Browser, site: str) -> None:
    """A thread neither adds an entry to it, nor goes back in it when it closes."""
    root = await _post(city, "Хто за гілку?")
    await _post(city, "Я за", thread_root=root)
    tab = await _visit(browser, city, site)
    page, chat = tab.page, _chat(tab.page)
    await page.get_by_role("button", name="Open the chat: General").click()
    asked = chat.get_by_role("article").filter(has_text="Хто за гілку?")
    await asked.wait_for()
    length = await page.evaluate("history.length")
    panel = chat.get_by_role("complementary", name="Thread", exact=True)
    await asked.get_by_role("button", name="1 reply").click()
    await panel.get_by_text("Я за").wait_for()
    assert await page.evaluate("history.length") == length
    await page.evaluate("history.pushState(null, '', '?page=2')")
    await panel.get_by_role("button", name="Close").click()
    await expect(panel).to_be_hidden()
    assert page.url.endswith("?page=2")
    assert tab.errors == []


async def test_chat_follows_attributes_of_script(city: InProcessCity, browser: Browser, site: str) -> None:
    phone = {"width": 390, "height": 700}
    tab = await _visit(browser, city, site, lang="uk", theme="dark", accent="ffd400", viewport=phone)
    page, chat = tab.page, _chat(tab.page)
    button = page.get_by_role("button", name="Відкрити чат: General")
    await expect(button).to_have_css("background-color", "rgb(255, 212, 0)")
    await expect(button).to_have_css("color", "rgb(0, 0, 0)")
    await button.click()
    await chat.get_by_role("log").wait_for()
    frame = page.frames[-1]
    assert await frame.evaluate("document.documentElement.lang") == "uk"
    assert await frame.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    box = await page.locator("iframe").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 700}
    assert await _axe(tab) == []


async def test_site_that_is_not_allowed_has_no_button(city: InProcessCity, browser: Browser, site: str) -> None:
    tab = await _visit(browser, city, site.replace("localhost", "other.localhost"))
    await tab.has_error("frame-ancestors http://localhost:*")
    await expect(tab.page.get_by_role("button")).to_have_count(1)


async def test_other_pages_are_in_no_frame(city: InProcessCity, browser: Browser, site: str) -> None:
    tab = await _visit(browser, city, site, room="general")
    await tab.page.get_by_role("button", name="Open the chat: General").wait_for()
    await tab.page.evaluate(
        "url => (document.body.appendChild(document.createElement('iframe')).src = url)", _origin(city)
    )
    await tab.has_error("frame-ancestors 'none'")
