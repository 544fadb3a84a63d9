"""The two subjects of a direct chat, a citizen and another citizen or an agent, and the id of its room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .types import AGENT_SUBJECT, AgentSlug, CitizenId, RoomId, SubjectId, citizen_subject, is_agent

_PREFIX: Final = "direct_"
_DIGEST_CHARS: Final = 32


@dataclass(frozen=True, slots=True)
class CitizenChat:
    """The two subjects of a private room, in the order of their ids; at most one of them is an agent."""

    room: RoomId
    first: SubjectId
    second: SubjectId

    def other(self, citizen: CitizenId) -> SubjectId:
        """Return the other citizen, or the agent."""
        return self.second if citizen_subject(citizen) == self.first else self.first

    @property
    def agent(self) -> AgentSlug | None:
        """The agent; None for a chat of two citizens."""
        slugs = (agent_slug_of(each) for each in (self.first, self.second))
        return next((slug for slug in slugs if slug is not None), None)

    @property
    def citizens(self) -> tuple[CitizenId, ...]:
        """The citizens."""
        return tuple(CitizenId(each) for each in (self.first, self.second) if agent_slug_of(each) is None)


def agent_slug_of(subject: SubjectId) -> AgentSlug | None:
    """Return the slug of an agent's subject; None for a citizen."""
    return AgentSlug(subject.removeprefix(AGENT_SUBJECT)) if is_agent(subject) else None


def is_chat_id(room: RoomId) -> bool:
    """Return whether a room may be a direct chat: no other room has such an id."""
    return room.startswith(_PREFIX)


def chat_of(one: CitizenId, other: SubjectId, generation: Callable[[CitizenId], int]) -> CitizenChat:
    """Return the chat of a citizen, with the id that its room has.

    Args:
        one: The citizen.
        other: The other citizen, or the agent.
        generation: Returns how often a citizen was erased: one who comes back has new chats.
    """
    first, second = sorted((citizen_subject(one), other))
    generations = tuple(0 if is_agent(each) else generation(CitizenId(each)) for each in (first, second))
    name = f"{len(first)} {first} {second}" + (" {} {}".format(*generations) if any(generations) else "")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return CitizenChat(RoomId(_PREFIX + digest[:_DIGEST_CHARS]), first, second)
