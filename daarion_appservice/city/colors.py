"""The color of a name, the same as on the city's pages (``colorOf`` and ``isLight`` in ``Avatar.tsx``).

``web/src/testing/avatars.json`` has values that the tests of both sides compare.
"""

from __future__ import annotations

import math
from typing import Final

_LIGHTNESS: Final = 0.48
"""Dark enough for white letters."""
_CHROMA: Final = 0.1
_EQUAL_CONTRAST: Final = 0.179
"""The relative luminance on which white and black have the same contrast: 1.05 / (x + 0.05) = (x + 0.05) / 0.05."""
_32_BITS: Final = 0xFFFFFFFF


def hash_of(name: str) -> int:
    """Return a hash of 32 bits, which differs much for names that differ in one character."""
    value = 0
    for character in name:
        value = (value * 31 + ord(character)) & _32_BITS
    return ((value ^ (value >> 15)) * 0x2C1B3C6D) & _32_BITS


def color_of(name: str) -> str:
    """Return the color of a name as ``#rrggbb``: one of 360 hues, all equally light (CSS ``oklch(48% 0.1 hue)``)."""
    return _rgb(_LIGHTNESS, _CHROMA, hash_of(name) % 360)


def is_light(color: str) -> bool:
    """Return whether dark letters have more contrast than white ones on ``#rrggbb`` (WCAG 2, relative luminance)."""
    red, green, blue = (_linear(int(color[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > _EQUAL_CONTRAST


def mixed(color: str, ground: str, opacity: float) -> str:
    """Return the color of a ``color`` with an opacity of 0 to 1 on an opaque ``ground``; all are ``#rrggbb``."""
    return "#" + "".join(
        f"{round(int(color[at : at + 2], 16) * opacity + int(ground[at : at + 2], 16) * (1 - opacity)):02x}"
        for at in (1, 3, 5)
    )


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _rgb(lightness: float, chroma: float, hue: float) -> str:
    """Convert OKLCH to sRGB as CSS Color 4 does; each channel is clipped as browsers clip it."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(_gamma(min(max(part, 0.0), 1.0)) * 255):02x}" for part in linear)


def _gamma(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else float(1.055 * part ** (1 / 2.4) - 0.055)
