"""Draws avatars as PNG images of 256 × 256 pixels, a few kB each.

Shapes are drawn four times as large and scaled down, because Pillow draws polygons without anti-aliasing. Letters are
Onest, the font of the city's pages (``OFL.txt`` is its licence): ``onest-capitals.ttf`` has the capitals of the Latin and
Cyrillic alphabets and the digits. The letters of other scripts are replaced with an emblem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from ...city.avatars import DrawnAvatar, Emblem, EmblemAvatar, HouseAvatar, LetterAvatar
from ...city.colors import mixed

SIZE: Final = 256
"""Width and height in pixels."""
MIMETYPE: Final = "image/png"
_SCALE: Final = 4
_LETTER_SHARE: Final = 0.38
"""The font size as a part of the avatar's width, as on the pages."""
_NOT_A_CHARACTER: Final = "\uffff"

_PAPER: Final = "#fffcf5"
_LIT_WINDOW: Final = "#ffd470"
_BRICK: Final = "#b04a2b"
_SLATE: Final = "#475569"
_SUN: Final = "#f6cf74"
_WALL: Final = "#fff8ea"
_SHADED_WALL: Final = "#f2d9bf"

_Points = list[tuple[float, float]]


class Canvas:
    """An image with the coordinates of an SVG ``viewBox``.

    Args:
        ground: the color of the background, ``#rrggbb``.
        units: the width and height of the image in units of its drawing.
        left, top: the coordinates of the upper left corner.
    """

    def __init__(self, ground: str, units: float, left: float = 0.0, top: float = 0.0) -> None:
        self._image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), ground)
        self._draw = ImageDraw.Draw(self._image)
        self._factor = SIZE * _SCALE / units
        self._left, self._top = left, top

    def polygon(self, points: _Points, color: str) -> None:
        self._draw.polygon([self._pixel(x, y) for x, y in points], fill=color)

    def box(self, x: float, y: float, width: float, height: float, color: str, *, radius: float = 0.0) -> None:
        self._draw.rounded_rectangle(self._corners(x, y, width, height), radius * self._factor, fill=color)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, color: str) -> None:
        """Draw an ellipse around the point ``x``, ``y``."""
        corners = self._corners(x - radius_x, y - radius_y, 2 * radius_x, 2 * radius_y)
        self._draw.ellipse(corners, fill=color)

    def png(self) -> bytes:
        return _png(self._image.resize((SIZE, SIZE), Image.Resampling.BOX))

    def _pixel(self, x: float, y: float) -> tuple[float, float]:
        return (x - self._left) * self._factor, (y - self._top) * self._factor

    def _corners(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        (left, top), (right, bottom) = self._pixel(x, y), self._pixel(x + width, y + height)
        return left, top, right - 1, bottom - 1


def draw(avatar: DrawnAvatar) -> bytes:
    """Return an avatar as PNG: the same bytes for the same avatar and version of Pillow."""
    match avatar:
        case LetterAvatar():
            return _letters(avatar)
        case HouseAvatar():
            return _house(avatar)
        case EmblemAvatar(emblem):
            return _EMBLEMS[emblem]()


# --- letters ----------------------------------------------------------------------------------------------------------


def _letters(avatar: LetterAvatar) -> bytes:
    if not all(map(_is_in_font, avatar.letters)):
        return _robot(avatar.color, avatar.ink)
    image = Image.new("RGB", (SIZE, SIZE), avatar.color)
    middle = SIZE / 2
    font = _font()
    # Vertically, capitals are centred by their height, so that a comma below does not move the others.
    baseline = middle - font.getbbox("H", anchor="ls")[1] / 2
    ImageDraw.Draw(image).text((middle, baseline), avatar.letters, fill=avatar.ink, font=font, anchor="ms")
    return _png(image)


@cache
def _font() -> ImageFont.FreeTypeFont:
    with resources.files(__package__).joinpath("onest-capitals.ttf").open("rb") as file:
        # The basic layout: the other one depends on libraries of the system.
        return ImageFont.truetype(
            BytesIO(file.read()), round(SIZE * _LETTER_SHARE), layout_engine=ImageFont.Layout.BASIC
        )


@cache
def _is_in_font(character: str) -> bool:
    """Return whether the font has a glyph other than the one for missing characters."""
    return bytes(_font().getmask(character)) != bytes(_font().getmask(_NOT_A_CHARACTER))


def _robot(color: str, ink: str) -> bytes:
    canvas = Canvas(color, 32)
    canvas.box(15.25, 7, 1.5, 4, ink)
    canvas.ellipse(16, 7, 1.7, 1.7, ink)
    canvas.box(8.5, 10.5, 15, 12.5, ink, radius=3.5)
    for x in (13, 19):
        canvas.ellipse(x, 16, 1.8, 1.8, color)
    canvas.box(12.5, 19.4, 7, 1.3, color, radius=0.65)
    return canvas.png()


# --- rooms ------------------------------------------------------------------------------------------------------------

_ROOFS: Final[tuple[_Points, ...]] = (
    [(3, 19), (22, 5), (41, 19)],
    [(3, 19), (9, 8), (35, 8), (41, 19)],
    [],
    [(3, 19), (3, 11), (41, 11), (41, 19)],
)
"""The roofs of ``RoomIcon.tsx``; the empty one is the dome."""


def _house(avatar: HouseAvatar) -> bytes:
    """Draw the house of ``RoomIcon.tsx`` with lit windows, in the middle of a disc of its color."""
    color = avatar.color
    canvas = Canvas(mixed(color, _PAPER, 0.14), 64, -10, -10.5)
    canvas.box(6, 18, 32, 22, mixed(color, _PAPER, 0.42))
    if roof := _ROOFS[avatar.roof]:
        canvas.polygon(roof, color)
    else:
        canvas.polygon(_curve((5, 19), (5, 4), (39, 4), (39, 19)), color)
    canvas.ellipse(22, 31, 3.5, 3.5, color)
    canvas.box(18.5, 31, 7, 9, color)
    for x in (10, 28.5):
        canvas.box(x, 23, 5.5, 7, _LIT_WINDOW, radius=1.5)
    return canvas.png()


def _curve(*control: tuple[float, float], steps: int = 96) -> _Points:
    """Return points of a cubic Bézier curve."""
    points = []
    for step in range(steps + 1):
        t = step / steps
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        x = sum(weight * point[0] for weight, point in zip(weights, control, strict=True))
        y = sum(weight * point[1] for weight, point in zip(weights, control, strict=True))
        points.append((x, y))
    return points


# --- emblems ----------------------------------------------------------------------------------------------------------


def _city() -> bytes:
    """Draw the logo of the city, ``web/src/icon.svg``, smaller, so that a circle cuts nothing off."""
    canvas = Canvas(_BRICK, 40, -4, -4)
    canvas.ellipse(22.5, 9.5, 3.6, 3.6, _SUN)
    canvas.polygon([(5, 26), (5, 15.6), (11, 9.5), (17, 15.6), (17, 26)], _WALL)
    canvas.polygon([(17, 26), (17, 18.8), (22, 14.5), (27, 18.8), (27, 26)], _SHADED_WALL)
    canvas.ellipse(11, 20.8, 1.7, 1.7, _BRICK)
    canvas.box(9.3, 20.8, 3.4, 5.2, _BRICK)
    canvas.box(20.6, 20, 2.8, 3, _BRICK, radius=0.6)
    return canvas.png()


def _observer() -> bytes:
    """Draw an eye."""
    canvas = Canvas(_SLATE, 32)
    lids = [*_curve((6, 16), (11, 8), (21, 8), (26, 16)), *_curve((26, 16), (21, 24), (11, 24), (6, 16))]
    canvas.polygon(lids, _WALL)
    canvas.ellipse(16, 16, 4.2, 4.2, _SLATE)
    canvas.ellipse(17.4, 14.6, 1.2, 1.2, _WALL)
    return canvas.png()


_EMBLEMS: Final[Mapping[Emblem, Callable[[], bytes]]] = {
    Emblem.CITY: _city,
    Emblem.BOT: lambda: _robot(_BRICK, _WALL),
    Emblem.OBSERVER: _observer,
}


def _png(image: Image.Image) -> bytes:
    """Encode an image with a palette: its colors are few, and the file is a third as large."""
    out = BytesIO()
    image.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()
