"""How the main pages look and what they consist of: in both themes and languages, on a phone and on a wide screen.

A page is loaded once in each language; themes and widths change without a reload. Pictures are compared with those of the
same renderer only (`tests.parts.page_appearance`), and the structure of a page (its accessibility tree) always.
``make appearance`` stores both anew.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.parts.browser import Browser, start_browser
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.page_appearance import (
    UPDATES,
    picture_fault,
    renderer_of,
    stable_screenshot,
    store_renderer,
    structure_fault,
)
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARAS, DANA = citizen_token("u_taras", "Тарас Шевчук"), citizen_token("u_dana", "Дана Руда")
KYIV: Final = ZoneInfo("Europe/Kyiv")
SIZES: Final = {1440: 900, 390: 844}
"""The heights of the window by its width, in pixels."""
AGENTS: Final = [
    {
        "slug": "daarwizz",
        "display_name": "DAARWIZZ",
        "title": "Оркестратор microDAO",
        "color": "#7c3aed",
        "microdao": "daarion",
        "microdao_role": "orchestrator",
        "rooms": ["general"],
    },
    {"slug": "varta", "display_name": "Варта", "node_id": "node-1", "node_role": "guardian", "rooms": ["general"]},
]
TALK: Final = [
    (DANA, "Добрий вечір, місто!"),
    (TARAS, "Вітаю! Хто завтра йде на **лекцію** про зорі?"),
    (DANA, "Я йду. Програма:\n\n1. Вступ\n2. Молочний Шлях\n3. Запитання"),
    (DANA, "> Хто завтра йде?\n\nПриходьте всі: вхід вільний, о сьомій, у великій залі на Подолі, біля фонтана."),
    (TARAS, "`make run` показує місто, а код такий:\n\n```\nprint('вечір')\n```"),
]
HIDE_TIMES: Final = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("time { display: none !important; }");
  document.adoptedStyleSheets = [sheet];
}"""
"""Times differ from run to run. The Content-Security-Policy allows no style element."""
SETTLE_S: Final = 10
"""How long a page may take until it looks as before, in seconds."""
CLOCK: Final = re.compile(r"\b\d{1,2}:\d\d(\s?[AP]M)?\b")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("appearance") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    limits = {"reads": "100000/minute"}
    async with in_process_city(f"sqlite:///{file}", AGENTS, sign_in={"name": True}, limits=limits) as city:
        new = {"name": "Наука", "slug": "science", "description": "Зорі, числа і досліди"}
        await _call(city, "POST", "/city/rooms", new, DANA)
        last = {}
        for token, body in TALK:
            last = await _call(city, "POST", "/city/rooms/general/messages", {"body": body}, token)
        await _call(city, "POST", "/city/rooms/science/messages", {"body": "Лекція завтра о сьомій"}, DANA)
        await _call(city, "PUT", "/city/rooms/general/read", {"message_id": last["id"]}, TARAS)
        await _call(city, "POST", "/api/v1/presence/heartbeat", {"status": "online"}, DANA)
        yield city


async def _call(city: InProcessCity, method: str, path: str, content: Any, token: str) -> Any:
    answer = await city.call(method, path, content, token=token)
    assert answer.status < 300, answer
    return answer.content


async def _direct_chat(city: InProcessCity) -> str:
    """Open a chat with Dana, whom the city knows a moment after her first heartbeat; return the path of its page."""

    async def opened() -> Any:
        answer = await city.call("POST", "/city/direct", {"with": "citizen:u_dana"}, token=TARAS)
        return answer.content if answer.status < 300 else None

    chat = await eventually(opened)
    await _call(city, "POST", f"/city/rooms/{chat['id']}/messages", {"body": "Ходімо на лекцію?"}, TARAS)
    return f"/city/{chat['id']}"


PAGES: Final = {
    "home": "/",
    "rooms": "/city",
    "room": "/city/general",
    "direct": "",
    "agents": "/agents",
    "agent": "/agents/daarwizz",
    "place": "/nodes/node-1",
    "second-me": "/secondme",
}
SIGN_IN: Final = {"en": "Sign in", "uk": "Увійти"}
SEARCH: Final = {"en": "Find anything in the city", "uk": "Знайти будь-що в місті"}


async def test_pages_look_as_before(city: InProcessCity, browser: Browser) -> None:
    """Both languages in one test: what was read in the first one is read in the second one, in this order always."""
    direct, faults = await _direct_chat(city), []
    for language in ("uk", "en"):
        page = await _visit(city, browser, language, TARAS)
        for name, path in PAGES.items():
            await page.goto(path or direct)
            await page.get_by_role("heading", level=1).first.wait_for()
            faults += await _faults(page, f"{name}-{language}")
        await page.keyboard.press("Control+k")
        await page.get_by_role("combobox", name=SEARCH[language]).fill("лекці")
        await page.get_by_role("option").first.wait_for()
        faults += await _faults(page, f"search-{language}", structure_of="dialog")
        page = await _visit(city, browser, language, None)
        await page.goto("/secondme")
        await page.get_by_role("banner").get_by_role("button", name=SIGN_IN[language]).click()
        await page.get_by_role("dialog").wait_for()
        faults += await _faults(page, f"sign-in-{language}", structure_of="dialog")
    assert not faults, "\n".join(faults)


async def _visit(city: InProcessCity, browser: Browser, language: str, token: str | None) -> Page:
    """Open a tab for one person, whose clock says noon of the city's day."""
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": token}] if token else []}],
    }
    profile = await browser.other_profile(
        locale=language,
        timezone_id=KYIV.key,
        storage_state=stored,
        base_url=origin,
        reduced_motion="reduce",
        viewport={"width": 1440, "height": SIZES[1440]},
    )
    page = (await profile.open("about:blank")).page
    await page.clock.set_fixed_time(datetime.now(KYIV).replace(hour=12, minute=0, second=0))
    return page


async def _faults(page: Page, name: str, *, structure_of: str = "main") -> list[str]:
    """Compare the page in both sizes and themes, and its structure on the wide screen."""
    await page.evaluate(HIDE_TIMES)
    renderer = await renderer_of(page)
    if UPDATES:
        store_renderer(renderer)
    faults = []
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme=theme)
            faults.append(await _lasting(partial(_picture_fault, page, f"{name}-{theme}-{width}", renderer)))
        if width == 1440:
            faults.append(await _lasting(partial(_structure_fault, page, name, structure_of)))
    await page.set_viewport_size({"width": 1440, "height": SIZES[1440]})
    return [fault for fault in faults if fault is not None]


async def _picture_fault(page: Page, name: str, renderer: str) -> str | None:
    return picture_fault(name, await stable_screenshot(page), renderer=renderer)


async def _structure_fault(page: Page, name: str, structure_of: str) -> str | None:
    tree = await page.locator(structure_of).first.aria_snapshot()
    return structure_fault(name, CLOCK.sub("00:00", tree))


async def _lasting(find: Callable[[], Awaitable[str | None]]) -> str | None:
    """Return the fault that remains after `SETTLE_S`: presence, pictures and last messages arrive after the first paint."""
    deadline_s = time.monotonic() + SETTLE_S
    while (fault := await find()) is not None and time.monotonic() < deadline_s:
        await asyncio.sleep(0.2)
    return fault
