"""What people write on the pages stays theirs: over sign-ins and sign-outs in several tabs, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tests.parts.browser import Browser, start_browser
from tests.parts.in_process_city import InProcessCity
from tests.parts.page_reader import ANN, MESSAGES, Reader, holds, open_city, say, sign_out

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOB: Final = ("u_bob", "Bob")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with open_city(sqlite_url) as city:
        yield city


async def test_pending_message_is_not_sent_by_next_person(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city, None) as reader:
        # Without its service worker, a page offline has only the parts that it loaded before: those of nobody, too.
        page = (await reader.open("/city/general")).page
        await page.get_by_role("button", name="Sign in", exact=True).first.wait_for()
        await reader.sign_in(page, ANN)
        await page.get_by_role("textbox", name="Message to").wait_for()
        await reader.context.set_offline(True)
        await say(page, "mine alone")
        await page.get_by_text("Waiting for the connection").wait_for()
        await sign_out(page, "Ann")
        await expect(page.get_by_text("1 unsent message is waiting for you to sign in.")).to_be_visible()
        await reader.context.set_offline(False)
        await reader.sign_in(page, BOB)
        await expect(page.get_by_text("mine alone")).to_have_count(0)
        await say(page, "I am Bob")
        await holds(city, ("u_bob", "I am Bob"))
        await sign_out(page, "Bob")
        await reader.sign_in(page, ANN)
        await holds(city, ("u_bob", "I am Bob"), ("u_ann", "mine alone"))


async def test_sign_in_in_second_tab_keeps_authors(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        first = await reader.room()
        await first.route(MESSAGES, lambda route: route.abort())
        await say(first, "still Ann's")
        await first.get_by_text("Waiting for the connection").wait_for()
        second = await reader.room("/city/science")
        await reader.sign_in(second, BOB)
        await first.get_by_role("button", name="Account: Bob").wait_for()
        await first.unroute(MESSAGES)
        await say(first, "Bob's")
        await holds(city, ("u_bob", "Bob's"))
        await reader.sign_in(second, ANN)
        await holds(city, ("u_bob", "Bob's"), ("u_ann", "still Ann's"))


async def test_draft_belongs_to_its_author(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        field = page.get_by_role("textbox", name="Message to")
        await field.fill("Ann's secret")
        await reader.sign_in(page, BOB)
        await expect(field).to_have_value("")
        await field.fill("Bob's own")
        await page.reload()
        await expect(field).to_have_value("Bob's own")
        await reader.sign_in(page, ANN)
        await expect(field).to_have_value("Ann's secret")


async def test_draft_is_the_same_in_both_tabs(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        first = (await reader.room()).get_by_role("textbox", name="Message to")
        await first.fill("begun here")
        page = await reader.room()
        second = page.get_by_role("textbox", name="Message to")
        await expect(second).to_have_value("begun here")
        await second.fill("begun here, ended there")
        await expect(first).to_have_value("begun here, ended there")
        await second.press("Enter")
        await expect(first).to_have_value("")
        await holds(city, ("u_ann", "begun here, ended there"))


async def test_sign_out_in_another_tab_is_followed(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        first, second = await reader.room(), await reader.room("/city/science")
        await sign_out(first, "Ann")
        await second.get_by_text("Sign in to write in this room.").wait_for()


async def test_sign_in_counts_when_browser_clock_is_ahead(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city, None) as reader:
        await reader.context.add_init_script("const now = Date.now; Date.now = () => now() + 90 * 24 * 3600 * 1000")
        page = (await reader.open("/city/general")).page
        await page.get_by_role("button", name="Sign in", exact=True).first.click()
        name = page.get_by_label("What is your name?")
        await expect(name).to_be_focused()
        await name.fill("Olena")
        await name.press("Enter")
        await page.get_by_role("button", name="Account: Olena").wait_for()
        await page.reload()
        await page.get_by_role("button", name="Account: Olena").wait_for()


async def test_sign_in_field_that_loads_late_is_focused(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city, None) as reader:
        page = (await reader.open("/city/general")).page
        held = asyncio.Event()

        async def hold(route: Route) -> None:
            await held.wait()
            await route.continue_()

        await page.route("**/city/site", hold)
        await page.get_by_role("button", name="Sign in", exact=True).first.click()
        await page.get_by_role("dialog").wait_for()
        held.set()
        await expect(page.get_by_label("What is your name?")).to_be_focused()


async def test_opening_room_continues_after_sign_in(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city, None) as reader:
        page = (await reader.open("/city")).page
        await page.get_by_role("button", name="Open a room").click()
        await page.get_by_label("What is your name?").fill("Olena")
        await page.get_by_role("button", name="Come in").click()
        await expect(page.get_by_role("dialog", name="A new room").get_by_label("Name")).to_be_focused()


async def test_dialog_that_is_being_loaded_closes_with_escape(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city, None) as reader:
        await reader.context.route("**/assets/SignInDialog*.js", lambda _route: asyncio.sleep(0))
        page = (await reader.open("/city/general")).page
        opener = page.get_by_role("button", name="Sign in", exact=True).first
        await opener.click()
        await page.get_by_role("dialog", name="Loading…").wait_for()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(opener).to_be_focused()
