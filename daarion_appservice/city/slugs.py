"""Slugs of names: ``Наука`` → ``nauka``, ``Громада Києва`` → ``hromada-kyieva``."""

from __future__ import annotations

import re
from typing import Final

from slugify import slugify

from ..errors import InvalidInput

MAX_LENGTH: Final = 64

SLUG_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Slugs of agents and rooms: what a Matrix localpart or alias permits, without characters that are unusual in a URL."""

RESERVED: Final = frozenset(
    {
        "citizens",
        "direct",
        "feed",
        "home",
        "markdown",
        "me",
        "media",
        "people",
        "preview",
        "push",
        "rooms",
        "search",
        "sign-in",
        "site",
    }
)
"""Path segments after ``/city/`` that are not rooms: a room with such a slug could have no page."""
_BESIDE_RESERVED: Final = "-room"

# Ukraine's official romanisation (Cabinet of Ministers, resolution 55 of 2010) where slugify differs from it for
# Cyrillic. Some letters have another form at the start of a word.
_ANYWHERE: Final = {
    "г": "h", "ґ": "g", "и": "y", "х": "kh", "ц": "ts", "щ": "shch", "ь": "", "'": "", "’": "", "ʼ": "", "зг": "zgh",
    "є": "ie", "ї": "i", "й": "i", "ю": "iu", "я": "ia",
}  # fmt: skip
_AT_THE_START: Final = {"є": "ye", "ї": "yi", "й": "y", "ю": "yu", "я": "ya"}
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’ʼ][^\W\d_]+)*")
"""Letters, with apostrophes between them."""


def slug_of(name: str) -> str:
    """Return the slug for a room's name. Raises InvalidInput if no character of the name can be part of one."""
    romanised = _WORD.sub(lambda word: _romanise(word[0]), name.lower())
    slug: str = slugify(romanised, max_length=MAX_LENGTH)
    if not slug:
        raise InvalidInput(
            "slug_required", f"no slug can be derived from the name {name!r}; send one as `slug`", status=422
        )
    return slug + _BESIDE_RESERVED if slug in RESERVED else slug


def _romanise(word: str) -> str:
    word = word.replace("зг", _ANYWHERE["зг"])
    start = _AT_THE_START.get(word[:1])
    head, rest = (start, word[1:]) if start else ("", word)
    return head + "".join(_ANYWHERE.get(letter, letter) for letter in rest)
