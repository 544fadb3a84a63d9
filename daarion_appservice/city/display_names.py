"""Display names of citizens."""

from __future__ import annotations

import unicodedata
from typing import Final

from ..errors import InvalidInput
from .text_sanitizing import has_blank_letter, is_blank

MAX_CHARS: Final = 60

_JOINERS: Final = "\u200c\u200d"
"""Invisible characters that shape letters and emoji."""


def citizen_name(name: str) -> str:
    """Return a display name in NFC, without surrounding spaces and with single spaces within.

    Raises:
        InvalidInput: The name is empty, longer than 60 characters, or has characters without a visible form, which
            could change the direction of the text around it or make two names look the same.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if is_blank(name):
        raise InvalidInput("name_required", "the name is empty; send a name", status=422)
    if len(name) > MAX_CHARS:
        raise InvalidInput("name_invalid", f"a name may have {MAX_CHARS} characters at most", status=422)
    if has_blank_letter(name) or not all(_is_seen(character) for character in name):
        raise InvalidInput("name_invalid", "a name may not contain invisible characters", status=422)
    return name


def _is_seen(character: str) -> bool:
    # Category C: controls, formats such as directional marks, surrogates, and unassigned characters.
    return character in _JOINERS or not unicodedata.category(character).startswith("C")
