"""Normal form of reaction keys, independent of variation selectors, composition (NFC) and surrounding spaces.

Clients send ``👍`` with and without U+FE0F for the same emoji, and so with ``❤``. The stored and counted form is the
fully qualified one (Unicode Technical Standard #51): U+FE0F follows characters that otherwise are displayed as text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Unicode 16.0, emoji-test.txt: characters that are fully qualified only with U+FE0F; digits, # and * only as keycaps.
_SHOWN_AS_TEXT: Final = (
    "a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 2328 23cf 23ed-23ef 23f1-23f2 23f8-23fa 24c2 25aa-25ab 25b6 25c0 "
    "25fb-25fc 2600-2604 260e 2611 2618 261d 2620 2622-2623 2626 262a 262e-262f 2638-263a 2640 2642 265f-2660 2663 "
    "2665-2666 2668 267b 267e 2692 2694-2697 2699 269b-269c 26a0 26a7 26b0-26b1 26c8 26cf 26d1 26d3 26e9 26f0-26f1 26f4 "
    "26f7-26f9 2702 2708-2709 270c-270d 270f 2712 2714 2716 271d 2721 2733-2734 2744 2747 2763-2764 27a1 2934-2935 "
    "2b05-2b07 3030 303d 3297 3299 1f170-1f171 1f17e-1f17f 1f202 1f237 1f321 1f324-1f32c 1f336 1f37d 1f396-1f397 "
    "1f399-1f39b 1f39e-1f39f 1f3cb-1f3ce 1f3d4-1f3df 1f3f3 1f3f5 1f3f7 1f43f 1f441 1f4fd 1f549-1f54a 1f56f-1f570 "
    "1f573-1f579 1f587 1f58a-1f58d 1f590 1f5a5 1f5a8 1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 1f5d1-1f5d3 1f5dc-1f5de 1f5e1 1f5e3 "
    "1f5e8 1f5ef 1f5f3 1f5fa 1f6cb 1f6cd-1f6cf 1f6e0-1f6e5 1f6e9 1f6f0 1f6f3 "
)
_SELECTORS: Final = re.compile("[\ufe0e\ufe0f]")


def _class(ranges: str) -> str:
    """Convert ranges of hexadecimal code points to the content of a character class of a regular expression."""
    return "".join("-".join(rf"\U{int(end, 16):08x}" for end in each.split("-")) for each in ranges.split())


_NEEDS_SELECTOR: Final = re.compile(rf"[{_class(_SHOWN_AS_TEXT)}](?![\U0001f3fb-\U0001f3ff])|[0-9#*](?=\u20e3)")
"""A skin tone makes an emoji of the character before it, which then needs no selector."""


def normal_form(key: str) -> str:
    """Return ``key`` in NFC, without surrounding spaces, with U+FE0F where an emoji needs it and no other selectors."""
    plain = unicodedata.normalize("NFC", _SELECTORS.sub("", key)).strip()
    return _NEEDS_SELECTOR.sub("\\g<0>\ufe0f", plain)
