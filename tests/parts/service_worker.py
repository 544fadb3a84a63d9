"""The service worker of the pages, and what it has stored."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

from tests.parts.browser import until_true
from tests.parts.city import eventually


async def settled(page: Page) -> None:
    """The worker of the build that is served is there, and no other is being installed."""
    await page.evaluate("navigator.serviceWorker.ready.then(registration => registration.update())")
    await until_true(
        page,
        "navigator.serviceWorker.controller !== null"
        " && navigator.serviceWorker.getRegistration().then(found => found !== undefined && found.installing === null)",
    )


async def seen_by(page: Page) -> Any:
    """The readers of the answers that the browser stores."""
    return await page.evaluate(
        """() => new Promise((resolve, reject) => {
            const opening = indexedDB.open("city-seen");
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = () => {
                const reading = opening.result.transaction("answers").objectStore("answers").getAll();
                reading.onsuccess = () => {
                    opening.result.close();
                    resolve([...new Set(reading.result.map(({ reader, name }) => `${reader} ${name}`))]);
                };
            };
        })"""
    )


async def until_seen(page: Page, answer: str) -> None:
    """Wait until an answer is stored for reading offline.

    Args:
        answer: The reader and the name of the answer, such as ``u_ann room builders``.
    """

    async def is_stored() -> bool:
        return answer in await seen_by(page)

    await eventually(is_stored)
