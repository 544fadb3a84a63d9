"""Notices for the room about why an agent does not reply, in the language of the request."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..city.pending_replies import ReplyFailure

_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")


class _Words(NamedTuple):
    uk: str
    en: str


def failure_notice(why: ReplyFailure, question: str, name: str) -> str:
    """Return the notice; ``name`` is the agent's display name."""
    words = _WORDS[why]
    return (words.uk if _CYRILLIC.search(question) else words.en).format(name=name)


_WORDS: Final = {
    ReplyFailure.OFFLINE: _Words(
        uk="{name} зараз офлайн і не може відповісти. Спробуйте пізніше.",
        en="{name} is offline and cannot answer now. Try again later.",
    ),
    ReplyFailure.SLOW: _Words(
        uk="{name} не встигає відповісти: відповідь не надійшла вчасно. Спробуйте ще раз.",
        en="{name} could not answer in time. Try again.",
    ),
    ReplyFailure.FAILED: _Words(
        uk="{name} не може відповісти: щось зламалося там, де готуються відповіді. Спробуйте пізніше.",
        en="{name} cannot answer: something is broken where answers are made. Try again later.",
    ),
    ReplyFailure.BUSY: _Words(
        uk="{name} не може відповісти: забагато запитань одночасно. Спробуйте за кілька хвилин.",
        en="{name} cannot answer: too much is asked at once. Try again in a few minutes.",
    ),
    ReplyFailure.PRIVATE: _Words(
        uk="{name} відповідає лише наодинці: запросіть до чату на двох.",
        en="{name} answers only where nobody else listens: invite it to a chat of your own.",
    ),
    ReplyFailure.TOO_LONG: _Words(
        uk="{name} не може відповісти: запитання задовге. Спробуйте коротше.",
        en="{name} cannot answer: the question is too long. Try a shorter one.",
    ),
    ReplyFailure.TOO_MUCH: _Words(
        uk="{name} не відповідає: ви питаєте забагато одразу. Спробуйте за хвилину.",
        en="{name} does not answer: you ask too much at once. Try again in a minute.",
    ),
    ReplyFailure.FORGOTTEN: _Words(
        uk="{name} більше не пам’ятає нічого з ваших запитань. Повідомлення цього чату залишаються, доки ви їх не видалите.",
        en="{name} no longer remembers anything that you asked. The messages in this chat stay until you delete them.",
    ),
}
