"""Search in messages, places, and ways into a long history, in a real browser: links to messages, and days from a calendar."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.parts.browser import Browser, start_browser, until_true
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE: Final = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
DANA: Final = citizen_token("u_dana", "Дана")
TARAS: Final = citizen_token("u_taras", "Тарас")
MESSAGES: Final = 10_000
AGENTS: Final = [
    {"slug": "varta", "display_name": "Варта", "node_id": "node-1", "node_role": "guardian", "district": "podil"},
    {"slug": "daarwizz", "display_name": "DAARWIZZ", "microdao": "daarion", "microdao_role": "orchestrator"},
]


SHOWS: Final = """(text) => {
  const log = document.querySelector("[role=log]");
  const isEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  return isEnd && log.textContent.includes(text);
}"""


async def _say(city: InProcessCity, room: str, body: str, token: str = DANA) -> str:
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body}, token=token)
    assert answer.status == 201, answer
    return str(answer.content["id"])


def _fill(file: Path, copied: str) -> None:
    """Store copies of a message before it, one a minute: as requests they would take minutes."""
    with closing(sqlite3.connect(file)) as database, database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM messages WHERE id = ?", [copied]).fetchone())
        room, last = row["room_id"], row["seq"] + MESSAGES
        rows = [
            row
            | {
                "id": _id(number),
                "seq": last - MESSAGES + number,
                "body": f"рядок {number}",
                "client_id": None,
                "created_at_ms": row["created_at_ms"] - (MESSAGES - number) * 60_000,
            }
            for number in range(1, MESSAGES + 1)
        ]
        names = list(row)
        database.executemany(
            f"INSERT INTO messages ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})", rows
        )
        database.execute("UPDATE rooms SET last_seq = ? WHERE id = ?", [last, room])


def _id(number: int) -> str:
    return f"{number:026}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_search") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    limits = {"messages": "10000/minute", "searches": "10000/minute", "reads": "100000/minute"}
    async with in_process_city(f"sqlite:///{file}", AGENTS, limits=limits) as city:
        first = await _say(city, "general", "перший")
    _fill(file, first)
    async with in_process_city(f"sqlite:///{file}", AGENTS, limits=limits) as city:
        for number in range(25):
            await _say(city, "builders", f"Фунікулер {number}: <b>їде</b>")
        await _say(city, "general", "фунікулер стоїть", TARAS)
        for path, place in {
            "districts/podil": {"name": "Поділ"},
            "nodes/node-1": {"name": "Вузол", "district": "podil"},
        }.items():
            assert (await city.call("PUT", f"/api/v1/{path}", place, token=ADMIN_TOKEN)).status in (200, 201)
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def _open(browser: Browser, city: InProcessCity, path: str, **options: Any) -> Page:
    settings = {"locale": "en-US", "viewport": {"width": 1280, "height": 720}, "reduced_motion": "reduce"} | options
    reader = await browser.other_profile(**settings)
    return (await reader.open(f"http://{HOST}:{city.city.settings.api.port}{path}")).page


async def _axe(page: Page) -> list[str]:
    """Return the faults that axe finds in the page."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]


# --- search -------------------------------------------------------------------------------------------


async def test_search_finds_highlights_and_pages(city: InProcessCity, browser: Browser) -> None:
    page = await _open(browser, city, "/search")
    main = page.get_by_role("main")
    await main.get_by_label("Words of the message").fill("фунікулером")
    await main.get_by_role("button", name="Find", exact=True).click()
    await expect(main.get_by_role("status")).to_contain_text("The newest 20 messages")
    results = main.get_by_role("listitem")
    await expect(results).to_have_count(20)
    await expect(results.first.locator("mark")).to_have_text("фунікулер")
    await expect(results.nth(1).get_by_role("link")).to_have_text("Фунікулер 24: <b>їде</b>")
    await main.get_by_role("button", name="Older results").click()
    await expect(results).to_have_count(26)
    await expect(main.get_by_role("status")).to_contain_text("26 messages")
    assert await _axe(page) == []
    position = "document.scrollingElement.scrollTop + document.querySelector('main').scrollTop"
    await results.last.scroll_into_view_if_needed()
    left = await page.evaluate(position)
    assert left > 0
    await page.reload()
    await expect(results).to_have_count(26)
    await until_true(page, f"{position} === {left}")

    await main.get_by_label("From", exact=True).select_option("Тарас")
    await expect(results).to_have_count(1)
    assert "author=u_taras" in page.url
    await page.reload()
    await expect(results).to_have_count(1)
    await results.get_by_role("link").click()
    await expect(page.get_by_role("log").get_by_text("фунікулер стоїть")).to_be_in_viewport()


