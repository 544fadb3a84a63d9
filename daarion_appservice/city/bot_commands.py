"""The commands that Matrix users give the bot, in English and Ukrainian."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class BotCommand(StrEnum):
    """A command of the bot. A command for admins is one more member here, with its answer in `matrix.reconcile.bot_answers`."""

    HELP = "help"
    ROOMS = "rooms"
    AGENTS = "agents"
    WHO = "who"
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
_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")
_MAX_CHARS: Final = 500
"""The start of a message that is searched for a command, in characters."""


def parse_command(body: str) -> tuple[BotCommand, Language]:
    """Return the first command word of a message, ``HELP`` without one, and the language to answer in."""
    start = body[:_MAX_CHARS]
    language = Language.UK if _CYRILLIC.search(start) else Language.EN
    # In company a message starts with the bot's name, which is no command.
    words = re.findall(r"\w+", start.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), BotCommand.HELP), language
