"""A day in the pages in one language: a citizen in Chromium, a stranger in matrix-nio, a scripted agents core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Locator, Page

from tests.parts.agents_core import ScriptedCore
from tests.parts.browser import Browser, Tab, start_browser
from tests.parts.city import LONG_PRESENCE, RunningCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import MatrixUser
from tests.parts.message_rows import click_action
from tests.parts.page_texts import PageTexts

ALICE: Final = "@alice:city.localhost"
LOCALES: Final = {"uk": "uk-UA", "en": "en-GB"}
NAMES: Final = {"uk": ("Оксана", "Аліса"), "en": ("Roxanne", "Alice Liddell")}
"""The citizen's name, and the one that Alice takes."""


@dataclass(frozen=True)
class Day:
    """What the steps of a day share. Texts of messages carry the language, since both days have the same rooms."""

    city: RunningCity
    core: ScriptedCore
    alice: MatrixUser
    browser: Browser
    room: str
    """The id of the Matrix room of General."""
    language: str
    citizen: str
    """The city user id of the citizen."""
    token: str
    tab: Tab

    @property
    def ghost(self) -> str:
        return f"@citizen_{self.citizen}:city.localhost"

    @property
    def page(self) -> Page:
        return self.tab.page

    @property
    def t(self) -> PageTexts:
        return PageTexts(self.language)

    @property
    def rooms(self) -> Locator:
        return self.page.get_by_role("navigation", name=self.t("pane.label"))

    @property
    def field(self) -> Locator:
        return self.field_of(self.page, "General")

    def field_of(self, page: Page, room: str) -> Locator:
        return page.get_by_role("textbox", name=self.t("room.inputLabel", room=room))

    def row(self, body: str, page: Page | None = None) -> Locator:
        return (page or self.page).get_by_role("log").get_by_role("article").filter(has_text=body)

    def tagged(self, words: str) -> str:
        """Return a text of a message that the day in the other language does not have."""
        return f"{words} [{self.language}]"

    async def alice_says(self, words: str, **more: Any) -> str:
        """Have Alice send a message, whose text is returned."""
        body = self.tagged(words)
        await self.alice.send_text(self.room, body, more=more)
        return body

    async def alice_sees(self, body: str) -> dict[str, Any]:
        """Return the event of the citizen's message with this body, as Matrix delivers it."""
        return await self.alice.wait_for_event(
            lambda each: each["sender"] == self.ghost and each["content"].get("body") == body
        )

    async def alice_gets(self, body: str) -> dict[str, Any]:
        """Return the content of the citizen's message with this body, as Matrix delivers it."""
        return dict((await self.alice_sees(body))["content"])

    async def alice_sees_removal(self, event_id: str) -> None:
        """Wait until Matrix delivers the redaction of an event to Alice."""
        await self.alice.wait_for_event(lambda each: each["type"] == "m.room.redaction" and each["redacts"] == event_id)

    async def day_lines(self) -> Locator:
        """Scroll to the first line with a day: only rows near the visible ones are rendered. Return the fields of these lines."""
        log = self.page.get_by_role("log")
        lines = log.get_by_label(self.t("room.jumpToDay"))

        async def is_rendered() -> bool:
            # A script's scroll does not end the hold of a linked message in its place; a wheel does.
            await self.page.mouse.wheel(0, -3_000)
            return await lines.count() > 0

        await log.hover()
        await eventually(is_rendered)
        return lines

    async def act(self, row: Locator, action: str) -> None:
        """Click an action of a message, by the key of its text."""
        await click_action(row, self.t(action))

    async def delete(self, row: Locator) -> None:
        """Delete a message."""
        await self.act(row, "room.remove")
        dialog = row.page.get_by_role("dialog")
        await dialog.get_by_role("button", name=self.t("room.remove"), exact=True).click()

    async def is_online(self, slug: str) -> None:
        token = await self.city.agent_token(slug)
        await self.city.post(f"/api/v1/agents/{slug}/heartbeat", {}, token=token)

    async def open(self, path: str, *, token: str = "", **options: Any) -> Tab:
        """Open a page in another profile, of the citizen unless there is another token; ``options`` are Playwright's."""
        return await _open(self.browser, self.city, self.language, path, token or self.token, **options)


@dataclass(frozen=True)
class Days:
    """A city for the days in all languages, and who takes part in them."""

    city: RunningCity
    core: ScriptedCore
    alice: MatrixUser
    browser: Browser

    async def begin(self, name: str, language: str) -> Day:
        """Open City Home as a citizen of the day with this name."""
        room = await self.alice.join("#city_general:city.localhost")
        citizen = f"u_{name}_{language}"
        token = citizen_token(citizen, NAMES[language][0])
        tab = await _open(self.browser, self.city, language, "/", token)
        return Day(self.city, self.core, self.alice, self.browser, room, language, citizen, token, tab)


@asynccontextmanager
async def days_in(directory: Path, **settings: str | float) -> AsyncIterator[Days]:
    """Start a city with these settings in ``directory``, and a browser beside it."""
    async with (
        ScriptedCore().serving() as core,
        shared_city(directory, settings=LONG_PRESENCE | {"agents_core.url": core.url} | settings) as city,
        start_browser() as browser,
    ):
        alice = await MatrixUser.arrive(city.homeserver, "alice")
        yield Days(city, core, alice, browser)
        await alice.leave()


async def _open(browser: Browser, city: RunningCity, language: str, path: str, token: str, **options: Any) -> Tab:
    stored: Any = [{"name": "city.session", "value": token}]
    wanted: dict[str, Any] = {
        "locale": LOCALES[language],
        "viewport": {"width": 1440, "height": 900},
        "storage_state": {"cookies": [], "origins": [{"origin": city.api_url, "localStorage": stored}]},
        "base_url": city.api_url,
        "permissions": ["clipboard-read", "clipboard-write"],
    }
    profile = await browser.other_profile(**wanted | options)
    return await profile.open(path)
