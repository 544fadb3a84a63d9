"""Delivery of one outbox entry: sends it as its author's ghost, records the result, and retries it or gives it up.

An entry is sent again when a retry can help and given up otherwise, so that an entry that Matrix never accepts does not
block its room. Failures that concern the service or the whole room do not count as attempts of the entry.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from ...city.agents import AgentDirectory
from ...city.delivery_errors import DeliveryError
from ...city.event_fields import ENCRYPTED
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.second_me import is_second_me
from ...city.types import AgentSlug, Author, AuthorKind, EventId, MatrixStatus, Message, OutboxKind, Room, UserId
from ...errors import HomeserverError, HomeserverRefused, HomeserverUnavailable
from ...realtime.message_steps import CLAIMED_MESSAGES, REQUESTED_MESSAGES, Step, observe_step
from ...storage.database import Database, Transaction
from ...storage.outbox import DELETIONS, OutboxRow
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import UNKNOWN_DEVICE, advice, delivery_error
from ..encryption.room_encryptor import ClearEvent, RoomEncryptor, is_to_be_encrypted
from ..ghosts.chat_joins import ChatJoins
from ..ghosts.ghosts import Ghosts
from ..ghosts.profiles import Profile, citizen_profile
from . import retry_delays
from .failures import FailureExamination
from .former_rooms import FormerRooms
from .metrics import COUNTERS, DELAY_SECONDS, SECONDS, SendResult
from .rendering import OutboxRenderer, OutgoingEvent

log = structlog.get_logger()


class OutboxDelivery:
    """Delivers outbox entries, and records each as sent or given up.

    Calls ``on_new_ghost`` for each ghost that it registers, and ``on_activity`` for each ghost that sent an event,
    because some homeservers then show it online.
    """

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        agents: AgentDirectory,
        renderer: OutboxRenderer,
        identities: Identities,
        encryptor: RoomEncryptor,
        former_rooms: FormerRooms,
        publish: Publish,
        now_ms: NowMs,
        *,
        on_new_ghost: Callable[[UserId], None],
        on_activity: Callable[[UserId], None],
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._agents = agents
        self._renderer = renderer
        self._identities = identities
        self._encryptor = encryptor
        self._publish = publish
        self._now_ms = now_ms
        self._on_new_ghost = on_new_ghost
        self._on_activity = on_activity
        self._former_rooms = former_rooms
        self._chat_joins = ChatJoins(database, homeserver, identities)
        self._failures = FailureExamination(homeserver, ghosts, identities)
        self._repaired: set[int] = set()
        """The ids of entries whose sender was registered or joined again because of a refusal."""

    async def deliver(self, entry: OutboxRow) -> int | None:
        """Send one entry or give it up.

        Returns:
            The time of the next attempt (ms since 1970), or None if the entry is done.

        Raises:
            HomeserverUnavailable: the request that examines a refusal got no response.
            DatabaseError: the database is unavailable.
        """
        await self._monitor.wait_up()
        if entry.retry_at_ms > self._now_ms():
            return entry.retry_at_ms
        _record_claimed(entry)
        async with self._database.read_only() as tx:
            room, message = await _read(tx, entry)
            event = await self._renderer.render(tx, entry, room, message)
        reason = _forbidden_reason(event, room, can_encrypt=self._encryptor.is_active)
        if event is None or room is None or reason:
            return await self._drop(entry, event, reason or DeliveryError.REFUSED)
        is_departure = room.agent is not None and event.membership is OutboxKind.LEAVE
        if is_departure and room.matrix_room_id is None:
            return await self._drop(entry, event, DeliveryError.CHAT_OVER)
        if room.matrix_room_id is None or (room.matrix_status is not MatrixStatus.LINKED and not is_departure):
            return self._now_ms() + retry_delays.UNLINKED_MS
        return await self._send(entry, event, room)

    async def _send(self, entry: OutboxRow, event: OutgoingEvent, room: Room) -> int | None:
        began_s = time.perf_counter()
        try:
            event_id = await self._request(event, room, entry.txn_id, is_repaired=entry.id in self._repaired)
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
            await self._monitor.wait_up()
            return await self._retry_unless_isolated(entry, room, error)
        except HomeserverRefused as error:
            return await self._handle_refusal(entry, event, room, error)
        if event_id is None and event.membership is None:
            await self._record_dropped(entry)
            return None
        if event_id is not None:
            self._monitor.expect_echo()
        self._on_activity(event.user(self._identities))
        async with self._database.transaction() as tx:
            changes = await self._renderer.record_sent(tx, entry, event_id)
            await tx.outbox.delete(entry.id)
            if room.encrypted:
                await tx.encrypted_entries.delete(entry.txn_id)
        publish_all(self._publish, changes)
        self._repaired.discard(entry.id)
        _record_sent(entry, began_s)
        return None

    # --- requests -------------------------------------------------------------------------------------

    async def _request(self, event: OutgoingEvent, room: Room, txn_id: str, *, is_repaired: bool) -> EventId | None:
        """Make the requests of an event as its author's ghost, which is registered and joined first.

        Args:
            txn_id: the transaction id; a repeated request with the same id sends no second event.
            is_repaired: whether an earlier attempt was refused and the sender was registered or joined again.

        Returns:
            The event id; None for a join or leave, which has none, and for a change of a message in a former Matrix room.
        """
        assert room.matrix_room_id is not None
        user = event.user(self._identities)
        if (former := await self._former_rooms.find(room, event)) is not None:
            if event.redacts is None:
                return None
            users = [self._identities.bot, *([user] if event.sender is not None else [])]
            return await self._former_rooms.redact(former, event.redacts, txn_id, users=users, edits_by=event.edits_by)
        if event.membership is OutboxKind.LEAVE:
            await self._homeserver.leave(room.matrix_room_id, as_user=user)
            return None
        if event.redacts is not None:
            return await self._redact(event, event.redacts, room, txn_id, is_repaired=is_repaired)
        if event.sender is not None:
            # The city counts a citizen as joined before Synapse does; after a refusal the join is sent again.
            must_join = event.membership is OutboxKind.JOIN or is_repaired
            await self._ensure_member(user, event.sender, room, must_join=must_join)
        if event.membership is OutboxKind.JOIN:
            return None
        event = replace(event, content=await self._former_rooms.without_lost_thread(room, event.content))
        event_type, content = await self._encrypted(event, user, room, txn_id)
        CLAIMED_MESSAGES.end(txn_id)
        REQUESTED_MESSAGES.begin(txn_id)
        return await self._homeserver.send(
            room.matrix_room_id,
            event_type,
            txn_id,
            content,
            as_user=user,
            with_device=self._ghosts.has_device(user),
            ts_ms=event.ts_ms,
        )

    async def _encrypted(
        self, event: OutgoingEvent, user: UserId, room: Room, txn_id: str
    ) -> tuple[str, dict[str, Any]]:
        """Return the type and content to send: the ciphertext in an encrypted chat, the event as it is elsewhere.

        Raises:
            HomeserverRefused: encryption has ended since `deliver` began.
        """
        is_notice = event.is_unreadable_notice and not self._encryptor.is_active
        if is_notice or not is_to_be_encrypted(room, event.event_type):
            return event.event_type, event.content
        clear = ClearEvent(user, room, event.event_type, event.content, txn_id)
        return ENCRYPTED, await self._encryptor.encrypt(clear)

    async def _redact(
        self, event: OutgoingEvent, redacts: EventId, room: Room, txn_id: str, *, is_repaired: bool
    ) -> EventId:
        assert room.matrix_room_id is not None
        user = event.user(self._identities) if event.sender is not None else self._identities.service_user(room)
        # A ghost that left, or was kicked or banned, does not join for a redaction: the service user redacts instead.
        is_member = room.agent is not None or self._ghosts.is_in(user, room)
        service_user = self._identities.service_user(room)
        if not is_member or is_repaired:
            user = service_user
        redact = partial(
            self._homeserver.redact, room.matrix_room_id, as_user=user, with_device=self._ghosts.has_device(user)
        )
        if event.edits_by is not None:
            # Edits are separate events. Redact them first: no query finds the edits of a redacted event.
            edits = await self._homeserver.edits(room.matrix_room_id, redacts, by=event.edits_by, as_user=service_user)
            for edit in edits:
                await redact(edit, f"{txn_id}{edit}")
        return await redact(redacts, txn_id)

    async def _ensure_member(self, user: UserId, sender: Author, room: Room, *, must_join: bool) -> None:
        """Register the author's ghost and join it to the room; the bot invites agents to rooms that they belong to.

        Args:
            must_join: send the join even if the city counts the ghost as a member.
        """
        was_known = self._ghosts.is_known(user)
        await self._ghosts.ensure(user, self._profile(sender))
        await self._ghosts.ensure_device(user)
        if room.agent is None:
            await self._ghosts.ensure_joined(
                user, room, invite=room.is_direct or self._agents.is_assigned_to(sender, room), force=must_join
            )
        elif sender.kind is AuthorKind.CITIZEN:  # An agent joins a direct chat on invitation only.
            await self._chat_joins.ensure_joined(user, room, force=must_join)
        if not was_known:
            self._on_new_ghost(user)

    def _profile(self, author: Author) -> Profile:
        """Return the profile of an author; an agent's display name is the current one of the registry.

        The reconciler sets the avatars of agents.
        """
        if author.kind is AuthorKind.CITIZEN:
            return citizen_profile(self._identities.accounts, author)
        agent = self._agents.get(AgentSlug(author.id))
        return Profile(self._ghosts.profiles.agent_name(agent) if agent else author.display_name)

    # --- refusals -------------------------------------------------------------------------------------

    async def _handle_refusal(
        self, entry: OutboxRow, event: OutgoingEvent, room: Room, error: HomeserverRefused
    ) -> int | None:
        if delay_ms := await self._failures.general_delay_ms(room, error):
            return self._now_ms() + delay_ms
        if error.status >= 500:
            return await self._retry_unless_isolated(entry, room, error)
        if _is_already_done(event, error):
            await self._record_dropped(entry)
            return None
        # Registering or joining the ghost again resolves most of these refusals; a second attempt would not help.
        is_repairable = error.status == 403 or error.errcode == UNKNOWN_DEVICE
        if is_repairable and entry.id not in self._repaired and await self._failures.repair(event, room, error):
            self._repaired.add(entry.id)
            return await self._record_failure(entry, error, retry=True)
        return await self._record_failure(entry, error, retry=False)

    async def _retry_unless_isolated(self, entry: OutboxRow, room: Room, error: HomeserverError) -> int | None:
        """Delay an entry after a failure of the homeserver, without an attempt if other requests for the room fail too."""
        if delay_ms := await self._failures.room_delay_ms(room):
            return self._now_ms() + delay_ms
        return await self._record_failure(entry, error, retry=True)

    # --- results --------------------------------------------------------------------------------------

    async def _record_failure(self, entry: OutboxRow, error: HomeserverError, *, retry: bool) -> int | None:
        """Record a failed attempt; return the time of the next one (ms since 1970), or None if there is none."""
        delay_ms = retry_delays.attempt_delay_ms(entry.attempts + 1) if retry else None
        retry_at_ms = None if delay_ms is None else self._now_ms() + delay_ms
        async with self._database.transaction() as tx:
            # Lock the room first: every writer of a room locks it before it changes the outbox.
            changes = (
                await self._renderer.record_failed(tx, entry, delivery_error(error)) if retry_at_ms is None else []
            )
            await tx.outbox.record_failure(entry.id, str(error), retry_at_ms=retry_at_ms)
            if retry_at_ms is None:
                await tx.encrypted_entries.delete(entry.txn_id)
        publish_all(self._publish, changes)
        if retry_at_ms is None:
            self._repaired.discard(entry.id)
        COUNTERS[entry.kind, SendResult.GIVEN_UP if retry_at_ms is None else SendResult.RETRY].inc()
        level = log.error if retry_at_ms is None else log.warning
        help_ = advice(error)
        level(
            "message_not_sent",
            message_id=entry.message_id,
            what=entry.kind,
            error=str(error),
            given_up=retry_at_ms is None,
            **({"help": help_} if help_ else {}),
        )
        return retry_at_ms

    async def _drop(self, entry: OutboxRow, event: OutgoingEvent | None, error: DeliveryError) -> int | None:
        """Remove an entry that needs no event or must not be sent.

        A deletion whose event has become known meanwhile stays; its retry time is returned.
        """
        if event is not None or entry.kind not in DELETIONS:
            await self._record_dropped(entry, error)
            return None
        async with self._database.transaction() as tx:
            # The handler of the message's own event locks the room too, and adds no second deletion meanwhile.
            await tx.rooms.lock_any(entry.room_id)
            if await self._renderer.render(tx, entry) is not None:
                return self._now_ms()
            await tx.outbox.delete(entry.id)
        return None

    async def _record_dropped(self, entry: OutboxRow, error: DeliveryError = DeliveryError.REFUSED) -> None:
        async with self._database.transaction() as tx:
            changes = await self._renderer.record_dropped(tx, entry, error)
            await tx.outbox.delete(entry.id)
            await tx.encrypted_entries.delete(entry.txn_id)
        publish_all(self._publish, changes)
        self._repaired.discard(entry.id)
        COUNTERS[entry.kind, SendResult.DROPPED].inc()


async def _read(tx: Transaction, entry: OutboxRow) -> tuple[Room | None, Message | None]:
    if entry.message_id is None:
        return await tx.rooms.get(entry.room_id), None
    return await tx.rooms.with_message(entry.room_id, entry.message_id)


def _record_claimed(entry: OutboxRow) -> None:
    if entry.kind is OutboxKind.MESSAGE and not entry.attempts:
        CLAIMED_MESSAGES.begin(entry.txn_id)
        if (created_ms := entry.created_ms) is not None:
            observe_step(Step.CLAIMED, time.time() - created_ms / 1000)


def _record_sent(entry: OutboxRow, began_s: float) -> None:
    COUNTERS[entry.kind, SendResult.SENT].inc()
    SECONDS[entry.kind].observe(time.perf_counter() - began_s)
    if (created_ms := entry.created_ms) is not None:
        DELAY_SECONDS.observe(max(0.0, time.time() - created_ms / 1000))


def _forbidden_reason(
    event: OutgoingEvent | None, room: Room | None, *, can_encrypt: bool = True
) -> DeliveryError | None:
    """Return why an event must not be sent.

    Its direct chat is archived, others could read a reply of Second Me, or it would be in clear where others encrypt.
    Citizens' ghosts do not write in encrypted chats. A ghost leaves each chat, also an archived one.
    """
    if event is None or room is None or room.agent is None or event.membership is OutboxKind.LEAVE:
        return None
    is_notice = event.content.get("msgtype") == "m.notice"
    agent = AgentSlug(event.sender.id) if event.sender and event.sender.kind is AuthorKind.AGENT else None
    is_private = is_second_me(agent) and event.event_type == "m.room.message" and not is_notice
    if room.archived:
        return DeliveryError.CHAT_OVER
    is_of_citizen = event.sender is not None and event.sender.kind is AuthorKind.CITIZEN
    can_encrypt = can_encrypt and not is_of_citizen
    if is_to_be_encrypted(room, event.event_type) and not can_encrypt and not event.is_unreadable_notice:
        return DeliveryError.REFUSED
    return DeliveryError.NOT_PRIVATE if is_private and room.is_group else None


def _is_already_done(event: OutgoingEvent, error: HomeserverRefused) -> bool:
    """Return whether a refusal means that the goal is reached: the reaction exists, the event or membership does not."""
    return (
        error.errcode == "M_DUPLICATE_ANNOTATION"
        or (event.redacts is not None and error.status == 404)
        or event.membership is OutboxKind.LEAVE
    )
