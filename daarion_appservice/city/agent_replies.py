"""Agent replies: decides which agents a message requests replies of, and stores them as pending replies.

A message requests a reply of an agent if it mentions the agent, begins with its name, or replies to it; in a direct
chat of one person and one agent every message does. In a direct chat only its own agents reply. The pending reply is
stored in the transaction of the message, once for each message and agent, so no request is lost, and none gets two
replies. One that an edit withdrew is stored again if a later edit requests it.

Agents may request replies of agents by mentions, with two limits: a chain has at most MAX_DEPTH links, and a room has a
limit of agents' requests per minute. Other authors have a limit per minute too, because a bot that replies to an agent
may not know that the agent is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .agent_mentions import AgentMentions
from .agents import AgentDirectory
from .pending_replies import PendingReply, ReplyFailure, ReplyId
from .permissions import RoomPermissions
from .ports import CityTransaction, NewId, NowMs
from .types import AgentSlug, Author, AuthorKind, Message, Room

MAX_DEPTH: Final = 3
"""The longest chain of requests: a person requests a reply of an agent, that agent of a second, and that one of a third."""
_MAX_AGENTS: Final = 5
"""The largest number of agents whose replies one message requests."""
_MAX_BY_AGENTS: Final = 10
"""Requests by agents in one room per minute. The limit ends loops that the depth does not detect."""
_MAX_BY_AUTHOR: Final = 20
"""Requests by one author per minute. The first one above the limit gets a notice, later ones get nothing."""
_MINUTE_MS: Final = 60_000
_MAX_EDIT_AGE_MS: Final = 3_600_000
"""The age of a message from which on its edits request no replies."""


class AgentReplies:
    """Creates pending replies for messages and edits."""

    def __init__(
        self,
        agents: AgentDirectory,
        mentions: AgentMentions,
        permissions: RoomPermissions,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._agents = agents
        self._mentions = mentions
        self._permissions = permissions
        self._now_ms = now_ms
        self._new_id = new_id

    async def add(self, tx: CityTransaction, room: Room, message: Message, *, depth: int = 0) -> list[PendingReply]:
        """Store the pending replies to ``message``, which was stored in this transaction.

        Args:
            tx: The transaction.
            room: The room of the message.
            depth: The number of agents that replied before in this chain of agents.

        Returns:
            The pending replies that were stored, at most `_MAX_AGENTS`.
        """
        # Notices are messages of machines; a reply to a notice could start an endless exchange between machines.
        if message.msgtype == "m.notice" or depth >= MAX_DEPTH:
            return []
        return await self._add(tx, room, message, await self.requested_agents(tx, room, message), depth)

    async def add_for_edit(
        self, tx: CityTransaction, room: Room, before: Message, after: Message
    ) -> list[PendingReply]:
        """Store the pending replies that a message requests only since its edit, in this transaction.

        Edits by agents request no replies, because agents stream replies by edits. Edits of messages older than an hour
        request none either.
        """
        is_old = (after.edited_at_ms or 0) - after.created_at_ms > _MAX_EDIT_AGE_MS
        if is_old or after.author.kind is AuthorKind.AGENT or after.msgtype == "m.notice":
            return []
        requested = await self.requested_agents(tx, room, after)
        if requested:
            requested_before = await self.requested_agents(tx, room, before)
            requested = [slug for slug in requested if slug not in requested_before]
        return await self._add(tx, room, after, requested, 0)

    async def renew(
        self, tx: CityTransaction, room: Room, message: Message, abandoned: PendingReply
    ) -> list[PendingReply]:
        """Store a reply that was abandoned in this transaction again, if an edit has requested it meanwhile.

        Args:
            tx: The transaction, in which the room's row is locked.
            room: The room of the message.
            message: The message as it is now.
            abandoned: The reply.

        Returns:
            The new pending reply; nothing if none is requested, or the reply was renewed too often.
        """
        if await self.is_withdrawn(tx, room, message):
            return []
        is_requested = abandoned.agent in await self.requested_agents(tx, room, message)
        return await self._add(tx, room, message, [abandoned.agent], abandoned.depth) if is_requested else []

    async def is_withdrawn(self, tx: CityTransaction, room: Room, message: Message | None) -> bool:
        """Return whether a message requests no replies any more, whatever it mentions.

        It was deleted, or a moderator kicked or banned its author. An author who left gets the replies.
        """
        return message is None or message.deleted or await self._permissions.is_removed(tx, room, message.author)

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
            PendingReply(ReplyId(self._new_id()), message.id, room.id, slug, depth, now_ms, failure=failure)
            for slug in agents[: min(_MAX_AGENTS, max(1, remaining))]
        ]
        return await tx.agent_replies.add(pending, requester=message.author.subject)

    async def requested_agents(self, tx: CityTransaction, room: Room, message: Message) -> list[AgentSlug]:
        """Return the agents whose replies a message requests, each once."""
        author = message.author
        if room.is_direct:
            chat = await tx.citizen_chats.of_room(room.id) if author.kind is not AuthorKind.AGENT else None
            return [chat.agent] if chat is not None and chat.agent is not None and self._agents.get(chat.agent) else []
        if room.agent is not None and not room.is_group:
            return [room.agent] if author.kind is not AuthorKind.AGENT and self._agents.get(room.agent) else []
        requested = dict.fromkeys([*self._mentioned(message), *await self._agents_replied_to(tx, message)])
        requested = requested or dict.fromkeys(await self._agents_of_thread(tx, message))
        if author.kind is AuthorKind.AGENT:
            requested.pop(AgentSlug(author.id), None)
        if room.agent is not None and requested:
            chat_agents = await tx.direct_chats.agents(room.id)
            return [slug for slug in requested if slug in chat_agents]
        return list(requested)

    async def _remaining_requests(self, tx: CityTransaction, room: Room, author: Author, *, since_ms: int) -> int:
        """Return how many replies the author may still request; 0 if the next request gets a notice, less if nothing."""
        remaining = _MAX_BY_AUTHOR - await tx.agent_replies.count_by_requester(author.subject, since_ms=since_ms)
        if author.kind is AuthorKind.AGENT:
            by_agents = await tx.agent_replies.count_by_agents(room.id, since_ms=since_ms)
            # An agent gets no notice: it might reply to the notice.
            remaining = min(remaining, _MAX_BY_AGENTS - by_agents) or -1
        return remaining

    def _mentioned(self, message: Message) -> Iterator[AgentSlug]:
        """Yield the agents that the message mentions by pill or by name."""
        for subject in message.mentions:
            if agent := self._agents.by_subject(subject):
                yield agent.slug
        if message.media is None or message.body != message.media.filename:
            yield from self._mentions.mentioned_agents(message.body)

    async def _agents_replied_to(self, tx: CityTransaction, message: Message) -> list[AgentSlug]:
        # An agent posts its text as a reply: if such a reply requested another one, two agents would never end.
        if message.reply_to is None or message.author.kind is AuthorKind.AGENT:
            return []
        return self._agent_of(await tx.messages.get(message.reply_to))

    async def _agents_of_thread(self, tx: CityTransaction, message: Message) -> list[AgentSlug]:
        """Return the agent that a message of a thread requests a reply from without naming it.

        It is the author of the root, or the agent whose reply to the same author is the previous message of the thread.
        """
        if message.thread_root is None or message.reply_to is not None or message.author.kind is AuthorKind.AGENT:
            return []
        if requested := self._agent_of(await tx.messages.get(message.thread_root)):
            return requested
        previous = await tx.threads.last(message.thread_root, message.seq)
        replied_to = await tx.messages.get(previous.reply_to) if previous is not None and previous.reply_to else None
        is_turn = replied_to is not None and replied_to.author.subject == message.author.subject
        return self._agent_of(previous) if is_turn else []

    def _agent_of(self, message: Message | None) -> list[AgentSlug]:
        """Return the author of a message if it is an agent of the city."""
        is_by_agent = message is not None and message.author.kind is AuthorKind.AGENT
        agent = self._agents.get(AgentSlug(message.author.id)) if message and is_by_agent else None
        return [agent.slug] if agent else []
