"""Text from outside (Matrix events, JWTs, file names, HTTP headers), made fit to be stored, sent and shown.

storable    no U+0000, which PostgreSQL cannot hold, and no half of a surrogate pair, which UTF-8 cannot
one_line    the same, and nothing that turns the direction of the text around it or breaks its line; of bounded length
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_CHARS: Final = 255
"""Of names and status texts: as many as Synapse takes of its own users."""
MAX_TOPIC_CHARS: Final = 2000
"""Of a room's description: as many as the city's own API takes."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
TURNING: Final = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""What turns the direction of text, for a character class of a regular expression: embeddings, overrides, isolates (U+202A–E,
U+2066–9) and marks (U+061C, U+200E, U+200F) of Unicode's bidirectional algorithm."""
_TURNING: Final = re.compile(f"[{TURNING}]")
_BREAKING: Final = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]+")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """``text`` with U+FFFD for what neither a database nor UTF-8 can hold."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def without_turning(text: str) -> str:
    """``text`` without characters that change the direction of the text around it: by U+202E after its first letter the file
    ``Ngpj.exe`` is shown as ``Nexe.jpg``."""
    return _TURNING.sub("", text)


def one_line(text: str, most_chars: int = MAX_NAME_CHARS) -> str:
    """A name or another short text, at most ``most_chars`` characters long; may be empty."""
    # Cut first: what follows costs time by the length.
    text = _BREAKING.sub(" ", text[: 4 * most_chars].replace("\0", _REPLACEMENT))
    return storable(without_turning(text)).strip()[:most_chars].rstrip()
