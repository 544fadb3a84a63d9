"""Deletes the messages of people who were banned or kicked with them, as a task of the leader.

    m.room.member: ban with redact_events ─► noted in ``key_values`` ─► this task: messages ─► reactions ─► votes

Matrix clients hide these events without a redaction of each (MSC4293), and so does the city. The events of one person may
be thousands, so other writers have the database in between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ..city.events import CityEvent
from ..city.identity import Identities, ServiceUser
from ..city.member_log import MemberLog
from ..city.message_edits import MessageEdits
from ..city.polls import Polls
from ..city.ports import Publish, publish_all
from ..city.reactions import Reactions
from ..city.types import Author, Room
from ..storage.database import Database, Transaction
from ..storage.message_removals import MessageRemoval
from .isolation import isolated
from .worker import Worker

_POLL_S: Final = 30.0
_PAUSE_S: Final = 0.02
"""The pause between two portions, in which other writers have the database."""
PORTION: Final = 20
"""The number of messages, reactions and votes that one transaction deletes."""


@dataclass
class MessageRemovals:
    """Deletes the messages, reactions and votes of the stored removals, for as long as this process is the leader."""

    database: Database
    identities: Identities
    members: MemberLog
    edits: MessageEdits
    reactions: Reactions
    polls: Polls
    publish: Publish

    def __post_init__(self) -> None:
        self._worker = Worker("message_removals", idle_s=_POLL_S)

    def wake(self) -> None:
        """Look for new removals."""
        self._worker.wake()

    async def run(self) -> None:
        """Delete messages until cancelled. Can be called again."""
        await self._worker.run(self.step)

    async def step(self) -> None:
        """Finish all stored removals."""
        async with self.database.read_only() as tx:
            unfinished = await tx.message_removals.unfinished()
        for removal in unfinished:
            with isolated("message_removals", removal.room):
                is_left = True
                while is_left:
                    is_left = await self._delete_portion(removal)
                    await asyncio.sleep(_PAUSE_S)

    async def _delete_portion(self, removal: MessageRemoval) -> bool:
        """Delete some messages, else some reactions, else some votes; return whether there may be more."""
        events: list[CityEvent] = []
        async with self.database.transaction() as tx:
            room, described = await tx.rooms.lock_any(removal.room), self.identities.describe(removal.user)
            # After the lock, which an erasure takes before it forgets one of the two.
            current = await tx.message_removals.current(removal)
            if current is None:
                return False
            is_left, removal = False, current
            if room is not None and not isinstance(described, ServiceUser):
                author = Author(*described, display_name="")
                by = (await self.members.author(tx, room.id, removal.by) if removal.by else None) or author
                # One kind after the other: the query for reactions reads every message of the room.
                is_left = (
                    await self._delete_messages(tx, removal, author, by, events)
                    or await self._delete_reactions(tx, removal, author, room, events)
                    or await self._delete_votes(tx, removal, author, by, room, events)
                )
            if not is_left:
                await tx.message_removals.end(removal)
        publish_all(self.publish, events)
        return is_left

    async def _delete_messages(
        self, tx: Transaction, removal: MessageRemoval, author: Author, by: Author, events: list[CityEvent]
    ) -> bool:
        found = await tx.message_removals.messages(removal, author, limit=PORTION)
        for each in found:
            if (message := await tx.messages.get(each)) is not None:
                events += await self.edits.receive_deletion(tx, message, by)
        return bool(found)

    async def _delete_reactions(
        self, tx: Transaction, removal: MessageRemoval, author: Author, room: Room, events: list[CityEvent]
    ) -> bool:
        found = await tx.message_removals.reactions(removal, author, limit=PORTION)
        for each in found:
            if (reaction := await tx.reactions.get(each)) is not None:
                stored = await self.reactions.receive_removal(tx, room, reaction)
                events += [stored] if stored is not None else []
        return bool(found)

    async def _delete_votes(
        self, tx: Transaction, removal: MessageRemoval, author: Author, by: Author, room: Room, events: list[CityEvent]
    ) -> bool:
        found = await tx.message_removals.votes(removal, author, limit=PORTION)
        for each in found:
            if (response := await tx.poll_responses.get(each)) is not None:
                events += await self.polls.receive_removal(tx, room, response, by)
        return bool(found)
