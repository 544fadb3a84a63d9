"""The page of a room with a long history: quoted messages far back, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.parts.browser import start_browser, until_at_bottom
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

DANA: Final = citizen_token("u_dana", "Дана")
MESSAGES: Final = 240


async def say(city: InProcessCity, body: str, **more: str) -> str:
    """The id of a message that was just said."""
    answer = await city.call("POST", "/city/rooms/general/messages", {"body": body, **more}, token=DANA)
    assert answer.status == 201, answer
    return str(answer.content["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_history") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    async with in_process_city(f"sqlite:///{file}", limits={"messages": "10000/minute"}) as city:
        first = await say(city, "рядок 0")
        for number in range(1, MESSAGES):
            await say(city, f"рядок {number}")
        await say(city, "відповідь", reply_to=first)
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with start_browser() as browser:
        reader = await browser.other_profile(locale="en-US", viewport={"width": 1280, "height": 720})
        yield (await reader.open("about:blank")).page


async def jump_to_the_first(city: InProcessCity, page: Page) -> None:
    """Open the room, and follow the quote of its last message."""
    await page.goto(f"http://{HOST}:{city.city.settings.api.port}/city/general")
    await page.get_by_role("button", name="Go to the message that this replies to").press("Enter")
    await expect(row(page, "рядок 0")).to_be_in_viewport()


def row(page: Page, body: str) -> Locator:
    return page.get_by_role("log").get_by_text(body, exact=True)


async def test_quote_of_old_message_costs_one_request(city: InProcessCity, page: Page) -> None:
    received: list[str] = []
    page.on("request", lambda request: received.append(request.url) if "/messages?" in request.url else None)
    await jump_to_the_first(city, page)
    assert sum("around=" in url for url in received) == 1
    assert len(received) < 4  # with what is loaded ahead at either end
    await say(city, "сказано тим часом")
    await page.get_by_role("button", name="To the bottom").click()
    await expect(row(page, "сказано тим часом")).to_be_in_viewport()
    await until_at_bottom(page)


async def test_history_from_quote_has_no_gap(city: InProcessCity, page: Page) -> None:
    await jump_to_the_first(city, page)
    await page.get_by_role("log").hover()
    for number in range(10, MESSAGES, 10):
        await scroll_to(page, row(page, f"рядок {number}"))


async def scroll_to(page: Page, line: Locator) -> None:
    """Turn the wheel until a line is drawn."""
    for _ in range(100):
        await page.mouse.wheel(0, 150)
        if await line.count():
            return
        await page.evaluate("() => new Promise(requestAnimationFrame)")
    await expect(line).to_be_visible()


async def test_link_stays_at_its_message_in_a_short_history_of_tall_ones(city: InProcessCity, page: Page) -> None:
    answer = await city.call("POST", "/city/rooms", {"name": "Tall", "slug": "tall"}, token=DANA)
    assert answer.status == 201, answer
    ids = []
    for number in range(20):
        message = {"body": f"лист {number}\n\n" + "рядок листа\n" * 7}
        said = await city.call("POST", "/city/rooms/tall/messages", message, token=DANA)
        ids.append(said.content["id"])
    await page.goto(f"http://{HOST}:{city.city.settings.api.port}/city/tall/{ids[3]}")
    linked = page.locator(f"[data-message='{ids[3]}']")
    await expect(linked).to_be_in_viewport()
    # Before rows are measured, their estimated heights place it near the end.
    is_in_sight = """(id) => new Promise((resolve) => {
        const seen = [];
        const look = () => {
            const shown = document.querySelector(`[data-message="${id}"]`);
            seen.push(shown !== null && shown.getBoundingClientRect().top < innerHeight);
            if (seen.length === 15) resolve(seen.every(Boolean));
            else setTimeout(look, 100);
        };
        look();
    })"""
    assert await page.evaluate(is_in_sight, ids[3])
    await expect(page.get_by_role("button", name="To the bottom")).to_be_visible()
