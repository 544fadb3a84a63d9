"""Agent mentions: agents that a text mentions by ``@slug``, ``@Display Name``, Matrix user id, or a name at its start.

Matrix clients turn a name into a mention (``m.mentions``) only when a person picks it from a list. A typed name means
the same, so the text is parsed too. Names in code, quotations and links mention no agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .agents import AgentDirectory
from .background_parsing import prose_of
from .identity import Identities
from .markdown import MAX_MENTIONS, without_spaced_ids
from .types import AgentSlug

_MAX_NAME_CHARS: Final = 80
"""The longest display name that is compared, in characters."""
_MAX_URL_CHARS: Final = 500
_AT: Final = re.compile(r"(?<![\w@/+=])@(?=\w)")
_USER_ID: Final = re.compile(r"[a-z0-9._=/+-]{1,255}:[a-z0-9.-]*[a-z0-9](?::[0-9]{1,5})?", re.IGNORECASE)
_MARKUP: Final = " \t\r\n*_~"
"""Characters that may precede the first word."""
_NAME_TERMINATORS: Final = frozenset("\n,:;!?，：；！？、")


class AgentMentions:
    """Finds agent mentions in texts."""

    def __init__(self, agents: AgentDirectory, identities: Identities) -> None:
        self._agents = agents
        self._identities = identities

    def mentioned_agents(self, body: str) -> list[AgentSlug]:
        """Return the agents that a text mentions, each once, in the order of the text."""
        return list(dict.fromkeys([*self._name_at_start(body), *self._at_mentions(body)]))

    def _name_at_start(self, body: str) -> Iterator[AgentSlug]:
        """Yield the agent whose name starts the text, if the text ends there or a comma, colon or similar sign follows."""
        text = body.lstrip(_MARKUP)[: _MAX_NAME_CHARS + 2]
        for end in _name_ends(text):
            following = text[end:].lstrip(" \t*_~")
            if len(text) > _MAX_NAME_CHARS and end >= _MAX_NAME_CHARS:
                continue
            slug = self._agent_by_name(text[:end])
            if slug is not None and (not following or following[0] in _NAME_TERMINATORS):
                yield slug
                return

    def _at_mentions(self, body: str) -> Iterator[AgentSlug]:
        """Yield the agents named after an ``@``."""
        if "@" not in body:
            return
        found = 0
        for text in (without_spaced_ids(each, self._identities.domain) for each in prose_of(body)):
            for at in _AT.finditer(text):
                if (slug := self._agent_after_at(text, at.end())) is not None and not _is_in_url(text, at.start()):
                    yield slug
                if (found := found + 1) >= MAX_MENTIONS:
                    return

    def _agent_after_at(self, text: str, at: int) -> AgentSlug | None:
        if user := _USER_ID.match(text, at):
            localpart, _, server = user[0].partition(":")
            if slug := self._agent_of_user(localpart, user[0]):
                return slug
            if "." in server or "." in localpart:
                return None
        name = text[at : at + _MAX_NAME_CHARS + 1]
        return next((slug for end in _name_ends(name) if (slug := self._agent_by_name(name[:end])) is not None), None)

    def _agent_of_user(self, localpart: str, user: str) -> AgentSlug | None:
        """Return the agent with this Matrix user id."""
        agent = self._agents.get(AgentSlug(localpart.lower().partition("_")[2]))
        return agent.slug if agent and self._identities.agent(agent.slug).lower() == f"@{user.lower()}" else None

    def _agent_by_name(self, name: str) -> AgentSlug | None:
        agent = self._agents.get(AgentSlug(name.lower())) or self._agents.by_name(name)
        return agent.slug if agent else None


def _name_ends(text: str) -> Iterator[int]:
    """Yield the ends of possible names at the start of ``text``, the longest first: names may contain spaces and signs."""
    for end in range(len(text), 0, -1):
        is_word = _is_word_character(text[end - 1]) and end < len(text) and _is_word_character(text[end])
        if not is_word and not text[end - 1].isspace():
            yield end


def _is_word_character(character: str) -> bool:
    return character.isalnum() or character in "_-"


def _is_in_url(text: str, at: int) -> bool:
    """Return whether the word around ``at`` is a URL."""
    before = text[max(0, at - _MAX_URL_CHARS) : at]
    word = re.split(r"\s", before)[-1]
    return "://" in word
