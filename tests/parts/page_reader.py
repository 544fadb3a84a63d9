"""Somebody's browser on the pages of the city, and what its outbox has stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import BrowserContext, Page, expect

from tests.parts.browser import Browser, Tab
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

MESSAGES: Final = "**/city/rooms/*/messages"
ANN: Final = ("u_ann", "Ann")


def address(city: InProcessCity, path: str) -> str:
    return f"http://{HOST}:{city.city.settings.api.port}{path}"


class Reader:
    """A browser whose tabs sign in and out."""

    def __init__(self, browser: Browser, city: InProcessCity) -> None:
        self.browser = browser
        self.city = city

    @classmethod
    @asynccontextmanager
    async def start(
        cls, first: Browser, city: InProcessCity, who: tuple[str, str] | None = ANN
    ) -> AsyncIterator[Reader]:
        session = [] if who is None else [{"name": "city.session", "value": citizen_token(*who)}]
        storage = {"cookies": [], "origins": [{"origin": address(city, ""), "localStorage": session}]}
        browser = await first.other_profile(locale="en-US", storage_state=storage)
        reader = cls(browser, city)
        try:
            yield reader
        finally:
            await browser.kill()

    async def open(self, path: str) -> Tab:
        return await self.browser.open(address(self.city, path))

    async def room(self, path: str = "/city/general") -> Page:
        page = (await self.open(path)).page
        await page.get_by_role("textbox", name="Message to").wait_for()
        return page

    async def sign_in(self, page: Page, who: tuple[str, str]) -> None:
        """With a token, as the city's own sign-in gives it: by a name alone one is somebody new each time."""
        token = citizen_token(*who)
        await page.evaluate(
            """token => {
                const was = localStorage.getItem("city.session");
                localStorage.setItem("city.session", token);
                dispatchEvent(new StorageEvent("storage", {key: "city.session", oldValue: was, newValue: token}));
            }""",
            token,
        )
        await page.get_by_role("button", name=f"Account: {who[1]}").wait_for()

    @property
    def context(self) -> BrowserContext:
        return self.browser._context


async def sign_out(page: Page, name: str) -> None:
    await page.get_by_role("button", name=f"Account: {name}").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Sign in", exact=True).first.wait_for()


async def say(page: Page, text: str) -> None:
    field = page.get_by_role("textbox", name="Message to")
    await field.fill(text)
    await field.press("Enter")
    await expect(field).to_have_value("")


def message_bodies(city: InProcessCity, room: str = "general") -> Callable[[], Awaitable[list[tuple[str, str]]]]:
    """Who said what in a room, by id and text."""

    async def ask() -> list[tuple[str, str]]:
        messages = await city.get(f"/city/rooms/{room}/messages")
        return [(message["author"]["id"], message["body"]) for message in messages]

    return ask


async def holds(city: InProcessCity, *wanted: tuple[str, str], room: str = "general") -> None:
    ask = message_bodies(city, room)

    async def is_so() -> bool:
        return await ask() == list(wanted)

    await eventually(is_so)


@asynccontextmanager
async def open_city(database_url: str) -> AsyncIterator[InProcessCity]:
    """Start a city with the rooms Science and Arts, in which people sign in by a name."""
    async with in_process_city(database_url, sign_in={"name": True}) as city:
        for name in ("Science", "Arts"):
            answer = await city.call("POST", "/city/rooms", {"name": name}, token=citizen_token(*ANN))
            assert answer.status == 201, answer
        yield city
