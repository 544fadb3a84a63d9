"""Actions of messages in a Chromium page, whose buttons a row shows under the pointer only."""

from __future__ import annotations

from typing import Final

from playwright import async_api as playwright

from tests.parts.city import eventually

_TRY_MS: Final = 3_000


async def click_action(row: playwright.Locator, name: str) -> None:
    """Click the button of this name in the row of a message, as a reader does: point at the row, then click.

    The list moves when a message comes or the composer changes its height, and the buttons go with the pointer's row: a
    reader then points at the row again.
    """
    button = row.get_by_role("button", name=name, exact=True)

    async def is_clicked() -> bool:
        await row.hover()
        try:
            await button.click(timeout=_TRY_MS)
        except playwright.TimeoutError:
            return False
        return True

    await eventually(is_clicked)
