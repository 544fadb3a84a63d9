"""The Matrix rooms in which the bot answers commands, and the commands that it has yet to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, update

from ..city.bot_commands import BotCommand, Language
from ..city.types import EventId, MatrixRoomId, UserId
from .repository import Repository
from .row_mapper import RowMapper
from .tables import bot_chats, bot_requests
from .upsert import insert


@dataclass(frozen=True, slots=True)
class BotChat:
    """A Matrix room to which a Matrix user invited the bot as to a direct chat."""

    matrix_room_id: MatrixRoomId
    inviter: UserId
    is_checked: bool = False
    """Whether the bot has joined, and its members were counted since the last change."""
    is_group: bool = False
    """Whether there are others than the bot and one person: the bot answers only when mentioned."""


@dataclass(frozen=True, slots=True)
class BotRequest:
    """A command that the bot has yet to answer."""

    event_id: EventId
    matrix_room_id: MatrixRoomId
    sender: UserId
    command: BotCommand
    language: Language
    created_at_ms: int
    attempts: int = 0
    retry_at_ms: int = 0
    is_done: bool = False


_chat: Final = RowMapper(BotChat)
_request: Final = RowMapper(BotRequest)


class BotChatRepository(Repository):
    """The tables ``bot_chats`` and ``bot_requests``."""

    async def get(self, matrix_room: MatrixRoomId) -> BotChat | None:
        row = (
            await self._connection.execute(select(bot_chats).where(bot_chats.c.matrix_room_id == matrix_room))
        ).first()
        return _chat(row) if row else None

    async def put(self, chat: BotChat) -> None:
        """Store a chat, or replace the stored one."""
        values = _chat.values(chat)
        await self._connection.execute(
            insert(self._connection, bot_chats)
            .values(values)
            .on_conflict_do_update(index_elements=[bot_chats.c.matrix_room_id], set_=values)
        )

    async def remove(self, matrix_room: MatrixRoomId) -> None:
        """Remove a chat that the bot left or was not able to join, with its requests."""
        for table in (bot_chats, bot_requests):
            await self._connection.execute(delete(table).where(table.c.matrix_room_id == matrix_room))

    async def unchecked(self, *, limit: int) -> list[BotChat]:
        """Return chats that the bot has to join, or whose members it has to count."""
        rows = await self._connection.execute(select(bot_chats).where(~bot_chats.c.is_checked).limit(limit))
        return [_chat(row) for row in rows]

    async def count_unchecked(self, inviter: UserId) -> int:
        found = await self._connection.scalar(
            select(func.count()).where(bot_chats.c.inviter == inviter, ~bot_chats.c.is_checked)
        )
        return int(found or 0)

    # --- requests -------------------------------------------------------------------------------------

    async def add_request(self, request: BotRequest) -> None:
        """Store a command; one of the same event is not changed."""
        await self._connection.execute(
            insert(self._connection, bot_requests).values(_request.values(request)).on_conflict_do_nothing()
        )

    async def count_requests(self, sender: UserId, *, since_ms: int) -> int:
        """Return how many commands a Matrix user has given since a time, the answered ones included."""
        found = await self._connection.scalar(
            select(func.count()).where(bot_requests.c.sender == sender, bot_requests.c.created_at_ms >= since_ms)
        )
        return int(found or 0)

    async def due(self, *, now_ms: int, limit: int) -> list[BotRequest]:
        """Return the commands to answer in chats that the bot has joined, oldest first."""
        rows = await self._connection.execute(
            select(bot_requests)
            .join(bot_chats, bot_chats.c.matrix_room_id == bot_requests.c.matrix_room_id)
            .where(~bot_requests.c.is_done, bot_requests.c.retry_at_ms <= now_ms, bot_chats.c.is_checked)
            .order_by(bot_requests.c.created_at_ms, bot_requests.c.event_id)
            .limit(limit)
        )
        return [_request(row) for row in rows]

    async def mark_done(self, event_id: EventId) -> None:
        await self._connection.execute(
            update(bot_requests).where(bot_requests.c.event_id == event_id).values(is_done=True)
        )

    async def postpone(self, event_id: EventId, *, retry_at_ms: int) -> None:
        """Count a failed attempt; the next one is due at ``retry_at_ms``."""
        await self._connection.execute(
            update(bot_requests)
            .where(bot_requests.c.event_id == event_id)
            .values(retry_at_ms=retry_at_ms, attempts=bot_requests.c.attempts + 1)
        )

    async def remove_answered(self, *, before_ms: int) -> None:
        """Delete answered commands that no rate limit counts any more."""
        await self._connection.execute(
            delete(bot_requests).where(bot_requests.c.is_done, bot_requests.c.created_at_ms < before_ms)
        )
