"""Text of messages on the page of a room: direction, links, emoji, tables, and pasted content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.parts.browser import start_browser
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

DANA: Final = citizen_token("u_dana", "דנה")
TARAS: Final = citizen_token("u_taras", "Тарас")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_text") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    async with in_process_city(f"sqlite:///{file}") as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(city: InProcessCity) -> AsyncIterator[Page]:
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    kept = [{"name": "city.session", "value": TARAS}]
    async with start_browser() as browser:
        reader = await browser.other_profile(
            locale="en-US", storage_state={"cookies": [], "origins": [{"origin": origin, "localStorage": kept}]}
        )
        yield (await reader.open(f"{origin}/city/general")).page


async def shown(city: InProcessCity, page: Page, body: str, token: str = DANA, **more: str) -> Locator:
    """The row of a message that was just said."""
    answer = await city.call("POST", "/city/rooms/general/messages", {"body": body, **more}, token=token)
    assert answer.status == 201, answer
    row = page.locator(f"[data-message='{answer.content['id']}']")
    await row.wait_for()
    return row


async def test_right_to_left_text_keeps_its_direction(city: InProcessCity, page: Page) -> None:
    row = await shown(city, page, "שלום, מה שלומכם?")
    direction = "node => getComputedStyle(node).direction"
    assert await row.get_by_text("שלום, מה שלומכם?").evaluate(direction) == "rtl"
    assert await row.locator("p bdi").evaluate(direction) == "rtl"
    latin = await shown(city, page, "**hello**", TARAS)
    assert await latin.get_by_text("hello").evaluate(direction) == "ltr"


async def test_headings_and_tables_have_margins(city: InProcessCity, page: Page) -> None:
    row = await shown(city, page, "# Перший\n## Другий\n\n| a | b |\n|---|---|\n| c | d |")
    tops = await row.locator("strong").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().top)")
    assert len(tops) == len(set(tops)) == 2
    border = await row.get_by_role("cell", name="c").evaluate("node => getComputedStyle(node).borderTopStyle")
    assert border == "solid"


@pytest.mark.parametrize(("body", "is_large"), [("👨‍👩‍👧‍👦🇺🇦1️⃣", True), ("123 👍", False), ("© 2024", False)])
async def test_emoji_only_message_is_large(city: InProcessCity, page: Page, body: str, is_large: bool) -> None:
    row = await shown(city, page, body)
    size = await row.get_by_text(body, exact=True).evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    assert (size > 30) is is_large


async def test_address_with_brackets_links_whole(city: InProcessCity, page: Page) -> None:
    row = await shown(city, page, "**Дивіться** (https://en.wikipedia.org/wiki/Foo_(bar)).")
    link = row.get_by_role("link")
    await expect(link).to_have_attribute("href", "https://en.wikipedia.org/wiki/Foo_(bar)")
    await expect(link).to_have_text("https://en.wikipedia.org/wiki/Foo_(bar)")


PASTE: Final = """([field, contents]) => {
  const data = new DataTransfer();
  for (const [type, content] of Object.entries(contents)) {
    if (type.startsWith("text/")) data.setData(type, content);
    else data.items.add(new File([content], "image", {type}));
  }
  const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  return field.dispatchEvent(event);
}"""


@pytest.mark.parametrize(
    ("contents", "is_text"),
    [
        ({"text/plain": "1\t2", "text/html": "<table><tr><td>1<td>2</table>", "image/png": "png"}, True),
        ({"text/plain": "1\t2"}, True),
        ({"text/html": "<img src=x>", "image/png": "png"}, False),
        ({"text/plain": "photo.png", "image/png": "png"}, False),
    ],
)
async def test_paste_from_a_spreadsheet_gives_its_text(page: Page, contents: dict[str, str], is_text: bool) -> None:
    field = await page.get_by_role("textbox", name="Message to General").element_handle()
    # The browser inserts the text itself if the page leaves the event alone.
    assert await page.evaluate(PASTE, [field, contents]) is is_text


async def test_long_paste_is_laid_out_in_the_system_font(page: Page) -> None:
    # In the font of the pages, Chromium takes seconds to lay out a long Cyrillic text.
    field = page.get_by_role("textbox", name="Message to General")
    font = "field => getComputedStyle(field).fontFamily"
    assert "Onest" in await field.evaluate(font)
    assert await page.evaluate(PASTE, [await field.element_handle(), {"text/plain": "слово " * 10_000}])
    assert "Onest" not in await field.evaluate(font)
    await field.fill("слово " * 1_000)
    assert "Onest" not in await field.evaluate(font)
    await field.fill("")
    assert "Onest" in await field.evaluate(font)


async def test_room_card_counts_messages_of_others(city: InProcessCity, page: Page) -> None:
    await shown(city, page, "прочитане")
    await page.get_by_role("link", name="Rooms", exact=True).click()
    card = page.locator("main li", has=page.get_by_role("link", name="General"))
    await expect(card).to_be_visible()
    await expect(card.get_by_text("new")).to_have_count(0)
    general = "/city/rooms/general"
    for token, body in ((TARAS, "моє з телефону"), (DANA, "раз"), (DANA, "два")):
        assert (await city.call("POST", f"{general}/messages", {"body": body}, token=token)).status == 201
    await page.reload()
    await expect(card.get_by_text("2 new", exact=True)).to_be_visible()
    await card.get_by_role("link").click()
    await expect(page.get_by_text("New since you were here")).to_be_visible()
    await page.get_by_role("link", name="Rooms", exact=True).click()
    await expect(card).to_be_visible()

    async def has_read() -> bool:
        rooms = await city.get("/city/rooms", token=TARAS)
        return all(room["unread"] == 0 for room in rooms if room["slug"] == "general")

    await eventually(has_read)
    answer = await city.call("POST", f"{general}/join", token=citizen_token("u_new", "Нова"))
    assert answer.status == 200
    await page.reload()
    await expect(card).to_be_visible()
    await page.wait_for_load_state("networkidle")
    await expect(card.get_by_text("new")).to_have_count(0)


async def test_front_page_requests_only_shown_data(city: InProcessCity, page: Page) -> None:
    received: list[str] = []
    page.on("request", lambda request: received.append(request.url))
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    await page.goto(origin)
    await page.get_by_role("heading", name="What is new").wait_for()
    await page.wait_for_load_state("networkidle")
    lists = [url for url in received if url.startswith((f"{origin}/city/rooms", f"{origin}/api/v1/agents"))]
    assert lists == []


async def test_mention_from_agent_page_is_prefilled(city: InProcessCity, page: Page) -> None:
    await page.goto(f"http://{HOST}:{city.city.settings.api.port}/city/general?mention=daarwizz")
    field = page.get_by_role("textbox", name="Message to")
    await expect(field).to_have_value("@daarwizz ")
    await expect(field).to_be_focused()
    await page.keyboard.type("where is the market?")
    await expect(field).to_have_value("@daarwizz where is the market?")
    await field.fill("")


async def test_wide_markup_scrolls_within_itself_on_a_phone(city: InProcessCity, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"http://{HOST}:{city.city.settings.api.port}/city/general")
    words = [f"найдовша{number}колонка" for number in range(8)]
    table = "\n".join(["|".join(words), "|".join(["---"] * 8), "|".join(words)])
    row = await shown(city, page, f"{table}\n\n```\n{'код ' * 80}\n```\n\n`{'довгийкод' * 20}`\n\n{'слово' * 60}")
    scrolls = "node => getComputedStyle(node).overflowX === 'auto' && node.scrollWidth > node.clientWidth"
    assert await row.locator("div:has(> table)").evaluate(scrolls)
    assert await row.locator("pre").evaluate(scrolls)
    beside = """pre => {
        const { right, top } = pre.getBoundingClientRect();
        return [1, 20].map(pixels => document.elementFromPoint(right - pixels, top + 20).closest("button") !== null);
    }"""
    assert await row.locator("pre").evaluate(beside) == [True, True], "no letters are beside the button to copy"
    lines = """node => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return range.getClientRects().length;
    }"""
    for cell in await row.locator("td").all():
        assert await cell.evaluate(lines) == 1, "a word is not broken while the table can scroll"
    sizes = await row.locator("pre code, p code").evaluate_all(
        "codes => codes.map((code) => getComputedStyle(code).fontSize)"
    )
    assert sizes == ["13.6px", "13.6px"]
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    log = page.get_by_role("log")
    assert await log.evaluate("node => node.scrollWidth === node.clientWidth")
