"""The colors that the service computes for avatars on Matrix are those that a browser shows on the pages."""

from __future__ import annotations

from daarion_appservice.city.colors import _rgb
from tests.parts.browser import Browser

SHOWN = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return Array.from({ length: 360 }, (_, hue) => {
    context.fillStyle = `oklch(48% 0.1 ${hue})`;
    context.fillRect(0, 0, 1, 1);
    return Array.from(context.getImageData(0, 0, 1, 1).data.slice(0, 3));
  });
}"""


async def test_all_hues_equal_those_of_browser(browser: Browser) -> None:
    other_browser = await browser.other_profile()
    tab = await other_browser.open("about:blank")
    shown = await tab.run(SHOWN)
    drawn = [tuple(bytes.fromhex(_rgb(0.48, 0.1, hue)[1:])) for hue in range(360)]
    differences = [
        max(abs(a - b) for a, b in zip(here, there, strict=True)) for here, there in zip(drawn, shown, strict=True)
    ]
    assert max(differences) <= 2, [hue for hue, difference in enumerate(differences) if difference > 2]
