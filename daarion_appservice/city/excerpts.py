"""Excerpts of messages: a text of limited length without any markup."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

import nh3

_ENDS_A_BLOCK: Final = re.compile(
    r"<(?:br|hr|/(?:blockquote|caption|div|h[1-6]|li|p|pre|summary|td|th|tr))\b[^>]*>", re.IGNORECASE
)
_SPOILER: Final = re.compile(r"<span data-mx-spoiler.*?</span>", re.IGNORECASE | re.DOTALL)
_NO_TAGS: Final[set[str]] = set()


def excerpt(body: str, formatted_body: str | None, max_chars: int) -> str:
    """Return the text of a message without Markdown or HTML, at most ``max_chars`` characters long.

    ``formatted_body`` is sanitised HTML and says what is markup; without it every character of ``body`` is text. What a spoiler
    hides is left out. A text that is cut ends with "…".
    """
    text = body if formatted_body is None else _text_of(formatted_body) or body
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _text_of(html: str) -> str:
    spaced = _ENDS_A_BLOCK.sub(lambda match: f"{match[0]} ", _SPOILER.sub("…", html))
    return " ".join(unescape(nh3.clean(spaced, tags=_NO_TAGS)).split())
