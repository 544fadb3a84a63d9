"""Screenshots of pages as small pictures, which differ from their baselines where a page looks different.

A screenshot is reduced to a fraction of its size before it is stored or compared: text becomes grey bars then, so the way in
which a machine draws letters does not count, but layout, colours and missing parts do. The pictures of another version of
Chromium are not compared.
"""

from __future__ import annotations

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


def picture_fault(name: str, shot: bytes, *, chromium: str) -> str | None:
    """Compare a screenshot with its baseline, or store it as the baseline if `UPDATES`.

    Args:
        name: the name of the picture.
        shot: the screenshot as PNG.
        chromium: the version of the browser.

    Returns:
        What is wrong; None if the pictures are the same, or there is none of this version of Chromium.
    """
    if SHOTS:
        (Path(SHOTS) / f"{name}.png").write_bytes(shot)
    encoded, file = _encoded(shot), BASELINES / f"{name}.webp"
    if UPDATES:
        file.write_bytes(encoded)
        return None
    if baseline_version() != chromium:
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


def baseline_version() -> str:
    """Return the version of the Chromium that the pictures were made with; empty if there are none."""
    file = BASELINES / "chromium.json"
    return str(json.loads(file.read_text())["version"]) if file.exists() else ""


def store_version(chromium: str) -> None:
    BASELINES.mkdir(exist_ok=True)
    (BASELINES / "chromium.json").write_text(json.dumps({"version": chromium}) + "\n")


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
