"""Whom a message asks something, and the answers that agents owe for it.

An agent is asked by whoever mentions it, begins with its name, or replies to it, and by whatever is said to it alone in a direct
chat. What it owes is written down in the same transaction as the message, once for each of the two; so no question is lost,
and none is answered twice.

Agents may ask agents, by mentioning them, but not without end: a chain has MAX_DEPTH links, and in one room agents ask only so
often. Nor does anybody else ask more than so often: whoever answers an agent by a machine may not know that it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .agent_mentions import AgentMentions
from .agents import AgentDirectory
from .ports import CityTransaction, NewId, NowMs
from .types import AgentSlug, AnswerId, Author, AuthorKind, Message, PendingReply, ReplyFailure, Room

MAX_DEPTH: Final = 3
"""Whom a person asks may ask a second agent, and that one a third, which then asks nobody."""
_MAX_ASKED: Final = 5
"""How many agents one message asks."""
_MAX_FROM_AGENTS: Final = 10
"""How many questions of agents a room bears in a minute: a loop that the depth does not see ends here."""
_MAX_FROM_ONE: Final = 20
"""How many questions anybody asks in a minute; the next is told so, and those after it are not even told."""
_MINUTE_MS: Final = 60_000
_EDITED_WITHIN_MS: Final = 3_600_000
"""After which time a message that is edited asks nobody any more."""


class AgentReplies:
    def __init__(self, agents: AgentDirectory, addressing: AgentMentions, now_ms: NowMs, new_id: NewId) -> None:
        self._agents = agents
        self._addressing = addressing
        self._now_ms = now_ms
        self._new_id = new_id

    async def note(self, tx: CityTransaction, room: Room, message: Message, *, depth: int = 0) -> list[PendingReply]:
        """Write down who owes an answer to ``message``, which was stored in this transaction.

        ``depth`` is how many agents have answered before, one because of the other.
        """
        # A notice is what machines say: whoever answered those would talk to machines for ever.
        if message.msgtype == "m.notice" or depth >= MAX_DEPTH:
            return []
        return await self._owe(tx, room, message, await self.asked(tx, room, message), depth)

    async def note_edit(self, tx: CityTransaction, room: Room, before: Message, after: Message) -> list[PendingReply]:
        """Write down who owes an answer only since a message was edited, in this transaction.

        Edits of agents ask nobody: answers grow by edits. Nor do edits of messages that are older than an hour.
        """
        is_old = (after.edited_at_ms or 0) - after.created_at_ms > _EDITED_WITHIN_MS
        if is_old or after.author.kind is AuthorKind.AGENT or after.msgtype == "m.notice":
            return []
        asked = await self.asked(tx, room, after)
        if asked:
            known = await self.asked(tx, room, before)
            asked = [slug for slug in asked if slug not in known]
        return await self._owe(tx, room, after, asked, 0)

    async def _owe(
        self, tx: CityTransaction, room: Room, message: Message, asked: list[AgentSlug], depth: int
    ) -> list[PendingReply]:
        if not asked:
            return []
        now_ms = self._now_ms()
        left = await self._left(tx, room, message.author, since_ms=now_ms - _MINUTE_MS)
        if left < 0:
            return []
        no_answer = ReplyFailure.TOO_MUCH if left == 0 else None
        owed = [
            PendingReply(AnswerId(self._new_id()), message.id, room.id, slug, depth, now_ms, failure=no_answer)
            for slug in asked[: min(_MAX_ASKED, max(1, left))]
        ]
        await tx.agent_replies.add(owed, asker=message.author.subject)
        return owed

    async def asked(self, tx: CityTransaction, room: Room, message: Message) -> list[AgentSlug]:
        """The agents that a message asks something, each once."""
        author = message.author
        if room.agent is not None and not room.in_company:
            return [room.agent] if author.kind is not AuthorKind.AGENT else []
        asked = dict.fromkeys([*self._named(message), *await self._replied_to(tx, message)])
        if author.kind is AuthorKind.AGENT:
            asked.pop(AgentSlug(author.id), None)
        if room.agent is not None:
            return [room.agent] if room.agent in asked else []
        return list(asked)

    async def _left(self, tx: CityTransaction, room: Room, author: Author, *, since_ms: int) -> int:
        """How many more questions they may ask; 0 for the one that is told so, and less for those that are not."""
        left = _MAX_FROM_ONE - await tx.agent_replies.asked_by(author.subject, since_ms=since_ms)
        if author.kind is AuthorKind.AGENT:
            asked = await tx.agent_replies.asked_by_agents(room.id, since_ms=since_ms)
            # Nobody tells an agent: it would be one thing more that it might answer.
            left = min(left, _MAX_FROM_AGENTS - asked) or -1
        return left

    def _named(self, message: Message) -> Iterator[AgentSlug]:
        """Those whom it mentions, or whom its text names."""
        for subject in message.mentions:
            if agent := self._agents.by_subject(subject):
                yield agent.slug
        if message.media is None or message.body != message.media.filename:
            yield from self._addressing.mentioned_agents(message.body)

    async def _replied_to(self, tx: CityTransaction, message: Message) -> list[AgentSlug]:
        # Agents answer by replying: if that were a question, two of them would never end.
        if message.reply_to is None or message.author.kind is AuthorKind.AGENT:
            return []
        answered = await tx.messages.get(message.reply_to)
        is_agents = answered is not None and answered.author.kind is AuthorKind.AGENT
        agent = self._agents.get(AgentSlug(answered.author.id)) if answered and is_agents else None
        return [agent.slug] if agent else []
