"""Screenshots of pages as small pictures, which differ from their baselines where a page looks different.

A screenshot is reduced to a fraction of its size before it is stored or compared: small differences of letters do not count
then, but layout, colours and missing parts do. Pictures are compared only if the same renderer made both: another version of
Chromium, or one that smooths letters in another way, differs in more than a page's own changes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageChops
from playwright.async_api import Page

BASELINES: Final = Path(__file__).parents[1] / "e2e" / "appearance"
"""The baselines: a picture of each page and a text with the structure of each page."""
SHOTS: Final = os.environ.get("APPEARANCE_SHOTS", "")
"""A folder for the full screenshots, to look at; none by default."""
UPDATES: Final = os.environ.get("APPEARANCE_UPDATE") == "1"
_REDUCED_BY: Final = 4
_DIFFERENCE: Final = 40
"""The difference of one colour channel (0 to 255) from which on a point of the reduced picture counts as different."""
_MAX_DIFFERENT: Final = 0.004
"""The share of different points up to which two pictures are the same."""
DRAW_LETTERS: Final = """async () => {
  await document.fonts.ready;
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  context.font = "17px 'Onest Variable', sans-serif";
  context.fillText("Місто, вечір, Aa 123", 4.3, 30.6);
  context.font = "13px monospace";
  context.fillText("print('вечір')", 4.3, 70.6);
  return canvas.toDataURL();
}"""
_STABLE_TRIES: Final = 30
_PAUSE_MS: Final = 150
_QUALITY: Final = 70


async def stable_screenshot(page: Page) -> bytes:
    """Return a screenshot of the window after two equal ones in a row."""
    await page.evaluate("() => document.fonts.ready")
    before = b""
    for _ in range(_STABLE_TRIES):
        shot = await page.screenshot(animations="disabled", caret="hide", scale="css")
        if shot == before:
            return shot
        before = shot
        await page.wait_for_timeout(_PAUSE_MS)
    raise AssertionError("the page does not come to rest")


async def renderer_of(page: Page) -> str:
    """Return an id of the renderer: the version of the browser, and a digest of drawn letters."""
    drawn = await page.evaluate(DRAW_LETTERS)
    version = page.context.browser.version if page.context.browser else ""
    return f"{version} {hashlib.sha256(drawn.encode()).hexdigest()[:16]}"


def picture_fault(name: str, shot: bytes, *, renderer: str) -> str | None:
    """Compare a screenshot with its baseline, or store it as the baseline if `UPDATES`.

    Args:
        name: the name of the picture.
        shot: the screenshot as PNG.
        renderer: the renderer of the browser, see `renderer_of`.

    Returns:
        What is wrong; None if the pictures are the same, or there is none of this renderer.
    """
    if SHOTS:
        (Path(SHOTS) / f"{name}.png").write_bytes(shot)
    encoded, file = _encoded(shot), BASELINES / f"{name}.webp"
    if UPDATES:
        file.write_bytes(encoded)
        return None
    if baseline_renderer() != renderer:
        return None
    if not file.exists():
        return f"{name}: no baseline; make appearance stores one"
    # Both have the losses of the same encoding.
    picture, baseline = (Image.open(io.BytesIO(each)).convert("RGB") for each in (encoded, file.read_bytes()))
    if baseline.size != picture.size:
        return f"{name}: {picture.size} instead of {baseline.size}"
    different = _different_share(baseline, picture)
    return f"{name}: {different:.1%} of the picture differ" if different > _MAX_DIFFERENT else None


def structure_fault(name: str, structure: str) -> str | None:
    """Compare the structure of a page with its baseline, or store it if `UPDATES`. Return what is wrong."""
    file = BASELINES / f"{name}.yaml"
    if UPDATES:
        file.write_text(structure + "\n")
        return None
    expected = file.read_text() if file.exists() else ""
    if expected == structure + "\n":
        return None
    before, now = expected.splitlines(), structure.splitlines()
    return f"{name}: not any more: {sorted(set(before) - set(now))}; new: {sorted(set(now) - set(before))}"


def baseline_renderer() -> str:
    """Return the renderer that the pictures were made with; empty if there are none."""
    file = BASELINES / "renderer.json"
    return str(json.loads(file.read_text())["renderer"]) if file.exists() else ""


def store_renderer(renderer: str) -> None:
    BASELINES.mkdir(exist_ok=True)
    (BASELINES / "renderer.json").write_text(json.dumps({"renderer": renderer}) + "\n")


def _encoded(shot: bytes) -> bytes:
    """Return a screenshot, reduced, as WebP."""
    picture, buffer = Image.open(io.BytesIO(shot)).convert("RGB"), io.BytesIO()
    size = (picture.width // _REDUCED_BY, picture.height // _REDUCED_BY)
    picture.resize(size, Image.Resampling.BOX).save(buffer, "webp", quality=_QUALITY, method=6)
    return buffer.getvalue()


def _different_share(one: Any, other: Any) -> float:
    channels = ImageChops.difference(one, other).split()
    highest = ImageChops.lighter(ImageChops.lighter(channels[0], channels[1]), channels[2])
    different = sum(highest.histogram()[_DIFFERENCE:])
    return float(different / (one.width * one.height))