async def test_search_filters_by_room_and_day(city: InProcessCity, browser: Browser) -> None:
    page = await _open(browser, city, "/search?q=фунікулер&room=general")
    main = page.get_by_role("main")
    await expect(main.get_by_role("status")).to_contain_text("1 message")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    await main.get_by_label("To the day").fill(yesterday)
    await expect(main.get_by_role("status")).to_contain_text("No message has these words.")
    await main.get_by_label("To the day").fill("")
    await main.get_by_label("From the day").fill(yesterday)
    await expect(main.get_by_role("status")).to_contain_text("1 message")


# --- long history -------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [30, 300, 9_900])
async def test_link_to_message_lands_and_leads_to_newest(city: InProcessCity, browser: Browser, back: int) -> None:
    number = MESSAGES - back
    page = await _open(browser, city, f"/city/general/{_id(number)}")
    log = page.get_by_role("log")
    line = log.get_by_text(f"рядок {number}", exact=True)
    await expect(line).to_be_in_viewport()
    await expect(log.locator("[class*=flash]").get_by_text(f"рядок {number}", exact=True)).to_be_visible()
    if back < 1_000:
        await log.hover()
        while not await page.evaluate(SHOWS, "фунікулер стоїть"):
            await page.mouse.wheel(0, 2_000)
            await page.evaluate("() => new Promise(requestAnimationFrame)")
    else:
        await page.get_by_role("button", name="To the bottom").click()
    await expect(log.get_by_text("фунікулер стоїть")).to_be_in_viewport()


async def test_calendar_goes_to_first_message_of_day(city: InProcessCity, browser: Browser) -> None:
    today = datetime.now(UTC).date()
    path = "/city/rooms/general/messages?limit=4&around_time="
    (newest,) = [each for each in await city.get(f"{path}{today}T00:00:00Z") if each["created_at"] >= str(today)][:1]
    page = await _open(browser, city, f"/city/general/{newest['id']}", timezone_id="UTC")
    log = page.get_by_role("log")
    await expect(log.get_by_role("button", name="Today", exact=True)).to_be_in_viewport()
    day = today - timedelta(days=3)
    first = next(each for each in await city.get(f"{path}{day}T00:00:00Z") if each["created_at"] >= str(day))
    await log.get_by_label("Go to a day").last.fill(str(day))
    await expect(page).to_have_url(re.compile(first["id"]))
    await expect(log.get_by_text(first["body"], exact=True)).to_be_in_viewport()


# --- places -------------------------------------------------------------------------------------------


async def test_places_by_district_have_live_numbers(city: InProcessCity, browser: Browser) -> None:
    page = await _open(browser, city, "/")
    await page.get_by_role("main").get_by_role("link", name="Places of the city").click()
    places = page.get_by_role("main")
    node = places.get_by_role("region", name=re.compile("Поділ")).get_by_role("listitem")
    await expect(node).to_contain_text("0 of 1 online")
    elsewhere = places.get_by_role("region", name="Elsewhere in the city")
    await expect(elsewhere.get_by_role("link")).to_have_text([re.compile("^daarion"), re.compile("^General")])
    answer = await city.call("POST", "/api/v1/agents/varta/heartbeat", {}, token=await city.agent_token("varta"))
    assert answer.status == 200, answer
    await expect(node).to_contain_text("1 of 1 online")
    assert await _axe(page) == []
    await places.get_by_label("Find a place").fill("daar")
    await expect(places.get_by_role("listitem")).to_have_count(1)
    await places.get_by_role("link", name="daarion").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("daarion")
