"""Sanitizing of text from outside (Matrix events, JWTs, file names, HTTP headers) for storage and display.

storable    without U+0000, which PostgreSQL cannot hold, and without surrogates, which UTF-8 cannot encode
one_line    storable, of bounded length, and without line breaks and characters that change the direction of text; empty
            if nothing of it is visible
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_CHARS: Final = 255
"""The longest name or status text: Synapse's limit for its own users."""
MAX_TOPIC_CHARS: Final = 2000
"""The longest room description: the limit of the city's API."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
BIDI_CONTROLS: Final = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of text, for a character class of a regular expression: embeddings, overrides,
isolates (U+202A–E, U+2066–9) and marks (U+061C, U+200E, U+200F) of Unicode's bidirectional algorithm.
"""
_TURNING: Final = re.compile(f"[{BIDI_CONTROLS}]")
_INVISIBLE: Final = re.compile(
    "[\\s\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]*"
)
"""Characters without ink: white space, Unicode's Default_Ignorable_Code_Point and the empty Braille pattern. A name of
these alone would be an empty place on the page.
"""
_BLANK: Final = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]")
"""Characters without ink that ``str.isprintable`` accepts and no script or emoji needs: fillers of Hangul and Khmer, the
combining grapheme joiner and the empty Braille pattern.
"""
_BREAKING: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]+")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """Replace characters that the database or UTF-8 cannot hold by U+FFFD."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def strip_bidi_controls(text: str) -> str:
    """Remove characters that change the direction of the text around them.

    With U+202E after its first letter, the file ``Ngpj.exe`` is displayed as ``Nexe.jpg``.
    """
    return _TURNING.sub("", text)


def is_blank(text: str) -> bool:
    """Return whether no character of ``text`` is visible."""
    return _INVISIBLE.fullmatch(text) is not None


def has_blank_letter(text: str) -> bool:
    """Return whether ``text`` has a letter, mark or symbol without ink, by which it looks like another text."""
    return _BLANK.search(text) is not None


def one_line(text: str, most_chars: int = MAX_NAME_CHARS) -> str:
    """Return a name or another short text as one line of at most ``most_chars`` characters.

    It is empty if ``text`` has no visible character.
    """
    # The text is cut first, because the steps below take time linear in its length.
    text = _BREAKING.sub(" ", text[: 4 * most_chars].replace("\0", _REPLACEMENT))
    text = storable(strip_bidi_controls(text)).strip()[:most_chars].rstrip()
    return "" if is_blank(text) else text
