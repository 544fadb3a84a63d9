"""Chromium for end-to-end tests, and a server of pages from another origin than the city's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from aiohttp import web
from playwright import async_api as playwright

from tests.parts.city import eventually
from tests.parts.install_browser import NONE_FOUND, find_browser, may_do_without
from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_MS

playwright.expect.set_options(timeout=WAIT_MS)

SAVE_DATA: Final = "Object.defineProperty(navigator, 'connection', {value: {saveData: true}})"
"""An init script with which the pages load no other pages ahead, as they otherwise do seconds after their start."""

_ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # A microphone that beeps.
    "--use-fake-device-for-media-stream",
    # Pages of one origin share a process: the second one starts none and finds its scripts compiled.
    "--renderer-process-limit=1",
]

_AT_BOTTOM: Final = """() => {
  const log = document.querySelector("[role=log]");
  return log !== null && log.scrollHeight - log.scrollTop - log.clientHeight < 2;
}"""


async def click_to_close(window: playwright.Page, button: str) -> None:
    """Click a button that closes its window, and wait until it is closed."""
    async with window.expect_event("close"):
        try:
            await window.get_by_role("button", name=button).click()
        except playwright.Error as error:
            # The window may be gone before the driver has reported the click.
            if "has been closed" not in error.message:
                raise


@dataclass
class Tab:
    page: playwright.Page
    errors: list[str] = field(default_factory=list)
    """Errors of the page's console, and uncaught exceptions."""

    async def run(self, script: str, argument: Any = None) -> Any:
        """The result of a JavaScript expression, or of a function called with ``argument``."""
        return await self.page.evaluate(script, argument)

    async def has_error(self, part: str) -> None:
        """Wait for an error of the page's console that has this part."""

        async def is_there() -> bool:
            return any(part in error for error in self.errors)

        await eventually(is_there, explain=lambda: "\n".join(self.errors))

    async def close(self) -> None:
        """Close the tab as a user does: the page gets ``pagehide`` and may send a last request."""
        async with self.page.expect_event("close"):
            await self.page.close(run_before_unload=True)


@dataclass
class Browser:
    _context: playwright.BrowserContext
    _of_tests: list[tuple[str, playwright.BrowserContext]] = field(default_factory=list)

    async def other_profile(self, **options: Any) -> Browser:
        """Return a browser context that shares no storage with this one; ``options`` are Playwright's.

        Service workers are blocked unless ``options`` allow them: requests that one makes pass playwright's routes by.
        Contexts that earlier tests opened, and not fixtures, are closed: their pages would go on working.
        """
        chromium = self._context.browser
        assert chromium is not None
        context = await _new_context(chromium, **options)
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        for former in [former for opener, former in self._of_tests if opener != test]:
            await former.close()
        self._of_tests[:] = [(opener, each) for opener, each in self._of_tests if opener == test]
        if test.endswith("(call)"):
            self._of_tests.append((test, context))
        return Browser(context)

    async def kill(self) -> None:
        """Close all tabs at once, as when the browser is killed."""
        await self._context.close()

    async def open(self, url: str) -> Tab:
        tab = Tab(await self._context.new_page())
        tab.page.on("console", lambda entry: tab.errors.append(entry.text) if entry.type == "error" else None)
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        await tab.page.goto(url)
        return tab


@asynccontextmanager
async def start_browser(*, is_complete: bool = False) -> AsyncIterator[Browser]:
    """Start a browser with a temporary profile: Chromium's headless shell where it is installed.

    A complete Chromium blocks the storage of frames from other sites, as browsers of people do, and records sound; the shell
    does neither.
    """
    command = find_browser(is_complete=is_complete)
    if command is None:
        if may_do_without():
            pytest.skip("no Chromium, and ALLOW_NO_BROWSER=1")
        pytest.fail(NONE_FOUND, pytrace=False)
    with TemporaryDirectory(prefix="chromium-") as home:
        # Chromium writes crash reports outside of the profile, which playwright removes.
        environment: dict[str, str | float | bool] = {**os.environ, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        async with (
            playwright.async_playwright() as driver,
            await driver.chromium.launch(executable_path=command, args=_ARGUMENTS, env=environment) as chromium,
            await _new_context(chromium) as context,
        ):
            yield Browser(context)


async def _new_context(chromium: playwright.Browser, **options: Any) -> playwright.BrowserContext:
    context = await chromium.new_context(**{"service_workers": "block"} | options)
    context.set_default_timeout(WAIT_MS)
    return context


async def until_true(page: playwright.Page | playwright.Frame, script: str, argument: Any = None) -> None:
    """Wait until a JavaScript expression, or a function called with ``argument``, is true.

    Playwright's ``wait_for_function`` evaluates text within the page, which the Content-Security-Policy of the pages forbids
    from the second time on.
    """
    await eventually(lambda: page.evaluate(script, argument))


async def until_no_overlay(page: playwright.Page) -> None:
    """Wait until the current history entry is that of a page.

    Overlays that were closed leave their entries a while later, and a navigation that begins meanwhile may be ended by that.
    """
    await until_true(page, "!history.state?.overlays")


async def until_at_bottom(page: playwright.Page) -> None:
    """Wait until the newest message of the conversation is in sight."""
    await until_true(page, _AT_BOTTOM)


@asynccontextmanager
async def serve_page(html: str) -> AsyncIterator[str]:
    """Serve this page at each path of the returned origin."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield f"http://{HOST}:{port}"
    finally:
        await runner.cleanup()
