"""Direct chats: a Matrix user invites an agent's ghost, which joins and replies to each message there.

    invitation ─► a pending room, hidden in the city ─► the ghost joins ─► messages since the invitation ─► linked
                                                             └─ encrypted: the ghost sends a notice

To the rest of the city a direct chat is a room: the inbox and the outbox treat it like any other. If others can read
it, the agent replies only to messages that mention it or reply to it, as in city rooms. End-to-end encryption would
replace the notice and nothing else: events are read in ``inbound.dispatch`` and written by the outbound worker.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from ...city.agents import AgentDirectory
from ...city.event_fields import Event, content_of, is_said, text, type_of
from ...city.events import DirectChatChanged
from ...city.identity import Identities
from ...city.messages import Draft, Messages
from ...city.ports import NowMs
from ...city.types import Author, AuthorKind, HistoryVisibility, MatrixRoomId, Room, RoomId, UserId
from ...errors import CityError, DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.worker import Worker
from ...storage.database import Database
from ...storage.inbox import ReceivedEvent
from ..client.homeserver import Homeserver
from ..client.inbox_events import inbox_event
from ..client.monitor import HomeserverMonitor
from ..client.room_rules import is_encryption, join_rule, visibility_in
from ..ghosts.ghosts import Ghosts
from ..inbound.direct_chats import NO_SUCH_AGENT, UNREADABLE
from ..inbound.worker import InboundWorker

_PAGE: Final = 50
"""Maximum number of events from before the ghost's join that are read."""
_CONCURRENCY: Final = 16
_CONCURRENCY_PER_USER: Final = 4
"""Maximum number of invitations of one Matrix user that are handled at the same time."""
_BATCH: Final = 200
_POLL_S: Final = 2.0
"""Seconds between two reads of the pending chats, among which may be one whose retry is due."""
_RETRY_MS: Final = 2_000
"""Milliseconds until the first retry, doubled each time."""
_MAX_RETRY_MS: Final = 3_600_000
_MAX_ATTEMPTS: Final = 30
"""With the delays above most of a day."""
_FORGET_MS: Final = 2 * _MAX_RETRY_MS
_NOT_ACCESSIBLE: Final = frozenset({403, 404})
_UNREADABLE: Final = (
    "Я не можу читати зашифровані чати. Щоб поговорити зі мною, створіть кімнату без шифрування (в Element: «Нова кімната», "
    "приватна, вимкніть наскрізне шифрування) і запросіть мене туди, або згадайте мене в кімнаті міста.\n\n"
    "I cannot read encrypted chats. To talk with me, create a room without encryption (in Element: New room, private, turn "
    "off end-to-end encryption) and invite me there, or mention me in a room of the city."
)

log = structlog.get_logger()


