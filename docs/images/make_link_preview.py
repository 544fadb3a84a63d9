"""Makes web/public/link-preview.png, the picture of links to the city, from the street of the front page.

PYTHONPATH=. .venv/bin/python docs/images/make_link_preview.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.parts.browser import start_browser
from tests.parts.in_process_city import in_process_city
from tests.parts.ports import HOST

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "web" / "public" / "link-preview.png"
SHOW_STREET = """() => {
  document.documentElement.dataset.theme = "light";
  const street = document.querySelector("section svg");
  street.querySelectorAll("rect[rx='3']").forEach((pane, index) => {
    if (index % 3 === 0) pane.style.fill = "var(--window-lit)";
  });
  document.body.replaceChildren(street);
  document.body.style.cssText =
    "margin: 0; overflow: hidden; background: linear-gradient(var(--sky-top), var(--sky-low))";
  street.style.cssText =
    "position: fixed; bottom: 0; left: -560px; width: 1800px; max-width: none; height: 450px";
}"""


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with in_process_city(f"sqlite:///{folder}/city.db") as city, start_browser() as browser:
            artist = await browser.other_profile(viewport={"width": 1200, "height": 630}, reduced_motion="reduce")
            tab = await artist.open(f"http://{HOST}:{city.city.settings.api.port}/")
            await tab.page.wait_for_selector("section svg")
            await tab.run(SHOW_STREET)
            await tab.page.wait_for_timeout(1000)  # a window takes 700 ms to be lit
            PICTURE.parent.mkdir(exist_ok=True)
            await tab.page.screenshot(path=PICTURE)


if __name__ == "__main__":
    asyncio.run(main())
