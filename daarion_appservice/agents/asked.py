"""A question that an agent was asked in a room, with all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass

from ..city.interactions import is_second_me
from ..city.types import Agent, Author, AuthorKind, Message, NoAnswer, OwedAnswer, Room
from .conversation import Conversation
from .excuses import excuse


@dataclass(frozen=True, slots=True)
class Asked:
    owed: OwedAnswer
    agent: Agent
    room: Room
    message: Message
    conversation: Conversation

    @property
    def author(self) -> Author:
        return Author(AuthorKind.AGENT, self.agent.slug, self.agent.display_name)

    @property
    def is_second_me(self) -> bool:
        return is_second_me(self.agent.slug)

    @property
    def others_listen(self) -> bool:
        return self.room.agent is None or self.room.in_company

    def excuse(self, why: NoAnswer) -> str:
        return excuse(why, self.message.body, self.agent.display_name)
