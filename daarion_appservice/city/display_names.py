"""What people may call themselves."""

from __future__ import annotations

import unicodedata
from typing import Final

from ..errors import InvalidInput

MAX_CHARS: Final = 60

_JOINERS: Final = "\u200c\u200d"
"""They shape letters and emoji, and show nothing themselves."""


def person_name(name: str) -> str:
    """``name`` as it is shown: composed (NFC), without spaces around it and with single ones within.

    Raises InvalidInput for nothing, for more than 60 characters, and for what is no character to look at: such could turn
    the text around it, or make two names look the same.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name.strip(_JOINERS):
        raise InvalidInput("name_needed", "say what you are called", status=422)
    if len(name) > MAX_CHARS:
        raise InvalidInput("name_wrong", f"a name may have {MAX_CHARS} characters at most", status=422)
    if not all(_is_seen(character) for character in name):
        raise InvalidInput("name_wrong", "a name must be of characters that can be seen", status=422)
    return name


def _is_seen(character: str) -> bool:
    # C: controls, formats such as the turning of text, halves of characters, and what is none yet.
    return character in _JOINERS or not unicodedata.category(character).startswith("C")
