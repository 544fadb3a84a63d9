"""A pending reply with the agent, room, message and conversation that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from ..city.agents import AgentDirectory
from ..city.pending_replies import PendingReply, ReplyFailure
from ..city.types import Agent, Author, AuthorKind, Message, Room
from ..storage.database import Transaction
from .conversation import Conversation, agent_request, read_conversation
from .failure_notices import failure_notice
from .forget_command import is_forget
from .request import AgentRequest


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
        """The agent as author of the reply."""
        return Author(AuthorKind.AGENT, self.agent.slug, self.agent.display_name)

    @property
    def has_other_readers(self) -> bool:
        """Whether others than the author of the message can read a reply in this room."""
        return not self.room.is_of_two

    def agent_request(self) -> AgentRequest:
        """Return the request to the agents core."""
        return agent_request(self.agent, self.room, self.message, self.conversation)

    def failure_notice(self, failure: ReplyFailure) -> str:
        """Return the notice about a missing reply, in the language of the request."""
        return failure_notice(failure, self._language_sample(), self.agent.display_name)

    def _language_sample(self) -> str:
        if not is_forget(self.message):
            return self.message.body
        # "!forget" is the same in all languages; so the author's previous message is in the sample, too.
        own = [each.body for each in self.conversation.before if each.author.subject == self.message.author.subject]
        return " ".join([*own[-1:], self.message.body])


async def read_pending_request(tx: Transaction, agents: AgentDirectory, reply: PendingReply) -> PendingRequest | None:
    """Read the request of a pending reply and its conversation.

    Returns:
        None if no reply is wanted any more: it was posted, or the agent, room or message is gone.
    """
    agent = agents.get(reply.agent)
    # The reply may have been posted since the list of pending replies was read.
    current = await tx.agent_replies.get_pending(reply.id)
    message, room = await tx.messages.get(reply.request_id), await tx.rooms.get(reply.room_id)
    if current is None or agent is None or message is None or message.deleted or room is None:
        return None
    return PendingRequest(current, agent, room, message, await read_conversation(tx, agent, room, message))
