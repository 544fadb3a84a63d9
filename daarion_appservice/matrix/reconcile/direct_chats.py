"""Direct chats: a Matrix user invites the ghosts of agents, which join and reply to messages there.

    invitation ─► a pending room, hidden in the city ─► the ghosts join ─► messages since the invitation ─► linked
                                                             └─ encrypted, and encryption is off: a ghost sends a notice

To the rest of the city a direct chat is a room: the inbox and the outbox treat it like any other. One of its agents is
the reader, as whose ghost the service makes its requests; another agent becomes the reader when that one leaves. If
others can read the chat, or it has several agents, an agent replies only to messages that mention it or reply to it, as
in city rooms. When its last agent leaves, the chat is closed; when only agents are left, all of them leave.

In an encrypted chat the ghosts have devices (``matrix.encryption``): events are decrypted in ``inbound.dispatch`` and
encrypted by the outbound worker. Where encryption is off, or the homeserver takes no keys, the notice says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from ...city.agents import AgentDirectory
from ...city.chat_departures import ChatDepartures
from ...city.event_fields import ENCRYPTED, Event, content_of, is_message_or_change, text, type_of
from ...city.events import ChatReadersChanged, DirectChatChanged, OutboxChanged
from ...city.identity import Identities
from ...city.messages import Draft, Messages
from ...city.ports import NewId, NowMs, Publish, publish_all
from ...city.types import (
    AgentSlug,
    Author,
    AuthorKind,
    CitizenId,
    HistoryVisibility,
    MatrixRoomId,
    MatrixStatus,
    OutboxKind,
    Room,
    RoomId,
    UserId,
    citizen_subject,
)
from ...errors import CityError, DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.worker import Worker
from ...storage.database import Database, Transaction
from ...storage.direct_chats import ChatAgentState
from ...storage.inbox import ReceivedEvent
from ..client.homeserver import Homeserver
from ..client.inbox_events import inbox_event
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_unregistered
from ..client.room_rules import read_rules, stored_levels
from ..encryption.chats import EncryptedChats
from ..encryption.support import UNREADABLE
from ..ghosts.ghosts import Ghosts
from ..inbound.direct_chats import NO_SUCH_AGENT, display_names
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
_FIRST: Final = RoomId("")
"""A value below all ids of chats."""
_READ_AGAIN: Final = 2 * _CONCURRENCY
"""Maximum number of chats of an earlier version of the service that are read again at once."""
_RETENTION_MS: Final = 2 * _MAX_RETRY_MS
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
        encrypted_chats: EncryptedChats,
        publish: Publish,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._agents = agents
        self._messages = messages
        self._identities = identities
        self._inbound = inbound
        self._encrypted_chats = encrypted_chats
        self._publish = publish
        self._now_ms = now_ms
        self._new_id = new_id
        self._departures = ChatDepartures(identities, new_id)
        self._read_again: RoomId | None = _FIRST
        """The last chat that was marked to be read again, in the order of ids; None after all of them."""
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
        self._read_again = _FIRST
        async with asyncio.TaskGroup() as tasks:
            await self._worker.run(partial(self._start_due, tasks))

    async def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        """Start tasks for the chats that are due; limit those of one inviter, which must not delay the others'."""
        now_ms = self._now_ms()
        self._retries = {chat: retry for chat, retry in self._retries.items() if retry.due_ms + _RETENTION_MS > now_ms}
        waiting = [chat for chat, retry in self._retries.items() if retry.due_ms > now_ms]
        async with self._database.read_only() as tx:
            chats = await tx.direct_chats.pending(exclude=[*self._running, *waiting], limit=_BATCH)
        for chat in chats:
            running_of_inviter = [inviter for inviter in self._running.values() if inviter == chat.name]
            if len(self._running) < _CONCURRENCY and len(running_of_inviter) < _CONCURRENCY_PER_USER:
                self._running[chat.id] = chat.name
                tasks.create_task(self._reconcile_isolated(chat))
        if not self._running and self._read_again is not None:
            await self._mark_to_read_again(self._read_again)

    async def _mark_to_read_again(self, after: RoomId) -> None:
        """Mark the next chats that an earlier version linked, while no others wait: a few, which delay new invitations."""
        async with self._database.transaction() as tx:
            self._read_again = await tx.direct_chats.read_again(after=after, limit=_READ_AGAIN)
        self._worker.wake()

    async def _reconcile_isolated(self, chat: Room) -> None:
        assert chat.matrix_room_id is not None
        try:
            # New messages wait for the earlier ones, which the ghost reads after its join.
            async with self._inbound.paused(chat.matrix_room_id):
                await self._reconcile(chat)
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
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
            await self._give_up(chat, error)
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
        """Join the agents, read the messages since the invitation, and link the chat; close it if it is over."""
        assert chat.matrix_room_id is not None
        async with self._database.read_only() as tx:
            agents = await tx.direct_chats.agents(chat.id)
        if len(agents) > 1:
            async with self._database.transaction() as tx:
                await tx.direct_chats.mark_group(chat.id)
        joins = [await self._join(chat.matrix_room_id, slug) for slug in agents]
        joined = [join.agent for join in joins if join.is_joined]
        errors = [join.error for join in joins if join.error is not None]
        gone = [join.agent for join in joins if not join.is_joined and join.error is None]
        if joined:
            # The service reads as the same agent as before as long as that one is there.
            reader = chat.agent if chat.agent in joined else joined[0]
            await self._link(chat, reader, joined, gone)
        elif not errors:
            # The invitations were withdrawn, or the ghosts were kicked: a new invitation opens the chat again.
            log.info("direct_chat_closed", agent=chat.agent, room=chat.matrix_room_id)
            await self._close(chat)
        if errors:
            raise errors[0]

    async def _join(self, matrix_room: MatrixRoomId, slug: AgentSlug) -> _Join:
        """Join an agent's ghost; a refusal must not stop the other agents of the chat."""
        ghost, agent = self._identities.agent(slug), self._agents.get(slug)
        try:
            if agent is None:
                await self._decline(matrix_room, ghost)
                return _Join(slug)
            await self._ghosts.ensure(ghost, self._ghosts.profiles.agent(agent))
            await self._ghosts.ensure_device(ghost)
            await self._encrypted_chats.ensure_device(ghost)
            return await self._join_registered(matrix_room, slug)
        except HomeserverRefused as error:
            if is_unregistered(error):
                await self._ghosts.forget(ghost)
            return _Join(slug, error=error)

    async def _join_registered(self, matrix_room: MatrixRoomId, slug: AgentSlug) -> _Join:
        try:
            await self._homeserver.join(matrix_room, as_user=self._identities.agent(slug))
        except HomeserverRefused as error:
            if is_unregistered(error) or error.status not in _NOT_ACCESSIBLE:
                raise
            # The invitation was withdrawn, or the ghost was kicked.
            return _Join(slug)
        return _Join(slug, is_joined=True)

    async def _link(self, chat: Room, reader: AgentSlug, joined: list[AgentSlug], gone: list[AgentSlug]) -> None:
        """Read the chat's members and state as ``reader``, and link it; leave it if only agents are left."""
        matrix_room, ghost = chat.matrix_room_id, self._identities.agent(reader)
        assert matrix_room is not None
        members = await self._homeserver.joined_members(matrix_room, as_user=ghost)
        people = {user: profile for user, profile in members.items() if not self._identities.is_ours(user)}
        if not people:
            for each in members:
                if isinstance(self._identities.describe(each), tuple):  # a ghost of an agent or a citizen
                    await self._homeserver.leave(matrix_room, as_user=each)
            await self._close(chat)
            return
        rules = await read_rules(self._homeserver, matrix_room, as_user=ghost)
        if rules.is_encrypted:
            await self._encrypted_chats.receive_keys(chat)
        others_may_read = rules.join_rule == "public" or rules.visibility is HistoryVisibility.WORLD_READABLE
        events = await self._messages_since_invitation(matrix_room, ghost)
        async with self._database.transaction() as tx:
            await tx.inbox_order.reorder(matrix_room, events, now_ms=self._now_ms())
            await tx.rooms.set_rules(
                chat.id, power_levels=stored_levels(rules.powers), history_visibility=rules.visibility
            )
            await tx.direct_chats.set_reader(chat.id, reader)
            for slug in joined:
                await tx.direct_chats.set_agent(chat.id, slug, ChatAgentState.JOINED)
            for slug in gone:
                await tx.direct_chats.remove_agent(chat.id, slug)
            await tx.direct_chats.set_display_names(chat.id, display_names(people))
            if rules.is_encrypted:
                await tx.rooms.set_encrypted(chat.id)
                # Synapse announces no devices that people made while no agent was in a room with them.
                await tx.encryption_devices.mark_stale(people.keys())
            guests = await self._guests(tx, chat, members)
            is_of_two = len(members.keys() - guests) <= 2 and not others_may_read
            await tx.direct_chats.mark_linked(chat.id, is_group=not is_of_two)
            if is_of_two:
                await self._record_memberships(tx, chat, {*people, *guests})
            readers = frozenset(citizen_subject(each) for each in await tx.direct_chats.linked_citizens(chat.id))
        publish_all(self._publish, [ChatReadersChanged(chat.id, readers), OutboxChanged()])
        agent = self._agents.get(reader)
        if agent is not None and rules.is_encrypted and not self._encrypted_chats.is_active:
            author = Author(AuthorKind.AGENT, agent.slug, agent.display_name)
            draft = Draft(_UNREADABLE, msgtype="m.notice", client_id=UNREADABLE)
            await self._messages.post(author, chat.id, draft)

    async def _guests(self, tx: Transaction, chat: Room, members: Collection[UserId]) -> set[UserId]:
        """Return the ghosts of citizens who are linked with other members; those of others leave."""
        guests = set()
        for ghost in members:
            match self._identities.describe(ghost):
                case (AuthorKind.CITIZEN, citizen):
                    if await tx.accounts.of(CitizenId(citizen)) in members:
                        guests.add(ghost)
                    else:
                        await tx.outbox.add_move(OutboxKind.LEAVE, ghost, chat.id, txn_id=self._new_id())
        return guests

    async def _record_memberships(self, tx: Transaction, chat: Room, joined: Collection[UserId]) -> None:
        """Record membership periods: of those who are joined, and the ends of those who are not.

        Those who were there before the agent are in no event. Where only members may read, they read in the pages from now on.
        """
        current = await tx.rooms.lock_any(chat.id) or chat
        await tx.membership_periods.record_joins(chat.id, dict.fromkeys(joined, current.last_seq + 1))
        gone = [
            user
            for user in await tx.membership_periods.joined_users(chat.id)
            if user not in joined and self._identities.agent_slug(user) is None
        ]
        await tx.membership_periods.end_periods(chat.id, gone, current.last_seq)

    async def _decline(self, matrix_room: MatrixRoomId, ghost: UserId) -> None:
        """Leave the chat, or decline its invitation, as the ghost of a removed agent."""
        try:
            await self._ghosts.ensure_registered(ghost)
            await self._homeserver.leave(matrix_room, as_user=ghost, reason=NO_SUCH_AGENT)
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
            if is_message_or_change(event) or type_of(event) == ENCRYPTED:
                events.append(event)
        return [inbox_event(event) for event in reversed(events)]

    async def _give_up(self, chat: Room, error: Exception | None) -> None:
        """Give up the invitations of a chat with joined agents; close a chat without, or one that cannot be read."""
        log.info("direct_chat_closed", agent=chat.agent, room=chat.matrix_room_id, error=str(error))
        try:
            async with self._database.transaction() as tx:
                current = await tx.rooms.get(chat.id)
                await tx.direct_chats.remove_invited_agents(chat.id)
                is_linked = current is not None and current.matrix_status is MatrixStatus.LINKED
                if not is_linked or not await tx.direct_chats.agents(chat.id):
                    await self._departures.store_for_chat(tx, chat.id)
                    await tx.direct_chats.close(chat.id)
        except DatabaseError as database_error:
            await self._schedule_retry(chat, database_error)
            return
        publish_all(self._publish, [ChatReadersChanged(chat.id), OutboxChanged()])

    async def _close(self, chat: Room) -> None:
        async with self._database.transaction() as tx:
            await self._departures.store_for_chat(tx, chat.id)
            await tx.direct_chats.close(chat.id)
        publish_all(self._publish, [ChatReadersChanged(chat.id), OutboxChanged()])


@dataclass(frozen=True, slots=True)
class _Join:
    """The result of an agent's join; without a join and an error the agent is not invited any more."""

    agent: AgentSlug
    is_joined: bool = False
    error: HomeserverRefused | None = None


@dataclass(frozen=True, slots=True)
class _Retry:
    attempts: int
    due_ms: int


def _invites(event: Event, ghost: UserId) -> bool:
    return text(event, "state_key") == ghost and text(content_of(event), "membership") == "invite"
