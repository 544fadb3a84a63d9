"""Read receipts on the page of a room, in a real browser: whose avatars stand beside which message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import FloatRect, Locator, Page, expect

from daarion_appservice.city.receipts import ReadPosition, ReceiptKey
from daarion_appservice.city.types import Member, MessageId, RoomId, UserId, user_subject
from daarion_appservice.clock import now_ms
from tests.parts.browser import start_browser, until_at_bottom
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

DANA: Final = citizen_token("u_dana", "Дана")
TARAS: Final = citizen_token("u_taras", "Тарас")
GENERAL: Final = RoomId("city_general")
NAMES: Final = ("Аліса", "Борис", "Віра", "Гліб", "Зоя")
LONG: Final = "довгий рядок до самого краю, " * 30


def user(name: str) -> UserId:
    return UserId(f"@reader{NAMES.index(name)}:city.localhost")


async def say(city: InProcessCity, body: str, *, token: str = DANA, **more: str) -> dict[str, Any]:
    answer = await city.call("POST", "/city/rooms/general/messages", {"body": body, **more}, token=token)
    assert answer.status == 201, answer
    message: dict[str, Any] = answer.content
    return message


def read(city: InProcessCity, message: dict[str, Any], *names: str) -> None:
    for name in names:
        key = ReceiptKey(GENERAL, user_subject(user(name)), message["thread_root"])
        city.city.receipt_writer.add(key, ReadPosition(MessageId(message["id"]), message["seq"], now_ms()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    file = tmp_path_factory.mktemp("page_receipts") / "city.db"
    file.write_bytes(sqlite_template.read_bytes())
    async with in_process_city(f"sqlite:///{file}", limits={"messages": "10000/minute"}) as city:
        async with city.city.database.transaction() as tx:
            joins = await city.city.room_members.join(
                tx, GENERAL, [Member(GENERAL, user(name), name) for name in NAMES]
            )
        for event in joins:
            city.city.bus.publish(event)
        writing = asyncio.create_task(city.city.receipt_writer.run())
        yield city
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="module")
async def page(city: InProcessCity) -> AsyncIterator[Page]:
    """The page of Taras, who is signed in and a member."""
    assert (await city.call("POST", "/city/rooms/general/join", token=TARAS)).status == 200
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": TARAS}]}],
    }
    async with start_browser() as browser:
        taras = await browser.other_profile(
            locale="en-US", viewport={"width": 1280, "height": 800}, storage_state=stored, base_url=origin
        )
        yield (await taras.open("/city/general")).page


def row(page: Page, body: str) -> Locator:
    return page.get_by_role("article").filter(has_text=body)


def readers(page: Page, body: str) -> Locator:
    return row(page, body).get_by_role("img", name="Read by")


async def test_readers_stand_at_their_last_message(city: InProcessCity, page: Page) -> None:
    first, second = await say(city, "перше слово"), await say(city, "друге слово")
    await expect(row(page, "друге слово")).to_be_visible()
    await until_at_bottom(page)
    await row(page, "перше слово").hover(trial=True)  # waits until it rests
    height = await row(page, "перше слово").bounding_box()
    read(city, first, "Аліса", "Борис")
    await expect(readers(page, "перше слово")).to_have_attribute("data-readers", "2")
    assert await row(page, "перше слово").bounding_box() == height, "rows keep their places"
    read(city, second, "Борис")
    await expect(readers(page, "друге слово")).to_have_attribute("aria-label", "Read by Борис")
    await expect(readers(page, "перше слово")).to_have_attribute("title", "Read by Аліса")

    # Taras has read it, too, as his own receipt shows to others.
    async def has_read() -> bool:
        return "u_taras" in {each["user_id"] for each in await city.get("/city/rooms/general/receipts")}

    await eventually(has_read)
    await page.reload()
    await expect(readers(page, "друге слово")).to_have_attribute("title", "Read by Борис")


async def box_of(element: Locator) -> FloatRect:
    """Return the box of an element, which the list may replace after a change of the width."""
    box = await eventually(element.bounding_box)
    assert box is not None
    return box


async def test_many_readers_fit_beside_a_long_message(city: InProcessCity, page: Page) -> None:
    message = await say(city, LONG)
    await expect(row(page, "довгий рядок")).to_be_visible()
    read(city, message, *NAMES)
    shown = readers(page, "довгий рядок")
    await expect(shown).to_have_attribute("data-readers", "5")
    await expect(shown).to_contain_text("+3")
    for width in (1280, 390, 320):
        await page.set_viewport_size({"width": width, "height": 800})
        text, faces = await box_of(row(page, "довгий рядок").locator("[dir=auto]").last), await box_of(shown)
        assert faces["x"] >= text["x"] + text["width"], f"the avatars cover no text at {width} px"
        assert faces["x"] + faces["width"] <= width


async def test_thread_shows_its_own_readers(city: InProcessCity, page: Page) -> None:
    root = await say(city, "корінь гілки")
    reply = await say(city, "у гілці", thread_root=root["id"])
    read(city, reply, "Віра")
    await row(page, "корінь гілки").get_by_role("button", name="1 reply").click()
    await expect(readers(page, "у гілці")).to_have_attribute("title", "Read by Віра")
    await expect(readers(page, "корінь гілки")).to_have_count(0)
