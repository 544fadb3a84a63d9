"""A pending reply with the agent, room, message and conversation that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from ..city.pending_replies import PendingReply, ReplyFailure
from ..city.second_me import is_second_me
from ..city.types import Agent, Author, AuthorKind, Message, Room
from .conversation import Conversation
from .failure_notices import failure_notice
from .forget_command import is_forget


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A pending reply and its context, read from the database."""

    reply: PendingReply
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
    def is_forget(self) -> bool:
        """Whether the message is the command to delete Second Me's memory."""
        return self.is_second_me and is_forget(self.message)

    @property
    def others_listen(self) -> bool:
        return self.room.agent is None or self.room.is_group

    def failure_text(self, why: ReplyFailure) -> str:
        return failure_notice(why, self._words, self.agent.display_name)

    @property
    def _words(self) -> str:
        """A text in the language of the author."""
        if not self.is_forget:
            return self.message.body
        # "!forget" is the same in all languages; the author's previous message tells the language.
        own = [each.body for each in self.conversation.before if each.author.subject == self.message.author.subject]
        return " ".join([*own[-1:], self.message.body])
