"""Unfinished removals of the messages of users who were banned or kicked together with them (MSC4293)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Table, select

from ..city.data_subjects import DataSubject
from ..city.types import Author, MessageId, ReactionId, RoomId, UserId
from .key_values import KeyValueRepository
from .repository import Repository
from .tables import messages, poll_responses, reactions


@dataclass(frozen=True, slots=True)
class MessageRemoval:
    """The messages, reactions and votes of a user in a room, up to the ban or kick."""

    room: RoomId
    user: UserId
    by: UserId | None
    """The moderator; None after an erasure of the moderator."""
    last_seq: int
    """The room's last sequence number at the ban or kick."""
    at_ms: int
    """When the ban or kick was received, in milliseconds since 1970: later reactions and votes are not deleted."""


class MessageRemovalRepository(Repository):
    """Unfinished removals in the table ``key_values``, and the messages, reactions and votes that they delete."""

    async def begin(self, removal: MessageRemoval) -> None:
        """Store that messages are to be deleted, until `end`."""
        value = orjson.dumps(asdict(removal)).decode()
        await KeyValueRepository(self._connection).begin_message_removal(removal.room, removal.user, value)

    async def unfinished(self) -> list[MessageRemoval]:
        found = await KeyValueRepository(self._connection).unfinished_message_removals()
        return [MessageRemoval(**orjson.loads(each)) for each in found]

    async def end(self, removal: MessageRemoval) -> None:
        """Store that nothing is left to delete, unless a later ban of the same user asks for more."""
        value = orjson.dumps(asdict(removal)).decode()
        await KeyValueRepository(self._connection).end_message_removal(removal.room, removal.user, value)

    async def current(self, removal: MessageRemoval) -> MessageRemoval | None:
        """Return what is stored of a removal now; None if it is finished, or ended with an erasure."""
        stored = await KeyValueRepository(self._connection).message_removal(removal.room, removal.user)
        return None if stored is None else MessageRemoval(**orjson.loads(stored))

    async def forget(self, removal: MessageRemoval, data_subject: DataSubject) -> None:
        """End the removal if the data subject's messages are meant: the erasure deletes them. Else forget the moderator."""
        if removal.user in data_subject.users:
            await self.end(removal)
        elif removal.by in data_subject.users:
            await self.begin(replace(removal, by=None))

    async def messages(self, removal: MessageRemoval, author: Author, *, limit: int) -> list[MessageId]:
        """Return messages to delete, newest first."""
        table = messages.c
        is_meant = (table.room_id == removal.room, table.seq <= removal.last_seq, ~table.deleted)
        found = select(table.id).where(*is_meant, *_by(messages, author)).order_by(table.seq.desc()).limit(limit)
        return [MessageId(each) for each in await self._connection.scalars(found)]

    async def reactions(self, removal: MessageRemoval, author: Author, *, limit: int) -> list[ReactionId]:
        """Return reactions to delete."""
        found = _attached(reactions, removal, author).where(~reactions.c.removed).limit(limit)
        return [ReactionId(each) for each in await self._connection.scalars(found)]

    async def votes(self, removal: MessageRemoval, author: Author, *, limit: int) -> list[str]:
        """Return votes, and ends of polls, to delete, also those that are not on Matrix yet."""
        found = _attached(poll_responses, removal, author).limit(limit)
        return list(await self._connection.scalars(found))


def _attached(table: Table, removal: MessageRemoval, author: Author) -> Select[Any]:
    is_of_room = (messages.c.room_id == removal.room, table.c.at_ms <= removal.at_ms)
    joined = select(table.c.id).join_from(table, messages, messages.c.id == table.c.message_id)
    return joined.where(*is_of_room, *_by(table, author)).order_by(table.c.id)


def _by(table: Table, author: Author) -> tuple[ColumnElement[bool], ...]:
    return table.c.author_kind == author.kind, table.c.author_id == author.id
