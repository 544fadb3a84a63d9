"""Pushes in a real browser: the switch in the account's menu, and the notification that the service worker shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.async_api import CDPSession, Page, expect

from tests.parts.browser import start_browser, until_true
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

OKSANA = citizen_token("u_1", "Оксана")
SHOWN = """navigator.serviceWorker.ready
    .then(registration => registration.getNotifications())
    .then(shown => shown.map(({ title, body, tag, data, icon }) => ({ title, body, tag, data, icon })))"""
SIDES = """async address => {
    const { width, height } = await createImageBitmap(await (await fetch(address)).blob());
    return [width, height];
}"""
PUSH = {
    "kind": "mention",
    "language": "en",
    "room_id": "city_general",
    "slug": "general",
    "room_name": "General",
    "author_name": "Тарас",
    "text": "come here",
    "message_id": "m1",
    "url": "/city/general/m1",
}


async def test_push_becomes_a_notification(tmp_path: Path) -> None:
    async with (
        in_process_city(f"sqlite:///{tmp_path / 'city.db'}") as city,
        start_browser(is_complete=True) as first,
    ):
        browser = await first.other_profile(locale="en-US", service_workers="allow", permissions=["notifications"])
        page = (await browser.open(address(city, "/secondme"))).page
        await page.evaluate("token => localStorage.setItem('city.session', token)", OKSANA)
        await page.goto(address(city, "/city"))
        await switch_on(page)
        await page.evaluate("navigator.serviceWorker.register('/service-worker.js')")
        await until_true(page, "navigator.serviceWorker.ready.then(found => found.active?.state === 'activated')")
        await deliver(await page.context.new_cdp_session(page), city, PUSH)

        async def shown() -> Any:
            return await page.evaluate(SHOWN)

        [notification] = await eventually(shown)
        # Browsers fit icons into a square.
        width, height = await page.evaluate(SIDES, notification.pop("icon"))
        assert width == height
        assert notification == {
            "title": "Тарас · General",
            "body": "come here",
            "tag": "city_general",
            "data": "/city/general/m1",
        }


def address(city: InProcessCity, path: str) -> str:
    return f"http://{HOST}:{city.city.settings.api.port}{path}"


async def switch_on(page: Page) -> None:
    """Switch notifications on; the browser is then offered pushes."""
    await page.get_by_role("button", name="Account: Оксана").click()
    await page.get_by_role("button", name="Notify me of mentions").click()
    await expect(page.get_by_role("button", name="Also while the city is closed")).to_be_visible()


async def deliver(session: CDPSession, city: InProcessCity, push: dict[str, Any]) -> None:
    """Deliver a push as a push service would."""
    found: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(each["registrationId"] for each in event["registrations"]),
    )
    await session.send("ServiceWorker.enable")

    async def registration() -> str | None:
        return found[-1] if found else None

    identifier = await eventually(registration)
    message = {"origin": address(city, ""), "registrationId": identifier, "data": json.dumps(push)}
    await session.send("ServiceWorker.deliverPushMessage", message)
