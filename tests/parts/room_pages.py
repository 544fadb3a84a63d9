"""A city with the rooms General, Наука (``science``) and Музика (``music``), and citizens on their pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Locator, Page

from tests.parts.browser import Browser
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

DANA: Final = citizen_token("u_dana", "Дана Руда")
TARAS: Final = citizen_token("u_taras", "Тарас Шевчук")
WIDE: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 390, "height": 844}


@asynccontextmanager
async def city_with_rooms(file: Path, sqlite_template: Path) -> AsyncIterator[InProcessCity]:
    """Start the city on a copy of the template, which has no limits that tests reach."""
    file.write_bytes(sqlite_template.read_bytes())
    limits = {"messages": "10000/minute", "reads": "100000/minute"}
    async with in_process_city(f"sqlite:///{file}", limits=limits) as city:
        for name, slug in (("Наука", "science"), ("Музика", "music")):
            answer = await city.call("POST", "/city/rooms", {"name": name, "slug": slug}, token=DANA)
            assert answer.status == 201, answer
        await say(city, "Добрий вечір!")
        await say(city, "Лекція завтра", room="science")
        yield city


async def say(city: InProcessCity, body: str, *, room: str = "general", token: str = DANA, **more: str) -> str:
    """Post a message and return its id."""
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body, **more}, token=token)
    assert answer.status == 201, answer
    return str(answer.content["id"])


async def visit(city: InProcessCity, browser: Browser, path: str, *, token: str = TARAS, **options: Any) -> Page:
    """A page of a citizen, on a wide screen unless ``options`` say otherwise."""
    origin = f"http://{HOST}:{city.city.settings.api.port}"
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": token}]}],
    }
    wanted = {"locale": "en-US", "viewport": WIDE, "storage_state": stored, "base_url": origin} | options
    page = (await (await browser.other_profile(**wanted)).open("about:blank")).page
    await page.goto(path)
    return page


def row(page: Page, body: str) -> Locator:
    return page.get_by_role("log").get_by_role("article").filter(has_text=body)


def field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message to")
