"""Markdown of citizens and agents: its parser, the prose of a text, and the mentions in it.

The texts come from untrusted users, so each function takes time linear in the length of the text, and stops after
`MAX_EVENTS` events of the parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import pyromark

from .links import identifiers, without_links, without_markup

MAX_EVENTS: Final = 20_000
"""Parser events (starts, ends, pieces of text) of Markdown at most: 8 kB of heavily formatted text have 2,000."""
MAX_MENTIONS: Final = 50
_SYMBOL: Final = "[\u200d\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
"""Emoji and other symbols: the specification requires servers to accept historical user ids, like ``@🛒:example.org``."""
MENTION: Final = re.compile(
    r"(?<![\w@/+=])@"
    rf"((?:[\w.=/+-]|{_SYMBOL}){{1,255}}+:[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+(?::[0-9]{{1,5}}+)?+|[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}+)"
    r"(?![\w@])"
)
"""A name after an ``@``, as group 1."""

MARKDOWN: Final = pyromark.Markdown(
    options=pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH,
)


def mention_names(body: str) -> list[str]:
    """Return the names that follow an ``@`` in ``body``: ``daarwizz``, ``alice:example.org``.

    The names are without ``@``, in their order, each once, and MAX_MENTIONS at most; all but Matrix user ids are in lower
    case. Names in code, quotations, links and URLs do not count. ``room`` is a name too.
    """
    if "@" not in body:
        return []
    names: dict[str, None] = {}
    for text in prose(body):
        for part in without_links(text):
            names.update(dict.fromkeys(mention_name(mention) for mention in MENTION.finditer(part)))
        if len(names) >= MAX_MENTIONS:
            break
    return list(names)[:MAX_MENTIONS]


def without_spaced_ids(text: str, domain: str) -> str:
    """Return the text without the ``@`` of historical user ids that contain spaces, such as ``@John Smith:example.org``.

    The first word of such an id is no name. The text has the same length. After the first space, ``#``, ``!`` and ``$`` are in no
    such id: they begin the id of a room or event, as in ``@scribe see #general:example.org``.

    Args:
        domain: the server name of the ids: that of the city's homeserver.
    """
    if domain.lower() not in text.lower():
        return text
    spaced_id = rf"(?<![\w@/+=])@(?=[^@:\s]{{1,255}}[^\S\n][^@:#!$\n]{{0,255}}:{re.escape(domain)}(?![\w-]))"
    return re.sub(spaced_id, " ", text, flags=re.IGNORECASE)


def mention_name(mention: re.Match[str]) -> str:
    """Return the name of a `MENTION`, in lower case unless it is a Matrix user id, in which case matters."""
    return mention[1] if ":" in mention[1] else mention[1].lower()


def prose(body: str) -> Iterator[str]:
    """Yield the text of ``body`` outside code, links and quotations, in pieces."""
    excluded_depth = 0
    event: Any  # As in `markdown_rendering`.
    for event in islice(MARKDOWN.events(protect_identifiers(body)), MAX_EVENTS):
        match event:
            case {"Start": {"CodeBlock": _} | {"Link": _} | {"BlockQuote": _}}:
                excluded_depth += 1
            case {"End": "CodeBlock" | "Link"} | {"End": {"BlockQuote": _}}:
                excluded_depth -= 1
            case {"Text": text} | {"Html": text} | {"InlineHtml": text} if not excluded_depth:
                yield text


def protect_identifiers(body: str) -> str:
    """Escape Markdown so that nothing inside a URL or identifier is markup."""
    if next(identifiers(body), None) is None:
        return body
    protected_ranges: list[tuple[int, int]] = []
    event: Any  # As in `markdown_rendering`.
    for event, byte_range in islice(MARKDOWN.events_with_range(body), MAX_EVENTS):
        match event:
            case (
                {"Code": _} | {"Html": _} | {"InlineHtml": _} | {"Start": {"CodeBlock": _} | {"Link": _} | {"Image": _}}
            ):
                protected_ranges.append((byte_range["start"], byte_range["end"]))
    return without_markup(body, _character_ranges(body, protected_ranges))


def _character_ranges(body: str, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Convert ranges of bytes of ``body`` in UTF-8 to ranges of its characters."""
    if not ranges or body.isascii():
        return ranges
    raw, offsets, done, count = body.encode(), {}, 0, 0
    for offset in sorted({each for both in ranges for each in both}):
        count += len(raw[done:offset].decode())
        offsets[offset], done = count, offset
    return [(offsets[start], offsets[end]) for start, end in ranges]
