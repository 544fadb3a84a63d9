"""Notices for the room about why an agent does not reply, in the language of the request."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..city.pending_replies import ReplyFailure

_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")


class _Texts(NamedTuple):
    uk: str
    en: str


def failure_notice(failure: ReplyFailure, language_sample: str, name: str) -> str:
    """Return the notice about a missing reply.

    Args:
        failure: why there is no reply.
        language_sample: a text of the author; the notice is in Ukrainian if it has Cyrillic letters, else in English.
        name: the agent's display name.
    """
    texts = _TEXTS[failure]
    return (texts.uk if _CYRILLIC.search(language_sample) else texts.en).format(name=name)


_TEXTS: Final = {
    ReplyFailure.OFFLINE: _Texts(
        uk="{name} зараз офлайн і не може відповісти. Спробуйте пізніше.",
        en="{name} is offline and cannot reply. Try again later.",
    ),
    ReplyFailure.SLOW: _Texts(
        uk="{name} не встигає відповісти: відповідь не надійшла вчасно. Спробуйте ще раз.",
        en="{name} did not reply in time. Try again.",
    ),
    ReplyFailure.FAILED: _Texts(
        uk="{name} не може відповісти: помилка ядра агентів. Спробуйте пізніше.",
        en="{name} cannot reply: the agents core failed. Try again later.",
    ),
    ReplyFailure.BUSY: _Texts(
        uk="{name} не може відповісти: забагато запитань одночасно. Спробуйте за кілька хвилин.",
        en="{name} cannot reply: there are too many requests. Try again in a few minutes.",
    ),
    ReplyFailure.NO_CORE: _Texts(
        uk="{name} не може відповісти: у цьому місті не налаштовано ядро агентів.",
        en="{name} cannot reply: no agents core is configured in this city.",
    ),
    ReplyFailure.PRIVATE: _Texts(
        uk="{name} відповідає лише наодинці: запросіть до чату на двох.",
        en="{name} replies only in a direct chat: invite it to a chat without other members.",
    ),
    ReplyFailure.TOO_LONG: _Texts(
        uk="{name} не може відповісти: запитання задовге. Спробуйте коротше.",
        en="{name} cannot reply: the message is too long. Send a shorter one.",
    ),
    ReplyFailure.TOO_MUCH: _Texts(
        uk="{name} не відповідає: ви питаєте забагато одразу. Спробуйте за хвилину.",
        en="{name} does not reply: you sent too many requests. Try again in a minute.",
    ),
    ReplyFailure.FORGOTTEN: _Texts(
        uk="{name} більше не пам’ятає нічого з ваших запитань. Повідомлення цього чату залишаються, доки ви їх не видалите.",
        en="{name} no longer remembers any of your requests. The messages in this chat stay until you delete them.",
    ),
}
