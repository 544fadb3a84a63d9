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
from ...city.event_fields import SAID, Event, content_of, text, type_of
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
from ..ghosts.ghosts import Ghosts, profile_of
from ..inbound.direct_chats import NO_SUCH_AGENT, UNREADABLE
from ..inbound.worker import InboundWorker

_PAGE: Final = 50
"""Maximum number of events from before the ghost's join that are read."""
_AT_ONCE: Final = 16
_OF_ONE: Final = 4
"""Maximum number of invitations of one Matrix user that are handled at the same time."""
_BATCH: Final = 200
_LOOK_S: Final = 2.0
"""Seconds between two reads of the pending chats, among which may be one whose retry is due."""
_RETRY_MS: Final = 2_000
"""Milliseconds until the first retry, doubled each time."""
_LONGEST_RETRY_MS: Final = 3_600_000
_MAX_ATTEMPTS: Final = 30
"""With the delays above most of a day."""
_FORGET_MS: Final = 2 * _LONGEST_RETRY_MS
_GONE: Final = frozenset({403, 404})
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
        self._worker = Worker("direct_chats", idle_s=_LOOK_S, monitor=monitor)
        self._busy: dict[RoomId, str] = {}
        """The chats that are being reconciled, with the user id of the inviter."""
        self._put_off: dict[RoomId, _Later] = {}
        """The chats that failed, with their next attempt."""

    def wake(self, changed: DirectChatChanged) -> None:
        """Reconcile a chat now: its membership or encryption has changed."""
        self._put_off.pop(changed.chat, None)
        self._worker.wake()

    async def run(self) -> None:
        """Reconcile pending chats until cancelled. Can be called again."""
        self._busy.clear()
        async with asyncio.TaskGroup() as tasks:
            await self._worker.run(partial(self._begin, tasks))

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start tasks for the chats that are due; limit those of one inviter, which must not delay the others'."""
        now_ms = self._now_ms()
        self._put_off = {chat: later for chat, later in self._put_off.items() if later.due_ms + _FORGET_MS > now_ms}
        put_off = [chat for chat, later in self._put_off.items() if later.due_ms > now_ms]
        async with self._database.reading() as tx:
            chats = await tx.direct_chats.pending(exclude=[*self._busy, *put_off], limit=_BATCH)
        for chat in chats:
            of_inviter = [inviter for inviter in self._busy.values() if inviter == chat.name]
            if len(self._busy) < _AT_ONCE and len(of_inviter) < _OF_ONE:
                self._busy[chat.id] = chat.name
                tasks.create_task(self._try_to_keep(chat))

    async def _try_to_keep(self, chat: Room) -> None:
        assert chat.matrix_room_id is not None
        try:
            # New messages wait for the earlier ones, which the ghost reads after its join.
            async with self._inbound.holding_back(chat.matrix_room_id):
                await self._keep(chat)
        except HomeserverUnavailable as error:
            self._monitor.lost(error)
            await self._later(chat, error)
        except (HomeserverRefused, CityError, DatabaseError) as error:
            await self._later(chat, error)
        except Exception:
            # An unexpected error must not stop the other chats.
            log.exception("direct_chat_failed", agent=chat.agent)
            await self._later(chat, None)
        else:
            self._put_off.pop(chat.id, None)
        finally:
            del self._busy[chat.id]
            self._worker.wake()

    async def _later(self, chat: Room, error: Exception | None) -> None:
        known = self._put_off.get(chat.id)
        attempts = known.attempts + 1 if known else 1
        if attempts >= _MAX_ATTEMPTS:
            await self._over(chat, error)
            return
        pause_ms = min(_RETRY_MS * 2 ** (attempts - 1), _LONGEST_RETRY_MS)
        self._put_off[chat.id] = _Later(attempts, self._now_ms() + pause_ms)
        if error is not None:
            log.warning(
                "direct_chat_check_failed",
                agent=chat.agent,
                error=str(error),
                help=f"trying again in {pause_ms // 1000} s",
            )

    async def _keep(self, chat: Room) -> None:
        """Join the ghost, read the messages since the invitation, and link the chat; close it if it is over."""
        agent = self._agents.get(chat.agent) if chat.agent else None
        assert chat.matrix_room_id is not None
        ghost = self._identities.service_user(chat)
        if agent is None:
            await self._decline(chat, ghost)
            await self._close(chat)
            return
        await self._ghosts.ensure(ghost, profile_of(agent))
        await self._ghosts.ensure_device(ghost)
        try:
            await self._homeserver.join(chat.matrix_room_id, as_user=ghost)
        except HomeserverRefused as error:
            if error.status not in _GONE:
                raise
            # The invitation was withdrawn, or the ghost was kicked: a new invitation opens the chat again.
            await self._over(chat, error)
            return
        there = await self._homeserver.joined_members(chat.matrix_room_id, as_user=ghost)
        if len(there) < 2:
            await self._homeserver.leave(chat.matrix_room_id, as_user=ghost)
            await self._close(chat)
            return
        state = partial(self._homeserver.state, chat.matrix_room_id, as_user=ghost)
        encryption, rule = await state("m.room.encryption"), await state("m.room.join_rules")
        visibility = visibility_in(await state("m.room.history_visibility") or {})
        others_may_read = join_rule(rule or {}) == "public" or visibility is HistoryVisibility.WORLD_READABLE
        said = await self._said_since_invitation(chat.matrix_room_id, ghost)
        async with self._database.transaction() as tx:
            await tx.inbox_order.put_in_order(chat.matrix_room_id, said, now_ms=self._now_ms())
            await tx.rooms.governed(chat.id, history_visibility=visibility)
            await tx.direct_chats.mark_linked(chat.id, is_group=len(there) > 2 or others_may_read)
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
            if error.status not in _GONE:
                raise

    async def _said_since_invitation(self, matrix_room: MatrixRoomId, ghost: UserId) -> list[ReceivedEvent]:
        """Return the messages between the invitation and the join of the ghost, oldest first."""
        page, _ = await self._homeserver.messages_before(matrix_room, None, limit=_PAGE, as_user=ghost)
        said: list[Any] = []
        for event in page:
            if type_of(event) == "m.room.member" and _invites(event, ghost):
                break
            if type_of(event) in SAID:
                said.append(event)
        return [inbox_event(event) for event in reversed(said)]

    async def _over(self, chat: Room, error: Exception | None) -> None:
        log.info("direct_chat_closed", agent=chat.agent, room=chat.matrix_room_id, error=str(error))
        try:
            await self._close(chat)
        except DatabaseError as away:
            await self._later(chat, away)

    async def _close(self, chat: Room) -> None:
        async with self._database.transaction() as tx:
            await tx.direct_chats.close(chat.id)


@dataclass(frozen=True, slots=True)
class _Later:
    attempts: int
    due_ms: int


def _invites(event: Event, ghost: UserId) -> bool:
    return text(event, "state_key") == ghost and text(content_of(event), "membership") == "invite"
