"""Layout of every page: each visible control can be clicked at its centre, and nothing is wider than the window.

One browser and one process serve all cases. A page is loaded at a phone's and at a desktop's width, and measured at every
width by resizing the window, as media queries apply without a reload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.parts.browser import Browser, start_browser, until_no_overlay, until_true
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.page_geometry import (
    BROKEN_LABELS,
    EMOJI,
    LINES_OVER_HOUSES,
    LONG,
    LONG_MESSAGES,
    MEASURE,
    RTL,
    SMALL,
    WORD,
)
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOADED_AT: Final = {390: (390, 360), 1280: (1280, 820)}
"""Widths in pixels: each one a page is loaded at, with those it is measured at."""
HEIGHT: Final = 720
HEADER_WIDTHS: Final = (320, 390, 560, 759, 760, 820, 900, 999, 1000, 1100, 1280)

ROOMS: Final = {WORD[:60]: LONG, RTL: RTL, EMOJI: EMOJI, "Наука": ""}
NAMES: Final = {"u_word": WORD[:60], "u_rtl": RTL, "u_emoji": EMOJI}

AGENTS: Final = [
    {
        "slug": "daarwizz",
        "display_name": WORD[:60],
        "title": LONG,
        "node_id": "node-1",
        "node_role": "guardian",
        "microdao": "daarion",
        "microdao_role": "orchestrator",
        "district": WORD,
        "role": "orchestrator",
        "rooms": ["general"],
    },
    {"slug": "rtl", "display_name": RTL, "title": RTL, "node_id": "node-1", "rooms": ["general"]},
    {"slug": "emoji", "display_name": EMOJI, "title": EMOJI, "microdao": "daarion", "rooms": []},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    """A city whose rooms, agents, people and messages have long, unbroken, right-to-left and emoji names."""
    file = tmp_path_factory.mktemp("geometry") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    async with in_process_city(
        f"sqlite:///{file}", AGENTS, sign_in={"name": True}, limits={"reads": "100000/minute"}
    ) as city:
        for subject, name in NAMES.items():
            token = citizen_token(subject, name)
            for body in LONG_MESSAGES:
                answer = await city.call("POST", "/city/rooms/general/messages", {"body": body}, token=token)
                assert answer.status == 201, answer
        for name, description in ROOMS.items():
            room = {"name": name, "slug": f"room-{len(name)}", "description": description}
            answer = await city.call("POST", "/city/rooms", room, token=citizen_token("u_word", NAMES["u_word"]))
            assert answer.status == 201, answer
        yield city


PAGES: Final = (
    "/",
    "/city",
    "/city/general",
    f"/city/room-{len(RTL)}",
    "/secondme",
    "/search?q=a",
    "/places",
    "/agents",
    "/agents/daarwizz",
    "/nodes/node-1",
    "/microdao/daarion",
    "/nowhere",
)


# The language with the longer words on the narrow page, the other one on the wide page, and the rest with the soak.
@pytest.mark.parametrize(
    ("language", "loaded_at"),
    [
        ("uk", 390),
        ("en", 1280),
        pytest.param("uk", 1280, marks=pytest.mark.soak),
        pytest.param("en", 390, marks=pytest.mark.soak),
    ],
)
async def test_controls_are_hit_at_centre_at_every_width(
    city: InProcessCity, browser: Browser, language: str, loaded_at: int
) -> None:
    faults = []
    page = await _visit(city, browser, language, loaded_at, citizen_token("u_word", NAMES["u_word"]))
    for path in PAGES:
        await _load(page, city, path)
        for width in LOADED_AT[loaded_at]:
            faults += await _measure(page, width, path)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("language", ["uk", pytest.param("en", marks=pytest.mark.soak)])
async def test_dialog_controls_are_hit_at_centre(city: InProcessCity, browser: Browser, language: str) -> None:
    faults = []
    for loaded_at, widths in LOADED_AT.items():
        page = await _visit(city, browser, language, loaded_at)
        # On a phone, a room has the height of the header.
        await _load(page, city, "/")
        for opens, opened in {
            "header button[class*=main]": "dialog",
            "header button[aria-expanded]": "header button[aria-expanded=true]",
            "header button[aria-keyshortcuts]": "dialog",
        }.items():
            await page.locator(opens).first.click()
            await page.locator(opened).wait_for()
            for width in widths:
                faults += await _measure(page, width, f"what {opens} opens")
            await page.keyboard.press("Escape")
            await expect(page.locator(opened)).to_be_hidden()
            await until_no_overlay(page)
        await _load(page, city, "/city")
        await page.evaluate("token => localStorage.setItem('city.session', token)", citizen_token("u_rtl", RTL))
        await _load(page, city, "/city")
        await page.locator("main button[class*=main]").click()
        await page.get_by_role("dialog").wait_for()
        for width in widths:
            faults += await _measure(page, width, "opening a room")
    assert not faults, "\n".join(faults)


async def test_phone_hides_the_navigation_in_an_open_room(city: InProcessCity, browser: Browser) -> None:
    page = await _visit(city, browser, "en", 390, citizen_token("u_word", NAMES["u_word"]))
    navigation = page.get_by_role("navigation", name="Main")
    await _load(page, city, "/city/general")
    await expect(navigation).to_be_hidden()
    await _load(page, city, "/city/room-5")
    composer = await page.get_by_role("textbox").evaluate(
        "field => field.closest('section').getBoundingClientRect().bottom"
    )
    assert composer == HEIGHT, "an empty conversation has the height of the window, too"
    await page.goto(f"{_address(city)}/city/no-such-room")
    await page.get_by_role("heading", level=1).wait_for()
    await expect(navigation).to_be_visible()
    await navigation.get_by_role("link", name="Rooms").click()
    await expect(page).to_have_url(f"{_address(city)}/city")


async def test_home_shows_its_parts_above_the_fold(city: InProcessCity, browser: Browser) -> None:
    page = await _visit(city, browser, "uk", 1440, citizen_token("u_word", NAMES["u_word"]))
    await page.set_viewport_size({"width": 1440, "height": 900})
    await _load(page, city, "/")
    main = page.get_by_role("main")
    await main.locator("#rooms-title + a").wait_for()
    hero = await main.locator("section").first.bounding_box()
    assert hero is not None
    assert hero["height"] <= 300
    shown = ["form input", "section[aria-labelledby=rooms-title] li", "section[aria-labelledby=feed-title] li"]
    bottoms = {}
    for part in shown:
        box = await main.locator(part).first.bounding_box()
        assert box is not None
        bottoms[part] = box["y"] + box["height"]
    assert all(bottom <= 900 for bottom in bottoms.values()), bottoms


async def test_controls_are_large_enough_for_a_finger(city: InProcessCity, browser: Browser) -> None:
    page = await _visit(
        city, browser, "uk", 390, citizen_token("u_word", NAMES["u_word"]), has_touch=True, is_mobile=True
    )
    faults = []
    for path in ("/", "/city", "/city/general", "/agents", "/agents/daarwizz", "/search?q=a"):
        await _load(page, city, path)
        faults += [f"{path}: {fault}" for fault in await page.evaluate(SMALL, 44)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("width", [390, 760, 820, 920, 1000])
async def test_words_of_home_are_not_over_the_street(city: InProcessCity, browser: Browser, width: int) -> None:
    page = await _visit(city, browser, "uk", width, citizen_token("u_word", NAMES["u_word"]))
    await _load(page, city, "/")
    hero = page.get_by_role("main").locator("section").first
    await hero.get_by_text("Кожне вікно").wait_for()
    lines = await hero.evaluate(LINES_OVER_HOUSES)
    assert lines == []


@pytest.mark.parametrize("language", ["uk", "en"])
@pytest.mark.parametrize("token", [None, citizen_token("u_word", NAMES["u_word"])], ids=["visitor", "citizen"])
async def test_words_of_the_header_are_in_one_line(
    city: InProcessCity, browser: Browser, language: str, token: str | None
) -> None:
    faults = []
    page = await _visit(city, browser, language, HEADER_WIDTHS[0], token)
    await _load(page, city, "/")
    for width in HEADER_WIDTHS:
        await _resize(page, width)
        faults += [f"{width} px: {words}" for words in await page.evaluate(BROKEN_LABELS)]
    assert not faults, "\n".join(faults)


def _address(city: InProcessCity) -> str:
    return f"http://{HOST}:{city.city.settings.api.port}"


async def _visit(
    city: InProcessCity, browser: Browser, language: str, width: int, token: str | None = None, **options: bool
) -> Page:
    """A page for one person, who is signed in if there is a ``token``; ``options`` are Playwright's."""
    kept = [{"name": "city.session", "value": token}] if token else []
    storage = {"cookies": [], "origins": [{"origin": _address(city), "localStorage": kept}]}
    visitor = await browser.other_profile(
        locale=language,
        viewport={"width": width, "height": HEIGHT},
        storage_state=storage,
        reduced_motion="reduce",
        **options,
    )
    return (await visitor.open("about:blank")).page


async def _load(page: Page, city: InProcessCity, path: str) -> None:
    await page.goto(_address(city) + path)
    await page.get_by_role("heading", level=1).first.wait_for()
    if path.startswith("/city/"):
        await page.get_by_role("log").wait_for()


async def _measure(page: Page, width: int, where: str) -> list[str]:
    await _resize(page, width)
    return [f"{where} at {width} px: {fault}" for fault in await page.evaluate(MEASURE)]


async def _resize(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": HEIGHT})
    await until_true(page, "width => innerWidth === width", width)
    # A frame later media queries and what depends on them have been laid out.
    await page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