class DirectChats:
    """Joins ghosts to the direct chats that they are invited to, and leaves those that are over."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        agents: AgentDirectory,
        messages: Messages,
        identities: Identities,
        inbound: InboundWorker,
        now_ms: NowMs,
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._agents = agents
        self._messages = messages
        self._identities = identities
        self._inbound = inbound
        self._now_ms = now_ms
        self._worker = Worker("direct_chats", idle_s=_POLL_S, monitor=monitor)
        self._running: dict[RoomId, str] = {}
        """The chats that are being reconciled, with the user id of the inviter."""
        self._retries: dict[RoomId, _Retry] = {}
        """The chats that failed, with their next attempt."""

    def wake(self, changed: DirectChatChanged) -> None:
        """Reconcile a chat now: its membership or encryption has changed."""
        self._retries.pop(changed.chat, None)
        self._worker.wake()

    async def run(self) -> None:
        """Reconcile pending chats until cancelled. Can be called again."""
        self._running.clear()
        async with asyncio.TaskGroup() as tasks:
            await self._worker.run(partial(self._start_due, tasks))

    async def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        """Start tasks for the chats that are due; limit those of one inviter, which must not delay the others'."""
        now_ms = self._now_ms()
        self._retries = {chat: retry for chat, retry in self._retries.items() if retry.due_ms + _FORGET_MS > now_ms}
        waiting = [chat for chat, retry in self._retries.items() if retry.due_ms > now_ms]
        async with self._database.reading() as tx:
            chats = await tx.direct_chats.pending(exclude=[*self._running, *waiting], limit=_BATCH)
        for chat in chats:
            running_of_inviter = [inviter for inviter in self._running.values() if inviter == chat.name]
            if len(self._running) < _CONCURRENCY and len(running_of_inviter) < _CONCURRENCY_PER_USER:
                self._running[chat.id] = chat.name
                tasks.create_task(self._reconcile_isolated(chat))

    async def _reconcile_isolated(self, chat: Room) -> None:
        assert chat.matrix_room_id is not None
        try:
            # New messages wait for the earlier ones, which the ghost reads after its join.
            async with self._inbound.paused(chat.matrix_room_id):
                await self._reconcile(chat)
        except HomeserverUnavailable as error:
            self._monitor.lost(error)
            await self._schedule_retry(chat, error)
        except (HomeserverRefused, CityError, DatabaseError) as error:
            await self._schedule_retry(chat, error)
        except Exception:
            # An unexpected error must not stop the other chats.
            log.exception("direct_chat_failed", agent=chat.agent)
            await self._schedule_retry(chat, None)
        else:
            self._retries.pop(chat.id, None)
        finally:
            del self._running[chat.id]
            self._worker.wake()

    async def _schedule_retry(self, chat: Room, error: Exception | None) -> None:
        previous = self._retries.get(chat.id)
        attempts = previous.attempts + 1 if previous else 1
        if attempts >= _MAX_ATTEMPTS:
            await self._close_unreachable(chat, error)
            return
        pause_ms = min(_RETRY_MS * 2 ** (attempts - 1), _MAX_RETRY_MS)
        self._retries[chat.id] = _Retry(attempts, self._now_ms() + pause_ms)
        if error is not None:
            log.warning(
                "direct_chat_check_failed",
                agent=chat.agent,
                error=str(error),
                help=f"trying again in {pause_ms // 1000} s",
            )

    async def _reconcile(self, chat: Room) -> None:
        """Join the ghost, read the messages since the invitation, and link the chat; close it if it is over."""
        agent = self._agents.get(chat.agent) if chat.agent else None
        assert chat.matrix_room_id is not None
        ghost = self._identities.service_user(chat)
        if agent is None:
            await self._decline(chat, ghost)
            await self._close(chat)
            return
        await self._ghosts.ensure(ghost, self._ghosts.profiles.agent(agent))
        await self._ghosts.ensure_device(ghost)
        try:
            await self._homeserver.join(chat.matrix_room_id, as_user=ghost)
        except HomeserverRefused as error:
            if error.status not in _NOT_ACCESSIBLE:
                raise
            # The invitation was withdrawn, or the ghost was kicked: a new invitation opens the chat again.
            await self._close_unreachable(chat, error)
            return
        joined = await self._homeserver.joined_members(chat.matrix_room_id, as_user=ghost)
        if len(joined) < 2:
            await self._homeserver.leave(chat.matrix_room_id, as_user=ghost)
            await self._close(chat)
            return
        state = partial(self._homeserver.state, chat.matrix_room_id, as_user=ghost)
        encryption, rule = await state("m.room.encryption"), await state("m.room.join_rules")
        visibility = visibility_in(await state("m.room.history_visibility") or {})
        others_may_read = join_rule(rule or {}) == "public" or visibility is HistoryVisibility.WORLD_READABLE
        events = await self._messages_since_invitation(chat.matrix_room_id, ghost)
        async with self._database.transaction() as tx:
            await tx.inbox_order.put_in_order(chat.matrix_room_id, events, now_ms=self._now_ms())
            await tx.rooms.governed(chat.id, history_visibility=visibility)
            await tx.direct_chats.mark_linked(chat.id, is_group=len(joined) > 2 or others_may_read)
        if is_encryption(encryption or {}):
            author = Author(AuthorKind.AGENT, agent.slug, agent.display_name)
            draft = Draft(_UNREADABLE, msgtype="m.notice", client_id=UNREADABLE)
            await self._messages.post(author, chat.id, draft)

    async def _decline(self, chat: Room, ghost: UserId) -> None:
        """Leave the chat, or decline its invitation, as the ghost of a removed agent."""
        assert chat.matrix_room_id is not None
        try:
            await self._ghosts.ensure_registered(ghost)
            await self._homeserver.leave(chat.matrix_room_id, as_user=ghost, reason=NO_SUCH_AGENT)
        except HomeserverRefused as error:
            if error.status not in _NOT_ACCESSIBLE:
                raise

    async def _messages_since_invitation(self, matrix_room: MatrixRoomId, ghost: UserId) -> list[ReceivedEvent]:
        """Return the messages between the invitation and the join of the ghost, oldest first."""
        page, _ = await self._homeserver.messages_before(matrix_room, None, limit=_PAGE, as_user=ghost)
        events: list[Any] = []
        for event in page:
            if type_of(event) == "m.room.member" and _invites(event, ghost):
                break
            if is_said(event):
                events.append(event)
        return [inbox_event(event) for event in reversed(events)]

    async def _close_unreachable(self, chat: Room, error: Exception | None) -> None:
        log.info("direct_chat_closed", agent=chat.agent, room=chat.matrix_room_id, error=str(error))
        try:
            await self._close(chat)
        except DatabaseError as database_error:
            await self._schedule_retry(chat, database_error)

    async def _close(self, chat: Room) -> None:
        async with self._database.transaction() as tx:
            await tx.direct_chats.close(chat.id)


@dataclass(frozen=True, slots=True)
class _Retry:
    attempts: int
    due_ms: int


def _invites(event: Event, ghost: UserId) -> bool:
    return text(event, "state_key") == ghost and text(content_of(event), "membership") == "invite"
