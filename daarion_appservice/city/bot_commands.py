"""The commands that Matrix users give the bot, in English and Ukrainian."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class BotCommand(StrEnum):
    """A command of the bot."""

    HELP = "help"
    ROOMS = "rooms"
    AGENTS = "agents"
    WHO = "who"
    STATUS = "status"
    DOCTOR = "doctor"
    RETRY = "retry"
    ENCRYPTED = "encrypted"
    """No command: the chat is encrypted, so that the bot cannot read it."""


class Language(StrEnum):
    """A language of the bot's answers."""

    EN = "en"
    UK = "uk"


_WORDS: Final = {
    "help": BotCommand.HELP,
    "rooms": BotCommand.ROOMS,
    "agents": BotCommand.AGENTS,
    "who": BotCommand.WHO,
    "допомога": BotCommand.HELP,
    "кімнати": BotCommand.ROOMS,
    "агенти": BotCommand.AGENTS,
    "хто": BotCommand.WHO,
}
ADMIN_COMMANDS: Final = frozenset({BotCommand.STATUS, BotCommand.DOCTOR, BotCommand.RETRY})
"""The commands that only admins may give."""
_ADMIN_WORDS: Final = {
    "status": BotCommand.STATUS,
    "doctor": BotCommand.DOCTOR,
    "retry": BotCommand.RETRY,
    "стан": BotCommand.STATUS,
    "діагностика": BotCommand.DOCTOR,
    "повторити": BotCommand.RETRY,
}
_FIRST_WORD: Final = re.compile(r"\s*(?:@\S+\s+)?\W*(\w+)")
_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")
_MAX_CHARS: Final = 500
"""The start of a message that is searched for a command, in characters."""


def parse_command(body: str) -> tuple[BotCommand, Language]:
    """Return the first command word of a message, ``HELP`` without one, and the language to answer in.

    A command for admins must be the first word, so that a sentence about it has no effect.
    """
    start = body[:_MAX_CHARS]
    language = Language.UK if _CYRILLIC.search(start) else Language.EN
    first = _FIRST_WORD.match(start.lower())
    if first and first[1] in _ADMIN_WORDS:
        return _ADMIN_WORDS[first[1]], language
    # In rooms with other members a message starts with the bot's name, which is not a command.
    words = re.findall(r"\w+", start.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), BotCommand.HELP), language
