"""The pages in a frame of a Matrix client, as a widget: who may embed them, and their layout at the widths of a side panel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Frame, Page, expect

from tests.parts.browser import Browser, Tab, serve_page, start_browser, until_true
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.page_geometry import EMOJI, LONG, LONG_MESSAGES, MEASURE, RTL, WORD
from tests.parts.ports import HOST
from tests.parts.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDTHS: Final = (320, 360, 400)
"""Widths of the right panel of Element, in pixels."""
HEIGHT: Final = 640
ROOM: Final = "/city/rooms/general/messages"
DANA: Final = citizen_token("u_dana", WORD[:60])
TARAS: Final = citizen_token("u_taras", "Тарас")
AGENTS: Final = [
    {
        "slug": "daarwizz",
        "display_name": WORD[:60],
        "title": LONG,
        "node_id": "node-1",
        "node_role": "guardian",
        "microdao": "daarion",
        "microdao_role": "orchestrator",
        "rooms": ["general"],
    },
    {"slug": "emoji", "display_name": EMOJI, "title": RTL, "node_id": "node-1", "rooms": ["general"]},
]
POLL: Final = {"question": LONG, "options": [LONG, RTL, WORD], "kind": "disclosed", "max_selections": 2}
LOCATION: Final = {"latitude": 50.4501, "longitude": 30.5234, "description": LONG}

CLIENT: Final = """<!doctype html><html lang="en"><title>A Matrix client</title>
<style>body { margin: 0 } iframe { border: 0; display: block }</style><body><script>
const frame = document.createElement("iframe");
frame.style = "width: 400px; height: 640px";
frame.src = new URLSearchParams(location.search).get("widget");
document.body.append(frame);
</script></body></html>"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser(is_complete=True) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[str]:
    """Origin of a Matrix client on the site of the city, whose frames may store data."""
    async with serve_page(CLIENT) as origin:
        yield origin


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    """A city with long texts, a poll, a place and threads, which may be embedded by the machine that it runs on."""
    file = tmp_path_factory.mktemp("widget") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    sections: dict[str, dict[str, Any]] = {
        "sign_in": {"name": True},
        "web": {"frame_ancestors": ["http://localhost:*", f"http://{HOST}:*"]},
        "limits": {"reads": "100000/minute"},
    }
    async with in_process_city(f"sqlite:///{file}", AGENTS, **sections) as city:
        for body in LONG_MESSAGES:
            await _post(city, body=body)
            await _post(city, body=body, thread_root=await _post(city, body=f"{body} 2"))
        await _post(city, location=LOCATION)
        await _post(city, poll=POLL)
        yield city


async def _post(city: InProcessCity, **message: Any) -> str:
    answer = await city.call("POST", ROOM, message, token=DANA)
    assert answer.status == 201, answer
    return str(answer.content["id"])


def _address(city: InProcessCity, path: str) -> str:
    return f"http://{HOST}:{city.city.settings.api.port}{path}"


async def _embed(city: InProcessCity, browser: Browser, client: str, path: str = "/") -> Tab:
    """Open the page ``path`` of the city in a frame of the client."""
    reader = await browser.other_profile(
        locale="en-US", reduced_motion="reduce", viewport={"width": 900, "height": 700}
    )
    return await reader.open(f"{client}/?{urlencode({'widget': _address(city, path)})}")


def _frame(page: Page) -> Frame:
    (frame,) = page.frames[1:]
    return frame


async def test_frame_without_storage_signs_in_and_sends(city: InProcessCity, browser: Browser, client: str) -> None:
    """Chromium blocks the storage and locks of a frame whose site is not the client's."""
    tab = await _embed(city, browser, client.replace(HOST, "localhost"), "/city/general")
    frame = tab.page.frame_locator("iframe")
    # The header, which has this button too, goes away in a narrow frame as soon as the room is there.
    await frame.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    await frame.get_by_label("What is your name?").fill("Іванна")
    await frame.get_by_role("button", name="Come in").click()
    await frame.get_by_role("textbox", name="Message to General").fill("з рамки")
    await frame.get_by_role("button", name="Send", exact=True).click()
    messages = await city.get(f"{ROOM}?limit=1")
    await expect(frame.get_by_role("article").get_by_text("з рамки", exact=True)).to_be_visible()
    async with asyncio.timeout(WAIT_S):
        while messages[-1]["body"] != "з рамки":
            await asyncio.sleep(0.1)
            messages = await city.get(f"{ROOM}?limit=1")


