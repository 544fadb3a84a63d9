"""Words of a text for the search: in one form for all inflections, so that «району» finds «район».

Neither database has a Ukrainian dictionary without further installation. So inflectional endings of Ukrainian, Russian and
English are cut off by rules. A rule that cuts too much or too little costs precision, never an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_WORD_CHARS: Final = 64
"""Longer words are cut."""
_MIN_STEM_CHARS: Final = 3
_WORD: Final = re.compile(r"\w[\w\u0300-\u036f]*(?:['\u2019\u02bc]\w[\w\u0300-\u036f]*)*")
_APOSTROPHES: Final = dict.fromkeys(map(ord, "'\u2019\u02bc\u0301"))
_REFLEXIVE: Final = ("ся", "сь")
# fmt: off
_ENDINGS: Final = frozenset((
    "увала", "ості", "ував", "уємо", "ість", "істю", "ing", "ами", "ать", "еві", "его", "емо", "ему", "ешь",
    "ими", "имо", "ите", "ить", "ишь", "ові", "ого", "ому", "уть", "ыми", "ють", "ями", "ять", "єві", "єте",
    "іми", "їть", "ed", "es", "ly", "ав", "ам", "ах", "ая", "ев", "ее", "ей", "ем", "еш", "ею", "ив", "ие",
    "ий", "им", "их", "иш", "ла", "ли", "ло", "ов", "ое", "ой", "ом", "ою", "ої", "ти", "ть", "ую", "ує", "ые",
    "ый", "ых", "юю", "ям", "ях", "яя", "єв", "єм", "єш", "єю", "ів", "ій", "ім", "їв", "s", "а", "е", "и", "й",
    "о", "у", "ы", "ь", "э", "ю", "я", "ё", "є", "і", "ї",
))
# fmt: on
"""Inflectional endings."""
_ENDING_CHARS: Final = sorted({len(ending) for ending in _ENDINGS}, reverse=True)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text, with its place in it."""

    text: str
    """The word in lower case, without apostrophes and stress marks."""
    stem: str
    start: int
    end: int


def words(text: str) -> Iterator[Word]:
    """Yield the words of a text in their order."""
    for found in _WORD.finditer(text):
        word = _normal(found[0])
        if word:
            yield Word(word, stem(word), *found.span())


def stem(word: str) -> str:
    """Return a word in lower case without its inflectional ending."""
    for ending in _REFLEXIVE:
        if word.endswith(ending) and len(word) - len(ending) > _MIN_STEM_CHARS:
            word = word.removesuffix(ending)
    for length in _ENDING_CHARS:
        if len(word) - length >= _MIN_STEM_CHARS and word[-length:] in _ENDINGS:
            return word[:-length]
    return word


def _normal(word: str) -> str:
    composed = unicodedata.normalize("NFKC", word).casefold().translate(_APOSTROPHES).replace("ґ", "г")
    if composed.isalnum():
        return composed[:MAX_WORD_CHARS]
    return "".join(each for each in composed if each == "_" or each.isalnum())[:MAX_WORD_CHARS]
