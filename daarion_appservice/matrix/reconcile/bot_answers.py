"""The bot's answers to commands, as plain text and HTML: rooms, agents and people that every reader may know of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from ...city.agents import AgentDirectory
from ...city.bot_commands import ADMIN_COMMANDS, BotCommand, Language
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.ports import PresenceStore
from ...city.presence import Status
from ...city.text_sanitizing import one_line
from ...city.types import UserId, agent_subject
from ...storage.bot_chats import BotRequest
from ...storage.database import Database, Transaction
from ..client.message_content import HTML_FORMAT
from .bot_admin_answers import BotAdminAnswers

_MAX_ROOMS: Final = 50
_MAX_AGENTS: Final = 100
_MAX_PEOPLE: Final = 50
_MAX_TOPIC_CHARS: Final = 200

_HELP: Final = {
    Language.EN: (
        "Commands",
        (
            "help: this list",
            "rooms: the city's rooms",
            "agents: the agents and what they do",
            "who: who is online",
            "Українською: допомога, кімнати, агенти, хто",
        ),
    ),
    Language.UK: (
        "Команди",
        (
            "допомога: цей перелік",
            "кімнати: кімнати міста",
            "агенти: агенти та чим вони займаються",
            "хто: хто зараз онлайн",
            "In English: help, rooms, agents, who",
        ),
    ),
}
_ENCRYPTED: Final = (
    "I cannot read encrypted chats: create a room without encryption and invite me there. / "
    "Я не можу читати зашифровані чати: створіть кімнату без шифрування і запросіть мене туди."
)
_TITLES: Final = {
    BotCommand.ROOMS: {Language.EN: "Rooms", Language.UK: "Кімнати"},
    BotCommand.AGENTS: {Language.EN: "Agents", Language.UK: "Агенти"},
    BotCommand.WHO: {Language.EN: "Online", Language.UK: "Онлайн"},
}
_ONLINE: Final = {Language.EN: "online", Language.UK: "онлайн"}
_OFFLINE: Final = {Language.EN: "offline", Language.UK: "офлайн"}
_NOBODY: Final = {Language.EN: "nobody", Language.UK: "нікого"}


@dataclass(frozen=True, slots=True)
class _Item:
    """One line of an answer."""

    text: str
    name: str = ""
    """What stands before the text in bold."""
    link: str = ""
    """A Matrix id or alias that the name links to."""

    @property
    def plain(self) -> str:
        link = f" ({self.link})" if self.link else ""
        return f"{self.name}{link}: {self.text}" if self.name and self.text else f"{self.name}{link}{self.text}"

    @property
    def html(self) -> str:
        name = f"<strong>{escape(self.name)}</strong>" if self.name else ""
        if self.link:
            name = f'<a href="https://matrix.to/#/{escape(self.link)}">{name}</a>'
        return f"{name}: {escape(self.text)}" if name and self.text else f"{name}{escape(self.text)}"


@dataclass(frozen=True, slots=True)
class BotAnswers:
    """Renders the answers from the database and the presence in memory."""

    database: Database
    agents: AgentDirectory
    presence: PresenceStore
    online_members: OnlineMembers
    identities: Identities
    for_admins: BotAdminAnswers

    async def content(self, request: BotRequest) -> dict[str, Any]:
        """Return the content of the ``m.room.message`` that answers a command: a notice, which no agent answers."""
        if request.command is BotCommand.ENCRYPTED:
            return {"msgtype": "m.notice", "body": _ENCRYPTED, "m.mentions": {}}
        title, items = await self._answer(request)
        return {
            "msgtype": "m.notice",
            "body": "\n".join([f"{title}:", *(f"- {item.plain}" for item in items)]),
            "format": HTML_FORMAT,
            "formatted_body": f"<p>{escape(title)}:</p><ul>{''.join(f'<li>{item.html}</li>' for item in items)}</ul>",
            "m.mentions": {},
        }

    async def _answer(self, request: BotRequest) -> tuple[str, list[_Item]]:
        language = request.language
        if request.command is BotCommand.HELP:
            title, lines = _HELP[language]
            *commands, translation = lines
            commands += self.for_admins.help_lines(request.sender, language)
            return title, [_Item(line) for line in (*commands, translation)]
        if request.command in ADMIN_COMMANDS:
            title, answer = await self.for_admins.answer(request)
            return title, [_Item(line) for line in answer]
        async with self.database.read_only() as tx:
            match request.command:
                case BotCommand.ROOMS:
                    items = await self._rooms(tx, request.sender, language)
                case BotCommand.AGENTS:
                    items = self._agents(language)
                case _:
                    items = await self._online(tx)
        return _TITLES[request.command][language], items or [_Item(_NOBODY[language])]

    async def _rooms(self, tx: Transaction, asker: UserId, language: Language) -> list[_Item]:
        """Return the rooms that the asker may know of, with aliases, topics and numbers of online members."""
        found = await tx.rooms.page(sort="popular", limit=_MAX_ROOMS, offset=0, users=[asker])
        return [
            _Item(
                f"{one_line(room.description, _MAX_TOPIC_CHARS)} "
                f"({self.online_members.members_online(room.id)} {_ONLINE[language]})".lstrip(),
                one_line(room.name),
                self.identities.room_alias(room.slug),
            )
            for room in found
        ]

    def _agents(self, language: Language) -> list[_Item]:
        items = []
        for agent in list(self.agents.all())[:_MAX_AGENTS]:
            state = (_ONLINE if self._is_online(agent_subject(agent.slug)) else _OFFLINE)[language]
            text = f"{one_line(agent.title)}, {state}" if agent.title else state
            items.append(_Item(text, agent.display_name, self.identities.agent(agent.slug)))
        return items

    async def _online(self, tx: Transaction) -> list[_Item]:
        """Return the online members of the rooms that are listed for everyone, and the online agents."""
        names = {
            self.identities.agent(agent.slug): agent.display_name
            for agent in self.agents.all()
            if self._is_online(agent_subject(agent.slug))
        }
        names = dict(list(names.items())[:_MAX_AGENTS])
        most = len(names) + _MAX_PEOPLE
        for room in await tx.rooms.page(sort="popular", limit=_MAX_ROOMS, offset=0):
            if len(names) >= most:
                break
            users = [self.identities.user(subject) for subject in self.online_members.online_members(room.id)]
            new = [user for user in sorted(users) if user not in names][: most - len(names)]
            for member in await tx.members.some(room.id, new):
                names[member.user_id] = one_line(member.display_name or member.user_id)
        return [_Item("", name) for name in _sorted(names.values())]

    def _is_online(self, subject: Any) -> bool:
        return self.presence.state(subject).status is not Status.OFFLINE


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=str.casefold)
