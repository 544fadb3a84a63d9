"""The commands of the bot: words in two languages, and the language of the answer."""

from __future__ import annotations

import pytest

from daarion_appservice.city.bot_commands import BotCommand, Language, parse_command


@pytest.mark.parametrize(
    ("body", "command", "language"),
    [
        ("help", BotCommand.HELP, Language.EN),
        ("!Rooms", BotCommand.ROOMS, Language.EN),
        ("  agents, please", BotCommand.AGENTS, Language.EN),
        ("@city: who?", BotCommand.WHO, Language.EN),
        ("ДОПОМОГА", BotCommand.HELP, Language.UK),
        ("Кімнати!", BotCommand.ROOMS, Language.UK),
        ("а хто тут", BotCommand.WHO, Language.UK),
        ("@city агенти", BotCommand.AGENTS, Language.UK),
        ("що ти вмієш", BotCommand.HELP, Language.UK),
        ("status", BotCommand.STATUS, Language.EN),
        ("!Doctor", BotCommand.DOCTOR, Language.EN),
        ("@city:city.localhost retry now", BotCommand.RETRY, Language.EN),
        ("Стан?", BotCommand.STATUS, Language.UK),
        ("повторити", BotCommand.RETRY, Language.UK),
        ("what does retry do, help", BotCommand.HELP, Language.EN),
        ("rooms, then retry", BotCommand.ROOMS, Language.EN),
        ("whoever", BotCommand.HELP, Language.EN),
        ("", BotCommand.HELP, Language.EN),
        ("\0\ud800" * 100_000, BotCommand.HELP, Language.EN),
    ],
)
def test_parse_command_finds_word_and_language(body: str, command: BotCommand, language: Language) -> None:
    assert parse_command(body) == (command, language)