async def test_frame_of_origin_not_allowed_is_refused(city: InProcessCity, browser: Browser, client: str) -> None:
    tab = await _embed(city, browser, client.replace(HOST, "other.localhost"))
    await tab.has_error("frame-ancestors http://localhost:*")
    await expect(tab.page.frame_locator("iframe").get_by_role("heading", level=1)).to_have_count(0)


PAGES: Final = (
    "/",
    "/city",
    "/city/general",
    "/city/general?threads",
    "/secondme",
    "/search?q=a",
    "/places",
    "/agents",
    "/agents/daarwizz",
    "/nodes/node-1",
    "/microdao/daarion",
    "/nowhere",
)


@pytest.mark.parametrize("token", ["", TARAS], ids=["reader", "citizen"])
async def test_page_in_a_narrow_frame_has_no_overflow(
    city: InProcessCity, browser: Browser, client: str, token: str
) -> None:
    page = (await _embed(city, browser, client)).page
    await _sign_in(page, city, token)
    faults = []
    for path in PAGES:
        await _load(page, city, path)
        faults += await _measure(page, path)
    assert not faults, "\n".join(faults)


async def test_dialogs_fit_into_narrow_frame(city: InProcessCity, browser: Browser, client: str) -> None:
    page = (await _embed(city, browser, client, "/city")).page
    frame = page.frame_locator("iframe")
    faults = []

    await frame.get_by_role("button", name="Sign in", exact=True).first.click()
    await frame.get_by_role("dialog").wait_for()
    faults += await _measure(page, "signing in")
    await _sign_in(page, city, TARAS)
    await _load(page, city, "/city")
    await frame.get_by_role("button", name="Open a room").click()
    await frame.get_by_role("dialog").wait_for()
    faults += await _measure(page, "the dialog of a new room")

    await _load(page, city, "/city/general")
    await frame.get_by_role("button", name="Who is here").click()
    faults += await _measure(page, "the member list")
    await page.keyboard.press("Escape")
    await frame.get_by_role("button", name="Add to the message").click()
    await frame.get_by_role("button", name="Start a poll").click()
    await frame.get_by_label("Question").fill(LONG)
    await frame.get_by_label("Option 1").fill(WORD)
    faults += await _measure(page, "the dialog of a poll")
    root = (await city.get("/city/rooms/general/threads"))[0]["id"]
    await _load(page, city, f"/city/general?thread={root}")
    await expect(frame.get_by_role("textbox", name="Reply in the thread")).to_be_visible()
    faults += await _measure(page, "a thread")
    assert not faults, "\n".join(faults)


async def _sign_in(page: Page, city: InProcessCity, token: str) -> None:
    """Store a token in the frame, as a sign-in does."""
    await _load(page, city, "/")
    if token:
        await _frame(page).evaluate("token => localStorage.setItem('city.session', token)", token)


async def _load(page: Page, city: InProcessCity, path: str) -> None:
    await page.locator("iframe").evaluate(
        "(frame, height) => (frame.style = `width: 400px; height: ${height}px`)", HEIGHT
    )
    await _frame(page).goto(_address(city, path))
    await _frame(page).get_by_role("heading", level=1).first.wait_for()
    if path.startswith("/city/"):
        await _frame(page).get_by_role("log").first.wait_for()


async def _measure(page: Page, where: str) -> list[str]:
    faults = []
    for width in WIDTHS:
        await page.locator("iframe").evaluate("(frame, width) => (frame.style.width = `${width}px`)", width)
        frame = _frame(page)
        await until_true(frame, "width => innerWidth === width", width)
        # A frame later media queries and what depends on them have been laid out.
        await frame.evaluate(
            "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
        )
        faults += [f"{where} at {width} px: {fault}" for fault in await frame.evaluate(MEASURE)]
    return faults
