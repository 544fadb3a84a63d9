"""Unsent messages of the pages across outages, reloads, tabs and sign-outs, in a real browser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from tests.parts.browser import SAVE_DATA, Browser, start_browser
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.page_reader import ANN, MESSAGES, Reader, address, holds, message_bodies, open_city, say
from tests.parts.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with open_city(sqlite_url) as city:
        yield city


async def go(page: Page, link: str) -> None:
    """As a click does, without a new document."""
    await page.evaluate(
        "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }", link
    )


async def stored(page: Page) -> list[dict[str, Any]]:
    """The entries of the outbox, as the browser has stored them."""
    found: list[dict[str, Any]] = await page.evaluate(
        """() => new Promise((resolve, reject) => {
            const opening = indexedDB.open("city");
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = () => {
                const reading = opening.result.transaction("entries").objectStore("entries").getAll();
                reading.onsuccess = () => { opening.result.close(); resolve(reading.result) };
            };
        })"""
    )
    return found


async def test_message_offline_and_reloaded_is_sent_once(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        await page.context.route("**/city/rooms/*/messages", lambda route: route.abort())
        await say(page, "written offline")
        await page.get_by_text("Waiting for the connection").wait_for()
        await go(page, "/city/science")
        await page.get_by_role("heading", name="Science").wait_for()
        await expect(page.get_by_role("link", name="General", exact=True)).to_be_visible()
        await page.reload()
        await page.get_by_role("heading", name="Science").wait_for()
        assert [entry["owner"] for entry in await stored(page)] == ["u_ann"]
        assert await message_bodies(city)() == []
        await page.context.unroute("**/city/rooms/*/messages")
        await holds(city, ("u_ann", "written offline"))
        await eventually(lambda: is_empty(page))


async def is_empty(page: Page) -> bool:
    return await stored(page) == []


async def test_two_tabs_send_each_message_once_in_order(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        pages = [await reader.room(), await reader.room()]
        posts: list[str] = []
        reader.context.on("request", lambda request: posts.append(request.method) if is_post(request) else None)
        await reader.context.set_offline(True)
        for number in range(6):
            await say(pages[number % 2], f"number {number}")
        for page in pages:
            await expect(page.get_by_text("number 5", exact=True)).to_be_visible()
        await reader.context.set_offline(False)
        await holds(city, *((ANN[0], f"number {number}") for number in range(6)))
        await pages[0].close()
        await say(pages[1], "the other tab goes on")
        await holds(city, *((ANN[0], f"number {number}") for number in range(6)), (ANN[0], "the other tab goes on"))


def is_post(request: Any) -> bool:
    return bool(request.method == "POST" and request.url.endswith("/messages"))


async def test_message_during_outage_is_sent_after_it(tmp_path: Path, browser: Browser) -> None:
    url, api = f"sqlite:///{tmp_path / 'city.db'}", {"port": free_port()}
    async with AsyncExitStack() as first:
        city = await first.enter_async_context(in_process_city(url, api=api))
        async with Reader.start(browser, city) as reader:
            page = await reader.room()
            await first.aclose()
            await say(page, "into the silence")
            await page.get_by_text("Waiting for the connection").wait_for()
            async with in_process_city(url, api=api) as again:
                await holds(again, ("u_ann", "into the silence"))


async def test_unanswered_post_is_repeated_with_client_id(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        bodies: list[Any] = []

        async def lose_the_first_answer(route: Route) -> None:
            bodies.append(json.loads(route.request.post_data or "{}"))
            if len(bodies) == 1:
                await route.fetch()
                await route.abort("connectionreset")
            else:
                await route.continue_()

        # No events: the page can learn of its message by an answer only.
        await page.route_web_socket("**/ws/city/rooms/**", lambda socket: socket.close())
        await page.reload()
        await page.route(MESSAGES, lose_the_first_answer)
        await say(page, "once only")
        await eventually(lambda: is_empty(page))
        assert len(bodies) == 2
        assert bodies[0]["client_id"] == bodies[1]["client_id"]
        assert await message_bodies(city)() == [("u_ann", "once only")]


async def test_slow_response_keeps_newer_socket_state(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()

        async def late_and_old(route: Route) -> None:
            answer = await route.fetch()
            old = await answer.json()
            await page.get_by_role("log").get_by_text("quick", exact=True).wait_for()
            await city.call(
                "PATCH", f"/city/rooms/general/messages/{old['id']}", {"body": "edited"}, token=citizen_token(*ANN)
            )
            await page.get_by_role("log").get_by_text("edited", exact=True).first.wait_for()
            await route.fulfill(response=answer)

        await page.route(MESSAGES, late_and_old)
        async with page.expect_response(MESSAGES):
            await say(page, "quick")
        await eventually(lambda: is_empty(page))
        await expect(page.get_by_role("log").get_by_text("quick", exact=True)).to_have_count(0)


async def test_refused_edit_keeps_its_text(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        await say(page, "to be changed")
        await expect(page.locator("[data-message]").filter(has_text="to be changed")).to_be_visible()
        problem = json.dumps({"status": 413, "code": "message_too_long", "detail": "too long"})
        await page.route(
            f"{MESSAGES}/*",
            lambda route: route.fulfill(status=413, content_type="application/problem+json", body=problem),
        )
        field = page.get_by_role("textbox", name="Message to")
        await field.press("ArrowUp")
        await expect(field).to_have_value("to be changed")
        await field.fill("a much better text")
        await field.press("Enter")
        await page.get_by_text("Edit: a much better text").wait_for()
        room = await page.locator("main").bounding_box()
        assert room is not None
        assert room["y"] < 100, "nothing but the header stands above the room"
        await page.reload()
        await page.get_by_text("Edit: a much better text").wait_for()
        await page.unroute(f"{MESSAGES}/*")
        await page.get_by_role("button", name="Edit", exact=True).click()
        await expect(field).to_have_value("a much better text")
        await field.press("Enter")
        await holds(city, ("u_ann", "a much better text"))


async def test_file_that_waits_survives_a_reload(city: InProcessCity, browser: Browser, tmp_path: Path) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        await page.context.route("**/city/media**", lambda route: route.abort())
        notes = tmp_path / "notes.txt"
        notes.write_text("words")
        await page.locator("input[type=file]").set_input_files(notes)
        await page.get_by_text("will be sent with the message").wait_for()
        await page.reload()
        await page.get_by_text("will be sent with the message").wait_for()
        await say(page, "with a file")
        await page.get_by_text("Waiting for the connection").wait_for()
        await page.reload()
        await page.get_by_text("notes.txt").wait_for()
        [entry] = await stored(page)
        assert entry["action"]["body"] == "with a file"
        assert entry["state"] == "waiting"


async def test_failed_page_load_on_click_keeps_document(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        # Nothing is loaded ahead here: that is what a click in the first seconds meets.
        await reader.context.add_init_script(SAVE_DATA)
        page = await reader.room()
        await page.evaluate("window.isSame = true")
        await reader.context.set_offline(True)
        await say(page, "before the click")
        await page.get_by_role("link", name="Agents").click()
        await page.get_by_text("This page could not be loaded.").wait_for()
        await page.get_by_text("No network.").wait_for()
        # The browser says that it is online before requests succeed.
        await page.route("**/assets/AgentsPage-*.js", lambda route: route.abort(), times=1)
        await reader.context.set_offline(False)
        await page.get_by_role("heading", name="Agents of the city").wait_for()
        assert await page.evaluate("window.isSame")
        await holds(city, ("u_ann", "before the click"))


async def test_new_build_reloads_page_with_missing_parts(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        await reader.context.add_init_script(SAVE_DATA)
        page = await reader.room()
        await page.evaluate("window.isSame = true")

        async def other_build(route: Route) -> None:
            answer = await route.fetch()
            await route.fulfill(response=answer, body=(await answer.text()).replace("/assets/index-", "/assets/other-"))

        await page.route("**/assets/AgentsPage-*.js", lambda route: route.fulfill(status=404))
        await page.route(address(city, "/"), other_build)
        async with page.expect_event("domcontentloaded"):
            await page.get_by_role("link", name="Agents").click()
        # Once: what is missing in the new build, too, does not make it reload for ever.
        await page.get_by_text("This page could not be loaded.").wait_for()


async def test_enter_that_ends_a_composition_sends_nothing(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        field = page.get_by_role("textbox", name="Message to")
        await field.fill("にほん")
        await field.evaluate(
            "field => field.dispatchEvent(new KeyboardEvent('keydown',"
            " {key: 'Enter', keyCode: 229, isComposing: false, bubbles: true, cancelable: true}))"
        )
        await expect(field).to_have_value("にほん")
        assert await stored(page) == []
        await field.press("Enter")
        await holds(city, ("u_ann", "にほん"))


async def test_mention_in_the_address_is_used_once(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room("/city/general?mention=scribe")
        field = page.get_by_role("textbox", name="Message to")
        await expect(field).to_have_value("@scribe ")
        await field.fill("")
        await page.reload()
        await expect(field).to_have_value("")
        assert "mention" not in page.url


async def test_file_dropped_on_the_conversation_is_attached(city: InProcessCity, browser: Browser) -> None:
    async with Reader.start(browser, city) as reader:
        page = await reader.room()
        drop = """([type, kind]) => {
            const data = new DataTransfer();
            if (kind === "file") data.items.add(new File(["words"], "dropped.txt", {type}));
            else data.setData(type, "dragged words");
            const log = document.querySelector("[role=log]");
            const over = new DragEvent("dragover", {dataTransfer: data, bubbles: true, cancelable: true});
            log.dispatchEvent(over);
            log.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
            return over.defaultPrevented;
        }"""
        assert await page.evaluate(drop, ["text/plain", "file"])
        await page.get_by_text("dropped.txt").wait_for()
        assert await page.evaluate(drop, ["text/plain", "text"])
        await expect(page.get_by_role("textbox", name="Message to")).to_have_value("dragged words")
