"""The bot's answers to the commands of admins: the state of the service, its problems, and a retry of what was given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from ... import __version__
from ...city.agents import AgentDirectory
from ...city.bot_commands import BotCommand, Language
from ...city.ports import NowMs, PresenceStore
from ...city.presence import Status
from ...city.redelivery import redeliver_all
from ...city.types import MatrixStatus, UserId, agent_subject
from ...storage.bot_chats import BotRequest
from ...storage.database import Database
from ...storage.inbox import InboxState
from ...storage.key_values import registry_changed
from ...storage.outbox import OutboxState

PartTexts = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns each part of the process with ``ok``, or what is wrong with it."""

HELP: Final = {
    Language.EN: (
        "status: numbers of the service (admins)",
        "doctor: what does not work (admins)",
        "retry: process and send again what was given up (admins)",
    ),
    Language.UK: (
        "стан: показники служби (адміністратори)",
        "діагностика: що не працює (адміністратори)",
        "повторити: ще раз обробити й надіслати те, що не вдалося (адміністратори)",
    ),
}
_REFUSALS: Final = {
    Language.EN: ("You may not do that", "only the admins of the city may (city.admins)"),
    Language.UK: ("Вам це недоступно", "це можуть лише адміністратори міста (city.admins)"),
}
_NOT_HERE: Final = {
    Language.EN: ("Not here", "write to me in a chat with nobody else"),
    Language.UK: ("Не тут", "напишіть мені в чаті, де більше нікого немає"),
}
_TITLES: Final = {
    BotCommand.STATUS: {Language.EN: "Status", Language.UK: "Стан"},
    BotCommand.DOCTOR: {Language.EN: "Does not work", Language.UK: "Не працює"},
    BotCommand.RETRY: {Language.EN: "Retried", Language.UK: "Повторено"},
}
_NUMBERS: Final = {
    Language.EN: (
        "version {version}",
        "rooms: {linked} of {rooms} linked with Matrix",
        "agents: {online} of {agents} online",
        "events from Matrix: {new} waiting, {dead} given up",
        "messages to Matrix: {pending} waiting, {failed} given up",
        "parts with a problem: {problems}",
    ),
    Language.UK: (
        "версія {version}",
        "кімнати: {linked} з {rooms} пов'язані з Matrix",
        "агенти: {online} з {agents} онлайн",
        "події з Matrix: {new} чекають, {dead} не вдалося обробити",
        "повідомлення до Matrix: {pending} чекають, {failed} не вдалося надіслати",
        "частини з проблемою: {problems}",
    ),
}
_ALL_WORK: Final = {Language.EN: "nothing: all parts work", Language.UK: "нічого: усі частини працюють"}
_COMPLETE: Final = {
    Language.EN: "all checks, on the server: daarion-appservice doctor",
    Language.UK: "усі перевірки, на сервері: daarion-appservice doctor",
}
_RETRIED: Final = {
    Language.EN: ("events from Matrix: {events}", "messages to Matrix: {messages}"),
    Language.UK: ("події з Matrix: {events}", "повідомлення до Matrix: {messages}"),
}
_MAX_CHARS: Final = 300
"""The maximum length of the text about one part, in characters."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BotAdminAnswers:
    """Answers ``status``, ``doctor`` and ``retry`` of the users in ``admins``, in chats with the bot alone."""

    database: Database
    agents: AgentDirectory
    presence: PresenceStore
    admins: frozenset[UserId]
    part_texts: PartTexts
    now_ms: NowMs

    def help_lines(self, asker: UserId, language: Language) -> tuple[str, ...]:
        """Return the descriptions of the commands for admins; none for other users."""
        return HELP[language] if asker in self.admins else ()

    async def answer(self, request: BotRequest) -> tuple[str, list[str]]:
        """Return the title and the lines of the answer; a refusal if the sender may not give the command here."""
        language = request.language
        if request.sender not in self.admins:
            return _lone_line(_REFUSALS[language])
        async with self.database.read_only() as tx:
            chat = await tx.bot_chats.get(request.matrix_room_id)
        if chat is None or chat.is_group:
            return _lone_line(_NOT_HERE[language])
        match request.command:
            case BotCommand.STATUS:
                lines = await self._status(language)
            case BotCommand.DOCTOR:
                lines = await self._doctor(language)
            case _:
                lines = await self._retry(request.sender, language)
        return _TITLES[request.command][language], lines

    async def _status(self, language: Language) -> list[str]:
        async with self.database.read_only() as tx:
            rooms = [room for room in await tx.rooms.all() if not room.archived]
            events, deliveries = await tx.inbox.counts(), await tx.outbox.counts()
        subjects = [agent_subject(agent.slug) for agent in self.agents.all()]
        problems = await self._problems()
        numbers = {
            "version": __version__,
            "linked": sum(room.matrix_status is MatrixStatus.LINKED for room in rooms),
            "rooms": len(rooms),
            "online": sum(self.presence.state(each).status is not Status.OFFLINE for each in subjects),
            "agents": len(subjects),
            "new": events.get(InboxState.NEW, 0),
            "dead": events.get(InboxState.DEAD, 0),
            "pending": deliveries.get(OutboxState.NEW, 0),
            "failed": deliveries.get(OutboxState.FAILED, 0),
            "problems": ", ".join(problems) or "0",
        }
        return [line.format(**numbers) for line in _NUMBERS[language]]

    async def _doctor(self, language: Language) -> list[str]:
        problems = await self._problems()
        lines = [f"{name}: {' '.join(text.split())[:_MAX_CHARS]}" for name, text in problems.items()]
        return [*(lines or [_ALL_WORK[language]]), _COMPLETE[language]]

    async def _problems(self) -> dict[str, str]:
        return {name: text for name, text in (await self.part_texts()).items() if text != "ok"}

    async def _retry(self, admin: UserId, language: Language) -> list[str]:
        async with self.database.transaction() as tx:
            events = await tx.inbox.retry(None)
            messages = await redeliver_all(tx, None, self.now_ms())
            await registry_changed(tx.connection)
        log.info("retried_by_admin", by=admin, events=events, messages=messages)
        return [line.format(events=events, messages=messages) for line in _RETRIED[language]]


def _lone_line(refusal: tuple[str, str]) -> tuple[str, list[str]]:
    title, line = refusal
    return title, [line]
