"""URLs and identifiers in a text: their positions, so that nothing inside them is markup, and bare URLs become links.

A URL may contain Markdown's markup characters (``https://example.org/_a_/b``); Markdown protects only those in ``<…>``
and ``[…](…)``. Each function takes time linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from .text_sanitizing import BIDI_CONTROLS

_LINKS: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])(?i:(?:https?|ftp)://(?=[\w\[])|mailto:(?=[^\s<>@]{1,255}@)|matrix:(?=[a-z]+/)|magnet:(?=\?))"
    # A character that changes the direction of text would display another URL than the link opens.
    rf"[^\s<>{BIDI_CONTROLS}]++"
)
_BEFORE: Final = r"""\s("'«„“”‘’\[{=:,;|>"""
"""Characters before a path or file name, for a character class of a regular expression."""
# After one of them, or after the mark of emphasis that follows it.
_START: Final = "|".join([f"(?<![^{_BEFORE}])", *(f"(?<={mark})(?<![^{_BEFORE}]{mark})" for mark in ("_", "__"))])
_IDENTIFIERS: Final = re.compile(
    rf"""(?<![A-Za-z0-9+.-])(?:[A-Za-z][A-Za-z0-9+.-]{{0,31}}://|(?i:mailto|matrix|magnet):)[^\s<>\\]++
    | (?<![^\W_])www\.[^\s<>\\]++
    | (?<![^\W_])(?<![/@\#!$+])[@\#!$+][^\s<>\\:*`]{{1,255}}+:[A-Za-z0-9.-]++(?::[0-9]{{1,5}}+)?+
    | (?<![\w.+~-])[\w.+~-]{{1,64}}+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++(?::(?=[\w/~.-])[^\s<>\\`]++)?+
    | (?:{_START})(?:[A-Za-z]:\\(?=\w)|\\\\(?=\w))[^\s<>"|?*`]*+
    | (?:{_START})
      (?:\$\w++|\$\{{\w++\}}|%\w++%|(?=__[A-Za-z0-9]{{1,64}}+(?:_[A-Za-z0-9]{{1,64}}+){{0,8}}+__/)|(?![*]|__?[^_]|~~))
      @?+(?:[\w.~*+-]*+(?::[0-9]{{1,5}}+)?+:?+/)++[\w.~*+-]*+
    | (?:{_START})(?P<file>\w[\w.-]*+)(?!:?/)
    """,
    re.VERBOSE,
)
_EXTENSION: Final = re.compile("[a-z][a-z0-9]{0,7}")
_MARKS: Final = frozenset("*_~")
_PUNCTUATION: Final = frozenset("?!.,:;'\"»”’…")
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_ESCAPED: Final = re.compile(r"[\\*_~`\[\]|!&#]")
_ATTRIBUTE: Final = re.compile(r"\w\.__\w+__")
"""A name like ``self.__class__``."""


def links(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of URLs in ``text`` whose scheme a page may link to.

    Punctuation after a URL, and a closing bracket without an opening one inside it, are not part of it.
    """
    for found in _LINKS.finditer(text):
        end = _end(text, *found.span())
        if end > found.start():
            yield found.start(), end


def without_links(text: str) -> Iterator[str]:
    """Yield the parts of ``text`` outside URLs."""
    done = 0
    for start, end in links(text):
        yield text[done:start]
        done = end
    yield text[done:]


def identifiers(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of URLs, Matrix identifiers, e-mail addresses, paths and names of files in ``text``."""
    for found in _IDENTIFIERS.finditer(text):
        start, end = found.start(), _end(text, *found.span())
        # `_me@example.org_` is emphasised: the mark at its start is not part of it.
        while start < end and text[start] in _MARKS and text[end : end + 1] == text[start]:
            start += 1
        if start < end and (found["file"] is None or _is_file(text[start:end])):
            yield start, end


def without_markup(body: str, closed: Iterable[tuple[int, int]]) -> str:
    """Return Markdown with the meaning of ``body`` in which nothing inside an identifier is markup.

    Args:
        body: Markdown.
        closed: Ranges of code, links and HTML, in which a backslash would be visible.
    """
    closed = sorted(closed)
    parts: list[str] = []
    done = place = 0
    for start, end in identifiers(body):
        while place < len(closed) and closed[place][1] <= start:
            place += 1
        if place < len(closed) and closed[place][0] < end:
            continue
        parts += (body[done:start], _ESCAPED.sub(r"\\\g<0>", body[start:end]))
        done = end
    return "".join((*parts, body[done:]))


def _is_file(name: str) -> bool:
    stem, dot, extension = name.rpartition(".")
    is_file = bool(dot) and "_" in stem and _EXTENSION.fullmatch(extension) is not None
    return is_file or _ATTRIBUTE.search(name) is not None


def _end(text: str, start: int, end: int) -> int:
    """Return the end of the match ``start`` to ``end`` without the surrounding text's punctuation and marks."""
    count = Counter(text[start:end])
    before = text[start - 1] if start else ""
    while end > start:
        last = text[end - 1]
        if last in _MARKS:
            # `~user~` inside a URL is part of it; `**https://example.org**` is bold.
            is_part = last != before and count[last] > 1
        elif last in _BRACKETS:
            is_part = count[last] <= count[_BRACKETS[last]]
        else:
            is_part = last not in _PUNCTUATION
        if is_part:
            break
        count[last] -= 1
        end -= 1
    return end
