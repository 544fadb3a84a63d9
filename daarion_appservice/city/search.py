"""Search in messages: the words that a message is found by, and what of a found message is shown.

    message ─► indexed_words ─► index          «Чекаю біля фунікулера» → чека біл фунікулер
    query   ─► SearchTerm for each word        «фунікулер» → the stem фунікулер, or words that begin with фунікулер

A message is found if it has every word of the query, in any order and inflection. The end of a word may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..errors import InvalidInput
from .background_parsing import MAX_INLINE_CHARS, in_thread
from .excerpts import excerpt
from .search_words import Word, words
from .types import Message

MAX_TERMS: Final = 10
_MAX_INDEXED_CHARS: Final = 50_000
_MAX_INDEXED_WORDS: Final = 2_000
_BEFORE_CHARS: Final = 60
_EXCERPT_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """A word of a query."""

    stem: str
    prefix: str
    """The word as it was typed: words that begin with it are found, too."""

    def matches(self, word: Word) -> bool:
        return word.stem == self.stem or word.stem.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of the text of a found message."""

    text: str
    highlights: tuple[tuple[int, int], ...]
    """Start and end of each found word, in UTF-16 code units as JavaScript counts them."""


def search_terms(query: str) -> list[SearchTerm]:
    """Return the words of a query.

    Raises:
        InvalidInput: The query has no word.
    """
    terms = [SearchTerm(word.stem, word.text) for word in words(query)]
    if not terms:
        raise InvalidInput("query_empty", "q: must contain a word", status=422)
    return list(dict.fromkeys(terms))[:MAX_TERMS]


def indexed_words(message: Message) -> str:
    """Return the stems of a message's words, separated by spaces; empty for a deleted message."""
    if message.deleted:
        return ""
    text = _text(message)[:_MAX_INDEXED_CHARS]
    stems = dict.fromkeys(word.stem for word in words(text))
    return " ".join(list(stems)[:_MAX_INDEXED_WORDS])


async def read_excerpt(message: Message, terms: Sequence[SearchTerm]) -> Excerpt:
    """Return `found_excerpt`, of a long message from the parser thread."""
    if len(message.body) + len(message.formatted_body or "") <= MAX_INLINE_CHARS:
        return found_excerpt(message, terms)
    return await in_thread(partial(found_excerpt, message, terms))


def found_excerpt(message: Message, terms: Sequence[SearchTerm]) -> Excerpt:
    """Return the part of a message around the first found word."""
    text = " ".join(_text(message)[:_MAX_INDEXED_CHARS].split())
    found = [word for word in words(text) if any(term.matches(word) for term in terms)]
    start = _start(text, found[0].start) if found else 0
    end = min(len(text), start + _EXCERPT_CHARS)
    before, after = "…" if start else "", "…" if end < len(text) else ""
    shown = before + text[start:end] + after
    shift = len(before) - start
    ranges = [(word.start + shift, word.end + shift) for word in found if word.end <= end]
    return Excerpt(shown, tuple((_units(shown[:first]), _units(shown[:last])) for first, last in ranges))


def _start(text: str, found: int) -> int:
    """Return the start of an excerpt: a word somewhat before the found one."""
    if found <= _BEFORE_CHARS:
        return 0
    space = text.find(" ", found - _BEFORE_CHARS, found)
    return found if space < 0 else space + 1


def _text(message: Message) -> str:
    return excerpt(message.body, message.formatted_body, _MAX_INDEXED_CHARS)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
