"""The bot's chats: joins the bot to direct chats that it is invited to, and answers each command there once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from ...city.identity import Identities
from ...city.ports import NowMs
from ...errors import HomeserverRefused
from ...realtime.worker import Worker
from ...storage.bot_chats import BotChat, BotRequest
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.room_rules import join_rule
from ..ghosts.ghosts import Ghosts
from .bot_answers import BotAnswers

_BATCH: Final = 50
_POLL_S: Final = 10.0
_RETRY_MS: Final = 30_000
_MAX_ATTEMPTS: Final = 5
_NOT_ACCESSIBLE: Final = frozenset({403, 404})
_RETENTION_MS: Final = 3_600_000
"""How long answered commands are kept, in ms; the rate limit counts those of the last minute."""

log = structlog.get_logger()


@dataclass
class BotChats:
    """Joins and answers for as long as this process is the leader."""

    database: Database
    homeserver: Homeserver
    monitor: HomeserverMonitor
    ghosts: Ghosts
    answers: BotAnswers
    identities: Identities
    now_ms: NowMs
    _worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        self._worker = Worker("bot_chats", idle_s=_POLL_S, monitor=self.monitor)

    def wake(self) -> None:
        """Join new chats and answer new commands now."""
        self._worker.wake()

    async def run(self) -> None:
        """Work until cancelled. Can be called again."""
        await self._worker.run(self._step)

    async def _step(self) -> None:
        async with self.database.read_only() as tx:
            chats = await tx.bot_chats.unchecked(limit=_BATCH)
        for chat in chats:
            try:
                await self._check(chat)
            except HomeserverRefused as error:
                log.warning("bot_chat_check_failed", room=chat.matrix_room_id, error=str(error), help="trying again")
        async with self.database.read_only() as tx:
            requests = await tx.bot_chats.due(now_ms=self.now_ms(), limit=_BATCH)
        for request in requests:
            await self._answer(request)
        if requests:
            async with self.database.transaction() as tx:
                await tx.bot_chats.remove_answered(before_ms=self.now_ms() - _RETENTION_MS)
        if len(requests) == _BATCH:
            self._worker.wake()

    async def _check(self, chat: BotChat) -> None:
        """Join the chat and count its members; leave it when no one else is there."""
        room, bot = chat.matrix_room_id, self.identities.bot
        try:
            await self.homeserver.join(room, as_user=bot)
            members = await self.homeserver.joined_members(room, as_user=bot)
        except HomeserverRefused as error:
            if error.status not in _NOT_ACCESSIBLE:
                raise
            async with self.database.transaction() as tx:
                await tx.bot_chats.remove(room)
            return
        if len(members) < 2:
            await self.homeserver.leave(room, as_user=bot)
            async with self.database.transaction() as tx:
                await tx.bot_chats.remove(room)
            return
        rule = await self.homeserver.state(room, "m.room.join_rules", as_user=bot)
        is_group = len(members) > 2 or join_rule(rule or {}) == "public"
        async with self.database.transaction() as tx:
            if await tx.bot_chats.get(room) == chat:  # else its members have changed meanwhile
                await tx.bot_chats.put(replace(chat, is_checked=True, is_group=is_group))

    async def _answer(self, request: BotRequest) -> None:
        bot = self.identities.bot
        content = await self.answers.content(request)
        # A repeated request after a crash has the same transaction id, so that Synapse sends no second event.
        txn_id = f"bot{hashlib.sha256(request.event_id.encode()).hexdigest()[:40]}"
        try:
            await self.homeserver.send(
                request.matrix_room_id,
                "m.room.message",
                txn_id,
                content,
                as_user=bot,
                with_device=self.ghosts.has_device(bot),
            )
        except HomeserverRefused as error:
            is_over = error.status in _NOT_ACCESSIBLE or request.attempts + 1 >= _MAX_ATTEMPTS
            log.warning("bot_answer_failed", room=request.matrix_room_id, error=str(error), given_up=is_over)
            if not is_over:
                async with self.database.transaction() as tx:
                    await tx.bot_chats.postpone(request.event_id, retry_at_ms=self.now_ms() + _RETRY_MS)
                return
        async with self.database.transaction() as tx:
            await tx.bot_chats.mark_done(request.event_id)
