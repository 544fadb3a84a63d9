"""Pending replies: which agents a message asks, and what they have yet to answer.

A message asks an agent if it mentions the agent, begins with its name, or replies to it; in a direct chat of one person
every message does. The pending reply is stored in the same transaction as the message, once for each message and agent;
so no question is lost, and none is answered twice.

Agents may ask agents by mentioning them, with two limits: a chain has at most MAX_DEPTH links, and a room has a limit
of agents' questions per minute. Other authors have a limit per minute too, because a machine that replies to an agent
may not know that it talks to an agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .agent_mentions import AgentMentions
from .agents import AgentDirectory
from .pending_replies import AnswerId, PendingReply, ReplyFailure
from .ports import CityTransaction, NewId, NowMs
from .types import AgentSlug, Author, AuthorKind, Message, Room

MAX_DEPTH: Final = 3
"""The longest chain: an agent that a person asks may ask a second one, and that one a third, which can ask none."""
_MAX_AGENTS: Final = 5
"""The number of agents that one message asks at most."""
_MAX_BY_AGENTS: Final = 10
"""Questions of agents in one room per minute. The limit ends loops that the depth does not detect."""
_MAX_BY_AUTHOR: Final = 20
"""Questions of one author per minute. The first one above the limit gets a notice, the following ones nothing."""
_MINUTE_MS: Final = 60_000
_MAX_EDIT_AGE_MS: Final = 3_600_000
"""The age of a message after which its edits no longer ask agents."""


class AgentReplies:
    """Creates pending replies for messages and edits."""

    def __init__(self, agents: AgentDirectory, mentions: AgentMentions, now_ms: NowMs, new_id: NewId) -> None:
        self._agents = agents
        self._mentions = mentions
        self._now_ms = now_ms
        self._new_id = new_id

    async def add(self, tx: CityTransaction, room: Room, message: Message, *, depth: int = 0) -> list[PendingReply]:
        """Store the pending replies to ``message``, which was stored in this transaction.

        Args:
            tx: The transaction.
            room: The room of the message.
            message: The message.
            depth: The number of agents that replied before in this chain of agents.

        Returns:
            The pending replies, at most `_MAX_AGENTS`.
        """
        # Notices are messages of machines; a reply to a notice could start an endless exchange between machines.
        if message.msgtype == "m.notice" or depth >= MAX_DEPTH:
            return []
        return await self._add(tx, room, message, await self.requested_agents(tx, room, message), depth)

    async def add_for_edit(
        self, tx: CityTransaction, room: Room, before: Message, after: Message
    ) -> list[PendingReply]:
        """Store the pending replies of agents that a message asks only since its edit, in this transaction.

        Edits of agents ask no agent, because agents stream replies by edits. Edits of messages older than an hour
        ask no agent either.
        """
        is_old = (after.edited_at_ms or 0) - after.created_at_ms > _MAX_EDIT_AGE_MS
        if is_old or after.author.kind is AuthorKind.AGENT or after.msgtype == "m.notice":
            return []
        asked = await self.requested_agents(tx, room, after)
        if asked:
            known = await self.requested_agents(tx, room, before)
            asked = [slug for slug in asked if slug not in known]
        return await self._add(tx, room, after, asked, 0)

    async def _add(
        self, tx: CityTransaction, room: Room, message: Message, agents: list[AgentSlug], depth: int
    ) -> list[PendingReply]:
        if not agents:
            return []
        now_ms = self._now_ms()
        remaining = await self._remaining_requests(tx, room, message.author, since_ms=now_ms - _MINUTE_MS)
        if remaining < 0:
            return []
        failure = ReplyFailure.TOO_MUCH if remaining == 0 else None
        pending = [
            PendingReply(AnswerId(self._new_id()), message.id, room.id, slug, depth, now_ms, failure=failure)
            for slug in agents[: min(_MAX_AGENTS, max(1, remaining))]
        ]
        await tx.agent_replies.add(pending, requester=message.author.subject)
        return pending

    async def requested_agents(self, tx: CityTransaction, room: Room, message: Message) -> list[AgentSlug]:
        """Return the agents that a message asks, each once."""
        author = message.author
        if room.agent is not None and not room.is_group:
            return [room.agent] if author.kind is not AuthorKind.AGENT else []
        asked = dict.fromkeys([*self._mentioned(message), *await self._agents_replied_to(tx, message)])
        if author.kind is AuthorKind.AGENT:
            asked.pop(AgentSlug(author.id), None)
        if room.agent is not None:
            return [room.agent] if room.agent in asked else []
        return list(asked)

    async def _remaining_requests(self, tx: CityTransaction, room: Room, author: Author, *, since_ms: int) -> int:
        """Return how many agents the author may still ask; 0 if the next gets a notice, less if it gets nothing."""
        remaining = _MAX_BY_AUTHOR - await tx.agent_replies.asked_by(author.subject, since_ms=since_ms)
        if author.kind is AuthorKind.AGENT:
            asked = await tx.agent_replies.asked_by_agents(room.id, since_ms=since_ms)
            # An agent gets no notice: it might reply to the notice.
            remaining = min(remaining, _MAX_BY_AGENTS - asked) or -1
        return remaining

    def _mentioned(self, message: Message) -> Iterator[AgentSlug]:
        """Yield the agents that the message mentions by pill or by name."""
        for subject in message.mentions:
            if agent := self._agents.by_subject(subject):
                yield agent.slug
        if message.media is None or message.body != message.media.filename:
            yield from self._mentions.mentioned_agents(message.body)

    async def _agents_replied_to(self, tx: CityTransaction, message: Message) -> list[AgentSlug]:
        # Agents answer by replying: if a reply asked an agent, two agents would never end.
        if message.reply_to is None or message.author.kind is AuthorKind.AGENT:
            return []
        answered = await tx.messages.get(message.reply_to)
        is_agents = answered is not None and answered.author.kind is AuthorKind.AGENT
        agent = self._agents.get(AgentSlug(answered.author.id)) if answered and is_agents else None
        return [agent.slug] if agent else []
