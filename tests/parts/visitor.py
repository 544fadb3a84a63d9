"""A citizen who uses the city's pages in a browser."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, expect

from tests.parts.browser import Browser, Tab
from tests.parts.city import RunningCity


class Visitor:
    """A page of the city, signed in with a name."""

    def __init__(self, browser: Browser, tab: Tab) -> None:
        self.browser = browser
        self.tab = tab
        self.page = tab.page

    @classmethod
    async def open(cls, first: Browser, city: RunningCity, path: str, name: str, **options: Any) -> Visitor:
        browser = await first.other_profile(locale="en-US", **options)
        visitor = cls(browser, await browser.open(city.api_url + path))
        page = visitor.page
        await page.get_by_role("button", name="Sign in", exact=True).first.click()
        await page.get_by_label("What is your name?").fill(name)
        await page.get_by_role("button", name="Come in").click()
        await page.get_by_role("button", name=f"Account: {name}").wait_for()
        return visitor

    async def user_id(self, city: RunningCity) -> str:
        """Return the citizen of the page's token."""
        token = await self.tab.run("localStorage.getItem('city.session')")
        answer = await city.get("/city/me", token=token)
        return str(answer["user_id"])

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def input(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message to General")

    async def say(self, body: str) -> None:
        await self.input.fill(body)
        await self.input.press("Enter")

    async def sees(self, text: str) -> None:
        """Wait until the log has a message with this text exactly once."""
        await expect(self.log.get_by_text(text, exact=True)).to_have_count(1)

    async def hides(self, *, hidden: bool = True) -> None:
        """Report the tab as hidden; a browser without a screen shows all of its tabs."""
        state = "hidden" if hidden else "visible"
        await self.tab.run(
            """state => {
                Object.defineProperty(document, "visibilityState", {get: () => state, configurable: true});
                Object.defineProperty(document, "hidden", {get: () => state === "hidden", configurable: true});
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )
