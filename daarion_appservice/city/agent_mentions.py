"""Agent mentions: agents that a text mentions by ``@slug``, ``@Display Name``, Matrix user id, or a name at its start.

Matrix clients turn a name into a mention (``m.mentions``) only when a person picks it from a list. A typed name means
the same, so the text is parsed too. Names in code, quotations and links mention no agent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from .agents import AgentDirectory
from .markdown import MAX_MENTIONS
from .parsing_threads import prose_of
from .types import AgentSlug, UserId

_MAX_NAME: Final = 80
"""The longest display name that is compared, in characters."""
_MAX_ADDRESS: Final = 500
_AT: Final = re.compile(r"(?<![\w@/+=])@(?=\w)")
_USER_ID: Final = re.compile(r"[a-z0-9._=/+-]{1,255}:[a-z0-9.-]*[a-z0-9](?::[0-9]{1,5})?", re.IGNORECASE)
_MARKUP: Final = " \t\r\n*_~"
"""Characters that may precede the first word."""
_ENDS_SALUTATION: Final = frozenset("\n,:;!?，：；！？、")


class AgentMentions:
    """Finds agent mentions in texts. ``user_of`` returns the Matrix user id of an agent's ghost."""

    def __init__(self, agents: AgentDirectory, user_of: Callable[[AgentSlug], UserId]) -> None:
        self._agents = agents
        self._user_of = user_of

    def mentioned_agents(self, body: str) -> list[AgentSlug]:
        """Return the agents that a text mentions, each once, in the order of the text."""
        return list(dict.fromkeys([*self._salutation(body), *self._written(body)]))

    def _salutation(self, body: str) -> Iterator[AgentSlug]:
        """Yield the agent whose name starts the text, if the text ends there or a comma, colon or similar sign follows."""
        text = body.lstrip(_MARKUP)[: _MAX_NAME + 2]
        for end in _ends_of_names(text):
            following = text[end:].lstrip(" \t*_~")
            if len(text) > _MAX_NAME and end >= _MAX_NAME:
                continue
            slug = self._named(text[:end])
            if slug is not None and (not following or following[0] in _ENDS_SALUTATION):
                yield slug
                return

    def _written(self, body: str) -> Iterator[AgentSlug]:
        """Yield the agents named after an ``@``."""
        if "@" not in body:
            return
        found = 0
        for text in prose_of(body):
            for at in _AT.finditer(text):
                if (slug := self._behind_at(text, at.end())) is not None and not _is_in_address(text, at.start()):
                    yield slug
                if (found := found + 1) >= MAX_MENTIONS:
                    return

    def _behind_at(self, text: str, at: int) -> AgentSlug | None:
        if user := _USER_ID.match(text, at):
            localpart, _, server = user[0].partition(":")
            if slug := self._of_user(localpart, user[0]):
                return slug
            if "." in server or "." in localpart:
                return None
        name = text[at : at + _MAX_NAME + 1]
        return next((slug for end in _ends_of_names(name) if (slug := self._named(name[:end])) is not None), None)

    def _of_user(self, localpart: str, user: str) -> AgentSlug | None:
        """Return the agent with this Matrix user id."""
        agent = self._agents.get(AgentSlug(localpart.lower().partition("_")[2]))
        return agent.slug if agent and self._user_of(agent.slug).lower() == f"@{user.lower()}" else None

    def _named(self, name: str) -> AgentSlug | None:
        agent = self._agents.get(AgentSlug(name.lower())) or self._agents.by_name(name)
        return agent.slug if agent else None


def _ends_of_names(text: str) -> Iterator[int]:
    """Yield the ends of possible names at the start of ``text``, the longest first: names may contain spaces and signs."""
    for end in range(len(text), 0, -1):
        is_word = _is_of_word(text[end - 1]) and end < len(text) and _is_of_word(text[end])
        if not is_word and not text[end - 1].isspace():
            yield end


def _is_of_word(sign: str) -> bool:
    return sign.isalnum() or sign in "_-"


def _is_in_address(text: str, at: int) -> bool:
    """Whether the word around ``at`` is a URL."""
    before = text[max(0, at - _MAX_ADDRESS) : at]
    word = re.split(r"\s", before)[-1]
    return "://" in word
