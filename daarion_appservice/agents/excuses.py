"""Why an agent does not answer, in words for the room; in the language of the question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")


@dataclass(frozen=True, slots=True)
class Excuse:
    uk: str
    en: str

    def to(self, question: str, name: str) -> str:
        return (self.uk if _CYRILLIC.search(question) else self.en).format(name=name)


OFFLINE: Final = Excuse(
    uk="{name} зараз офлайн і не може відповісти. Спробуйте пізніше.",
    en="{name} is offline and cannot answer now. Try again later.",
)
SLOW: Final = Excuse(
    uk="{name} не встигає відповісти: відповідь не надійшла вчасно. Спробуйте ще раз.",
    en="{name} could not answer in time. Try again.",
)
FAILED: Final = Excuse(
    uk="{name} не може відповісти: щось зламалося там, де готуються відповіді. Спробуйте пізніше.",
    en="{name} cannot answer: something is broken where answers are made. Try again later.",
)
BUSY: Final = Excuse(
    uk="{name} не може відповісти: забагато запитань одночасно. Спробуйте за кілька хвилин.",
    en="{name} cannot answer: too much is asked at once. Try again in a few minutes.",
)
PRIVATE: Final = Excuse(
    uk="{name} відповідає лише наодинці: запросіть до чату на двох.",
    en="{name} answers only where nobody else listens: invite it to a chat of your own.",
)
TOO_LONG: Final = Excuse(
    uk="{name} не може відповісти: запитання задовге. Спробуйте коротше.",
    en="{name} cannot answer: the question is too long. Try a shorter one.",
)
