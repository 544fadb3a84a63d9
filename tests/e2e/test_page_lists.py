"""Pages of a large city: lists with hundreds of rooms and agents, live presence of an agent, and addresses that lead nowhere."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.parts.browser import SAVE_DATA, start_browser
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARAS: Final = citizen_token("u_taras", "Тарас")
ROOMS: Final = 120
AGENTS: Final[list[dict[str, Any]]] = [
    {"slug": f"agent-{number}", "display_name": f"Агент {number}", "title": f"Number {number}", "role": "guide"}
    for number in range(500)
]

CARDS_PER_COMMIT: Final = 16
"""How many cards of a list the pages mount in one commit: a longer one would delay the next key stroke."""

FIRST_SCRIPTS: Final = 12
"""How many scripts a first visit loads: on a slow network each costs a response."""

# Types and returns the most items that one commit mounted: an observer is called once for the changes of a task.
TYPE: Final = """async ([list, item, words, seconds]) => {
  const field = list.querySelector("input[type=search]");
  const put = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const items = (node) => node.matches?.(item) ? 1 : node.querySelectorAll?.(item).length ?? 0;
  let most = 0;
  const observer = new MutationObserver((changes) => {
    const added = changes.flatMap((change) => [...change.addedNodes]);
    most = Math.max(most, added.reduce((sum, node) => sum + items(node), 0));
  });
  observer.observe(list, {childList: true, subtree: true});
  const type = async (text) => {
    put.call(field, text);
    field.dispatchEvent(new Event("input", {bubbles: true}));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  };
  const shown = async (condition) => {
    const end = performance.now() + 1000 * seconds;
    while (!condition(list.querySelectorAll(item).length)) {
      if (performance.now() > end) throw new Error(`the list shows ${list.querySelectorAll(item).length} items`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await type(words);
  await shown((count) => count < 48);
  for (let length = words.length - 1; length >= 0; length -= 1) await type(words.slice(0, length));
  await shown((count) => count >= 48);
  await type(words);
  observer.disconnect();
  return most;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_lists") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    async with in_process_city(f"sqlite:///{file}", AGENTS, limits={"rooms": "1000/minute"}) as city:
        for number in range(ROOMS):
            room = {"name": f"Кімната {number}", "slug": f"room-{number}"}
            assert (await city.call("POST", "/city/rooms", room, token=TARAS)).status == 201
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with start_browser() as browser:
        reader = await browser.other_profile(locale="en-US", color_scheme="dark")
        page = (await reader.open("about:blank")).page
        await page.add_init_script(SAVE_DATA)
        yield page


def address(city: InProcessCity, path: str) -> str:
    return f"http://{HOST}:{city.city.settings.api.port}{path}"


@pytest.mark.parametrize(
    ("path", "region", "item", "words"),
    [
        ("/agents", "#main", "li[class*=card]", "агент 49"),
        ("/city", "#main", "li[class*=card]", "кімната 11"),
        ("/city", "nav[aria-label='List of rooms']", "li", "кімната 11"),
    ],
    ids=["agents", "rooms", "pane"],
)
async def test_search_of_long_list_mounts_few_cards_at_once(
    city: InProcessCity, page: Page, path: str, region: str, item: str, words: str
) -> None:
    await page.goto(address(city, path))
    part = page.locator(region)
    items = part.locator(item)
    await expect(items).to_have_count(48)
    await part.get_by_role("button", name="Show more").click()
    await expect(items).to_have_count(96)
    most = await page.evaluate(TYPE, [await part.element_handle(), item, words, WAIT_S])
    assert 0 < most <= CARDS_PER_COMMIT
    await expect(items).to_have_count(11)


LOADED: Final = """() => performance.getEntriesByType("resource").map(({name}) => new URL(name).pathname)
  .filter((path) => path.endsWith(".js") && !path.includes("worker"))"""


@pytest.mark.parametrize("path", ["/", "/city", "/city/general", "/agents", "/agents/agent-7", "/secondme"])
async def test_first_page_waits_for_no_further_script(city: InProcessCity, page: Page, path: str) -> None:
    await page.goto(address(city, path))
    await expect(page.locator("#main h1")).to_be_visible()
    loaded: list[str] = await page.evaluate(LOADED)
    document = str((await city.call("GET", path)).content)
    preloads = json.loads(html.unescape(re.findall(r'data-preloads="([^"]+)"', document)[0]))
    parts = [file for part in preloads["parts"] if re.match(part["path"], path) for file in part["files"]]
    named = re.findall(r'"(/assets/[^"]+\.js)"', document)
    assert set(loaded) - {*named, *(f"/{file}" for file in (*parts, *preloads["texts"]["en"]))} == set()
    assert len(loaded) <= FIRST_SCRIPTS


async def test_agent_page_follows_presence_consistently(city: InProcessCity, page: Page) -> None:
    token = await city.agent_token("agent-7")
    await page.goto(address(city, "/agents/agent-7"))
    never = page.get_by_text("Never seen yet")
    await expect(never).to_be_visible()
    beat = "/api/v1/agents/agent-7/heartbeat"
    assert (await city.call("POST", beat, {"status": "online"}, token=token)).status == 200
    badge = page.locator("main header [class*=badge]")
    await expect(badge).to_have_text("online")
    await expect(never).to_be_hidden()
    assert (await city.call("POST", beat, {"status": "offline"}, token=token)).status == 200
    await expect(page.get_by_text("Last seen")).to_be_visible()
    await expect(badge).to_have_text("offline")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/city/nowhere", "There is no such room."),
        ("/agents/nobody", "There is no such agent."),
        ("/nodes/nowhere", "There is no such node."),
        ("/microdao/nowhere", "There is no such microDAO."),
    ],
)
async def test_empty_page_says_so_and_links_on(city: InProcessCity, page: Page, path: str, words: str) -> None:
    await page.goto(address(city, path))
    await expect(page.get_by_role("heading", level=1)).to_have_text(words)
    await expect(page.locator("#main").get_by_role("link", name="All rooms")).to_be_visible()
    await expect(page.get_by_text("Something went wrong")).to_have_count(0)
    await expect(page.get_by_role("button", name="Try again")).to_have_count(0)


async def test_closed_dialog_gives_the_focus_back(city: InProcessCity, page: Page) -> None:
    await page.goto(address(city, "/city"))
    opener = page.get_by_role("button", name="Open a room")
    await opener.click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(opener).to_be_focused()


async def test_theme_color_follows_the_chosen_look(city: InProcessCity, page: Page) -> None:
    await page.goto(address(city, "/"))
    colors = "[...document.querySelectorAll('meta[name=theme-color]')].map(({content}) => content)"
    assert await page.evaluate(colors) == ["#f8f2e6", "#131b26"]
    await page.get_by_role("button", name="Appearance and language").click()
    await page.get_by_label("Day").click()
    assert await page.evaluate(colors) == ["#f8f2e6", "#f8f2e6"]
    await page.get_by_label("Evening").click()
    assert await page.evaluate(colors) == ["#131b26", "#131b26"]
    await page.get_by_label("Like the system").click()
    assert await page.evaluate(colors) == ["#f8f2e6", "#131b26"]
