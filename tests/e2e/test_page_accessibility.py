"""Accessibility of every page and of everything that opens over a page, by axe-core (WCAG 2.2 AA).

The pages are those of the routes in ``web/src/App.tsx``, the dialogs and menus those of the components that have one: a new one
without a check fails here. Each page is loaded once; the dark theme is checked for contrast without a reload.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.parts.browser import Browser, start_browser, until_no_overlay
from tests.parts.city import citizen_token
from tests.parts.in_process_city import AGENTS, InProcessCity, in_process_city
from tests.parts.message_rows import click_action
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB: Final = Path(__file__).parents[2] / "web"
AXE: Final = (WEB / "node_modules/axe-core/axe.min.js").read_text()
ADA: Final = citizen_token("u_ada", "Ада", role="admin")
"""An admin of the city, who is shown everything that moderators are."""
TARAS: Final = citizen_token("u_taras", "Тарас")

PAGES: Final = {
    "/": "/",
    "/city": "/city",
    "/city/:slug/:messageId?": "/city/general",
    "/secondme": "/secondme",
    "/agents": "/agents",
    "/agents/:id": "/agents/daarwizz",
    "/search": "/search?q=a",
    "/places": "/places",
    "/nodes/:nodeId": "/nodes/node-1",
    "/microdao/:slug": "/microdao/daarion",
    "*": "/nowhere",
}
"""An address of each route."""

Opens = Callable[[Page], Awaitable[None]]


def button(name: str, *, of: str = "main") -> Opens:
    """Return how to open what a button opens."""

    async def opens(page: Page) -> None:
        await page.get_by_role(of).get_by_role("button", name=name).first.click()  # type: ignore[arg-type]

    return opens


async def message_menu(page: Page) -> None:
    await click_action(page.get_by_role("log").get_by_role("article").filter(has_text="Добрий вечір"), "Add a reaction")


async def deletion(page: Page) -> None:
    await click_action(page.get_by_role("log").get_by_role("article").filter(has_text="Добрий вечір"), "Delete")


async def card(page: Page) -> None:
    await page.get_by_role("log").get_by_role("button", name="Тарас").first.click()
    await page.get_by_role("button", name="Ban from the room").wait_for()


async def ban(page: Page) -> None:
    await card(page)
    await page.get_by_role("button", name="Ban from the room").click()


async def own_profile(page: Page) -> None:
    await button("Account: Ада", of="banner")(page)
    await page.get_by_role("button", name="Your profile").click()
    await page.get_by_role("dialog", name="Your profile").wait_for()


async def room_settings(page: Page) -> None:
    await button("More about the room")(page)
    await page.get_by_role("button", name="Room settings").click()


async def emojis(page: Page) -> None:
    await button("Emoji")(page)
    await page.get_by_role("gridcell").first.wait_for()


async def palette(page: Page) -> None:
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Find anything").fill("ка")


async def members(page: Page) -> None:
    await page.set_viewport_size({"width": 820, "height": 800})
    await page.get_by_role("button", name="Who is here").click()


async def tools(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.get_by_role("main").get_by_role("button", name="Add to the message").click()


ROOM: Final = "/city/general"
OPENED: Final[dict[str, list[tuple[str, Opens]]]] = {
    "features/city/rooms/ComposerTools.tsx": [(ROOM, emojis), (ROOM, tools)],
    "features/city/rooms/CreateRoomDialog.tsx": [("/city", button("Open a room"))],
    "features/city/rooms/MemberList.tsx": [(ROOM, members)],
    "features/city/rooms/MessageActions.tsx": [(ROOM, message_menu), (ROOM, deletion)],
    "features/city/rooms/NotificationMenu.tsx": [(ROOM, button("Notifications of this room"))],
    "features/city/rooms/PollDialog.tsx": [(ROOM, button("Start a poll"))],
    "features/city/rooms/PollView.tsx": [(ROOM, button("End the poll"))],
    "features/city/rooms/RoomMenu.tsx": [(ROOM, button("More about the room"))],
    "features/city/rooms/RoomSettings.tsx": [(ROOM, room_settings)],
    "features/layout/Preferences.tsx": [(ROOM, button("Appearance and language", of="banner"))],
    "features/palette/Palette.tsx": [(ROOM, palette)],
    "features/people/Moderation.tsx": [(ROOM, ban)],
    "features/people/OwnProfile.tsx": [(ROOM, own_profile)],
    "features/people/ProfileCard.tsx": [(ROOM, card)],
    "features/secondme/SecondMeChat.tsx": [("/secondme", button("Forget everything"))],
    "features/session/Account.tsx": [(ROOM, button("Account: Ада", of="banner"))],
    "features/session/SignInDialog.tsx": [("/", button("Sign in", of="banner"))],
}
"""How to open the dialogs and menus of each component, and on which page."""
ELSEWHERE: Final = {
    "features/embed/EmbedApp.tsx": "the embedded chat: test_embed",
    "features/viewer/PictureViewer.tsx": "pictures need a homeserver: test_page_composer",
}
VISITORS: Final = frozenset({"features/session/SignInDialog.tsx"})
"""What only a visitor sees."""

TRIES: Final = 8
PAUSE_MS: Final = 100
OPEN: Final = "dialog[open], :popover-open"
FAULTS: Final = """async ([isDark, isOpened]) => {
  const opened = [...document.querySelectorAll("dialog[open], :popover-open")].at(-1);
  const options = isDark
    ? { runOnly: ["color-contrast"] }
    : { rules: { "target-size": { enabled: true } } };
  const { violations } = await axe.run(isOpened ? opened : document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("accessibility") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    limits = {"reads": "100000/minute"}
    async with in_process_city(f"sqlite:///{file}", AGENTS, sign_in={"name": True}, limits=limits) as city:
        poll = {"question": "Куди?", "options": ["Туди", "Сюди"]}
        for token, message in (
            (TARAS, {"body": "Добрий вечір, **місто**!\n\n> цитата\n\n`код`"}),
            (ADA, {"body": "", "poll": poll}),
        ):
            answer = await city.call("POST", "/city/rooms/general/messages", message, token=token)
            assert answer.status == 201, answer
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


async def test_each_route_and_dialog_is_checked() -> None:
    routes = re.findall(r'(?:{ path: |<Route path=)"([^"]+)"', (WEB / "src/App.tsx").read_text())
    assert sorted(routes) == sorted(PAGES)
    components = {
        str(file.relative_to(WEB / "src"))
        for file in (WEB / "src/features").rglob("*.tsx")
        if not file.name.endswith(".test.tsx") and re.search(r"<(Dialog|ConfirmDialog|Menu|dialog)\b", file.read_text())
    }
    assert components == OPENED.keys() | ELSEWHERE.keys()


async def test_pages_are_accessible(city: InProcessCity, browser: Browser) -> None:
    faults = []
    for token in (None, ADA):
        page = await _visit(city, browser, token)
        for path in PAGES.values():
            await _load(page, path)
            faults += await _faults(page, f"{path} {'signed in' if token else 'as a visitor'}")
    assert not faults, "\n".join(faults)


async def test_dialogs_and_menus_are_accessible(city: InProcessCity, browser: Browser) -> None:
    faults = []
    signed_in, visitor = await _visit(city, browser, ADA), await _visit(city, browser, None)
    for component, openers in OPENED.items():
        page = visitor if component in VISITORS else signed_in
        for path, opens in openers:
            await page.set_viewport_size({"width": 1280, "height": 800})
            if not page.url.endswith(path):
                await _load(page, path)
            await opens(page)
            await page.locator(OPEN).last.wait_for()
            faults += await _faults(page, component, is_opened=True)
            # What opened over a dialog is closed before it.
            while await page.locator(OPEN).count():
                await page.keyboard.press("Escape")
                await page.wait_for_timeout(50)
            await until_no_overlay(page)
    assert not faults, "\n".join(faults)


async def _visit(city: InProcessCity, browser: Browser, token: str | None) -> Page:
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": token}] if token else []}],
    }
    profile = await browser.other_profile(
        locale="en-US", storage_state=stored, base_url=origin, reduced_motion="reduce"
    )
    page = (await profile.open("about:blank")).page
    turn = {"id": "t1", "user_id": "u_ada", "prompt": "Що нового?", "prompt_excerpt": "Що нового?"}
    answered = turn | {"response": "**Вечір**.", "latency_ms": 900, "created_at": "2026-11-22T18:05:05.103Z"}
    await page.route("**/secondme/history", lambda route: route.fulfill(json=[answered]))
    return page


async def _load(page: Page, path: str) -> None:
    await page.goto(path)
    await page.get_by_role("heading", level=1).first.wait_for()
    if path == ROOM:
        await expect(page.get_by_role("log").get_by_role("article")).to_have_count(2)
    await page.evaluate(AXE)


async def _faults(page: Page, where: str, *, is_opened: bool = False) -> list[str]:
    faults = []
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        found: list[str] = []
        # Chromium restyles what it had skipped (`content-visibility`) some frames after the theme changed.
        for _ in range(TRIES):
            found = await page.evaluate(FAULTS, [theme == "dark", is_opened])
            if not found:
                break
            await page.wait_for_timeout(PAUSE_MS)
        faults += [f"{where}, {theme}: {fault}" for fault in found]
    await page.emulate_media(color_scheme="light")
    return faults
