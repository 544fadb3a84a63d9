"""Whom a message asks something, and the answers that agents owe for it.

An agent is asked by whoever mentions it, begins with its name, or replies to it, and by whatever is said to it alone in a direct
chat. What it owes is written down in the same transaction as the message, once for each of the two; so no question is lost,
and none is answered twice.

Agents may ask agents, by mentioning them, but not without end: a chain has MAX_DEPTH links, and in one room agents ask only so
often.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .agents import AgentDirectory
from .ports import CityTransaction, NewId, NowMs
from .types import AgentSlug, AnswerId, AuthorKind, Message, OwedAnswer, Room

MAX_DEPTH: Final = 3
"""Whom a person asks may ask a second agent, and that one a third, which then asks nobody."""
_MAX_ASKED: Final = 5
"""How many agents one message asks."""
_MAX_FROM_AGENTS: Final = 10
"""How many questions of agents a room bears in a minute: a loop that the depth does not see ends here."""
_MINUTE_MS: Final = 60_000
_SALUTATION: Final = re.compile(r"\s*([^\n,:!?]{1,80}?)\s*(?:[,:!?]|$)")


class Answers:
    def __init__(self, agents: AgentDirectory, now_ms: NowMs, new_id: NewId) -> None:
        self._agents = agents
        self._now_ms = now_ms
        self._new_id = new_id

    async def note(self, tx: CityTransaction, room: Room, message: Message, *, depth: int = 0) -> list[OwedAnswer]:
        """Write down who owes an answer to ``message``, which was stored in this transaction.

        ``depth`` is how many agents have answered before, one because of the other.
        """
        # A notice is what machines say: whoever answered those would talk to machines for ever.
        if message.msgtype == "m.notice" or depth >= MAX_DEPTH:
            return []
        if room.agent is not None and not room.in_company:
            asked = {room.agent: None} if message.author.kind is not AuthorKind.AGENT else {}
        else:
            asked = dict.fromkeys([*self._named(message), *await self._replied_to(tx, message)])
            if room.agent is not None:
                asked = {room.agent: None} if room.agent in asked else {}
        asked.pop(AgentSlug(message.author.id) if message.author.kind is AuthorKind.AGENT else AgentSlug(""), None)
        if not asked:
            return []
        now_ms = self._now_ms()
        if message.author.kind is AuthorKind.AGENT:
            recently = await tx.answers.asked_by_agents(room.id, since_ms=now_ms - _MINUTE_MS)
            if recently >= _MAX_FROM_AGENTS:
                return []
        owed = [
            OwedAnswer(AnswerId(self._new_id()), message.id, room.id, slug, depth, now_ms)
            for slug in list(asked)[:_MAX_ASKED]
        ]
        await tx.answers.add(owed, by_agent=message.author.kind is AuthorKind.AGENT)
        return owed

    def _named(self, message: Message) -> Iterator[AgentSlug]:
        """Those whom it mentions, or begins with."""
        for subject in message.mentions:
            if agent := self._agents.by_subject(subject):
                yield agent.slug
        salutation = _SALUTATION.match(message.body)
        if salutation and (agent := self._agents.by_name(salutation[1])):
            yield agent.slug

    async def _replied_to(self, tx: CityTransaction, message: Message) -> list[AgentSlug]:
        # Agents answer by replying: if that were a question, two of them would never end.
        if message.reply_to is None or message.author.kind is AuthorKind.AGENT:
            return []
        answered = await tx.messages.get(message.reply_to)
        is_agents = answered is not None and answered.author.kind is AuthorKind.AGENT
        agent = self._agents.get(AgentSlug(answered.author.id)) if answered and is_agents else None
        return [agent.slug] if agent else []
