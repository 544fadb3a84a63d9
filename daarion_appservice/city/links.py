"""Addresses and identifiers in a text: where each begins and ends, so that nothing in it is markup, and bare addresses are links.

An address may hold what is markup elsewhere (``https://example.org/_a_/b``); Markdown knows only those in ``<…>`` and ``[…](…)``.
Each function is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from .text_sanitizing import TURNING

_LINKS: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])(?i:(?:https?|ftp)://(?=[\w\[])|mailto:(?=[^\s<>@]{1,255}@)|matrix:(?=[a-z]+/)|magnet:(?=\?))"
    # A character that turns the direction of text would show another address than the one that is opened.
    rf"[^\s<>{TURNING}]++"
)
_IDENTIFIERS: Final = re.compile(
    r"""(?<![A-Za-z0-9+.-])(?:[A-Za-z][A-Za-z0-9+.-]{0,31}://|(?i:mailto|matrix|magnet):)[^\s<>\\]++
    | (?<!\w)www\.[^\s<>\\]++
    | (?<![\w/])[@\#!$+][^\s<>\\:*`]{1,255}+:[A-Za-z0-9.-]++(?::[0-9]{1,5}+)?+
    | (?<![\w.+~-])[\w.+~-]{1,64}+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++(?::(?=[\w/~.-])[^\s<>\\`]++)?+
    | (?<![^\s("'«\[])(?:\$\w++|\$\{\w++\}|%\w++%|(?=__[A-Za-z0-9]{1,64}+(?:_[A-Za-z0-9]{1,64}+){0,8}+__/)|(?![*]|__?[^_]|~~))
      (?:[\w.~*+-]*+(?::[0-9]{1,5}+)?+:?+/)++[\w.~*+-]*+
    | (?<![^\s("'«\[])(?P<file>\w[\w.-]*+)
    """,
    re.VERBOSE,
)
_EXTENSION: Final = re.compile("[a-z][a-z0-9]{0,7}")
_MARKS: Final = frozenset("*_~")
_PUNCTUATION: Final = frozenset("?!.,:;'\"»”’…")
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_ESCAPED: Final = re.compile(r"[*_~`\[\]|!&#]")


def links(text: str) -> Iterator[tuple[int, int]]:
    """Where the addresses in ``text`` begin and end that are links: those with a scheme that a page may link to.

    Punctuation behind an address, and a closing bracket that opens nowhere in it, are no part of it.
    """
    for found in _LINKS.finditer(text):
        end = _end(text, *found.span())
        if end > found.start():
            yield found.start(), end


def identifiers(text: str) -> Iterator[tuple[int, int]]:
    """Where addresses, Matrix identifiers, e-mail addresses, paths and names of files begin and end in ``text``."""
    for found in _IDENTIFIERS.finditer(text):
        start, end = found.start(), _end(text, *found.span())
        # `_me@example.org_` is emphasised; the mark at its beginning is no part of it.
        while start < end and text[start] in _MARKS and text[end : end + 1] == text[start]:
            start += 1
        if start < end and (found["file"] is None or _is_file(text[start:end])):
            yield start, end


def without_markup(body: str, closed: Iterable[tuple[int, int]]) -> str:
    """Markdown that means the same as ``body``, but that nothing in an identifier is markup.

    ``closed`` is where code, links and HTML are, in which a backslash would be seen.
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
    return bool(dot) and "_" in stem and _EXTENSION.fullmatch(extension) is not None


def _end(text: str, start: int, end: int) -> int:
    """Where what was found from ``start`` to ``end`` ends without punctuation, brackets and marks that belong to the text."""
    count = Counter(text[start:end])
    before = text[start - 1] if start else ""
    while end > start:
        last = text[end - 1]
        if last in _MARKS:
            # `~user~` in an address is part of it; `**https://example.org**` is bold.
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
