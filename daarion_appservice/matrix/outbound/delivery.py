"""Delivery of one outbox entry: sends it, records the result, and decides after a failure whether to send it again.

An entry is sent again when a retry can help and given up otherwise, so that an entry that Matrix never accepts does not
block its room. Failures that concern the service or the whole room do not count as attempts of the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from ...city.delivery_errors import DeliveryError
from ...city.event_fields import text
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.second_me import is_second_me
from ...city.types import MatrixStatus, OutboxKind, Room, UserId
from ...errors import HomeserverError, HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from ...storage.outbox import DELETIONS, OutboxRow
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import UNKNOWN_DEVICE, delivery_error
from ..ghosts.ghosts import REMOVED_BY_MODERATOR, Ghosts, is_unregistered
from .event_sender import EventSender
from .rendering import OutboxRenderer, OutgoingEvent

MAX_ATTEMPTS: Final = 8
_RETRY_MS: Final = 500
"""The base of the retry delays: the first retry is immediate, the second comes after this delay, and each further one
after about twice the previous one: an entry is given up after a minute. Attempts during an outage do not count."""
_UNLINKED_RETRY_MS: Final = 1_000
_UNAVAILABLE_RETRY_MS: Final = 1_000
"""The delay after an entry that got no response; while the homeserver counts as lost, lanes wait in any case."""
_REFUSED_RETRY_MS: Final = 10_000
_MIN_RATE_LIMIT_MS: Final = 1_000
"""The minimum delay after a 429 response, which `rate_limited: false` in the registration prevents."""

log = structlog.get_logger()


class OutboxDelivery:
    """Delivers outbox entries, and records each as sent or given up.

    Calls ``on_activity`` for each ghost that sent an event, because some homeservers then show it online.
    """

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        sender: EventSender,
        renderer: OutboxRenderer,
        identities: Identities,
        publish: Publish,
        now_ms: NowMs,
        *,
        on_activity: Callable[[UserId], None],
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._sender = sender
        self._renderer = renderer
        self._identities = identities
        self._publish = publish
        self._now_ms = now_ms
        self._on_activity = on_activity
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
        async with self._database.reading() as tx:
            room = await tx.rooms.get(entry.room_id)
            event = await self._renderer.render(tx, entry)
        reason = _forbidden_reason(event, room)
        if event is None or room is None or reason:
            return await self._drop(entry, event, reason or DeliveryError.REFUSED)
        if room.matrix_room_id is None or room.matrix_status is not MatrixStatus.LINKED:
            return self._now_ms() + _UNLINKED_RETRY_MS
        return await self._send(entry, event, room)

    async def _send(self, entry: OutboxRow, event: OutgoingEvent, room: Room) -> int | None:
        try:
            event_id = await self._sender.send(event, room, entry.txn_id, is_repaired=entry.id in self._repaired)
        except HomeserverUnavailable as error:
            self._monitor.lost(error)
            await self._monitor.wait_up()
            return await self._retry_unless_isolated(entry, room, error)
        except HomeserverRefused as error:
            return await self._handle_refusal(entry, event, room, error)
        if event_id is not None:
            self._monitor.expect_echo()
        self._on_activity(self._sender.user_of(event))
        async with self._database.transaction() as tx:
            changes = await self._renderer.record_sent(tx, entry, event_id)
            await tx.outbox.settled(entry.id)
        publish_all(self._publish, changes)
        self._repaired.discard(entry.id)
        return None

    # --- refusals -------------------------------------------------------------------------------------

    async def _handle_refusal(
        self, entry: OutboxRow, event: OutgoingEvent, room: Room, error: HomeserverRefused
    ) -> int | None:
        if delay_ms := await self._general_delay_ms(room, error):
            return self._now_ms() + delay_ms
        if error.status >= 500:
            return await self._retry_unless_isolated(entry, room, error)
        if _is_already_done(event, error):
            await self._settle(entry)
            return None
        # Registering or joining the ghost again resolves most of these refusals; a second attempt would not help.
        is_repairable = error.status == 403 or error.errcode == UNKNOWN_DEVICE
        if is_repairable and entry.id not in self._repaired and await self._repair(event, room, error):
            self._repaired.add(entry.id)
            return await self._record_failure(entry, error, retry=True)
        return await self._record_failure(entry, error, retry=False)

    async def _general_delay_ms(self, room: Room, error: HomeserverRefused) -> int:
        """Return the delay (ms) for a refusal that concerns the service or the whole room; 0 for one of the entry."""
        if error.status == 401:
            log.error("token_refused", error=str(error), help="see `daarion-appservice registration check`")
            return _REFUSED_RETRY_MS
        if isinstance(error, HomeserverRateLimited):
            return max(_MIN_RATE_LIMIT_MS, error.retry_after_ms)
        return _UNLINKED_RETRY_MS if error.status == 403 and await self._is_link_broken(room) else 0

    async def _is_link_broken(self, room: Room) -> bool:
        """Return whether the bot is not in the room, or the room was replaced; the reconciler corrects both."""
        assert room.matrix_room_id is not None
        if room.agent is not None:
            return False
        bot = self._identities.bot
        try:
            await self._homeserver.joined_members(room.matrix_room_id, as_user=bot)
            tombstone = await self._homeserver.state(room.matrix_room_id, "m.room.tombstone", as_user=bot) or {}
        except HomeserverRefused as error:
            return error.status == 403
        return bool(text(tombstone, "replacement_room"))

    async def _repair(self, event: OutgoingEvent, room: Room, error: HomeserverRefused) -> bool:
        """Remove the cause of a refusal, and return whether another attempt may succeed."""
        user = self._sender.user_of(event)
        if error.errcode == UNKNOWN_DEVICE:
            # An admin deleted the device, or deactivated the user, which removes its profile and memberships as well.
            for each in {user, self._identities.service_user(room)}:
                await self._ghosts.forget(each)
            return True
        if event.sender is None or error.errcode == REMOVED_BY_MODERATOR:
            return False
        if is_unregistered(error):
            await self._ghosts.forget(user)
        elif room.agent is not None:
            return False  # An agent joins a direct chat on invitation only.
        elif event.redacts is not None:
            return True
        elif event.membership is OutboxKind.JOIN or await self._ghosts.is_removed(user, room):
            return False
        await self._ghosts.not_joined(user, room)
        return True

    async def _retry_unless_isolated(self, entry: OutboxRow, room: Room, error: HomeserverError) -> int | None:
        """Delay an entry after a failure of the homeserver, without an attempt if other requests for the room fail too.

        An entry that fails while another request succeeds may be the cause itself, so that its attempts are limited.
        """
        assert room.matrix_room_id is not None
        try:
            await self._homeserver.joined_members(room.matrix_room_id, as_user=self._identities.service_user(room))
        except HomeserverUnavailable:
            return self._now_ms() + _UNAVAILABLE_RETRY_MS
        except HomeserverRefused:
            return self._now_ms() + _REFUSED_RETRY_MS
        return await self._record_failure(entry, error, retry=True)

    # --- results --------------------------------------------------------------------------------------

    async def _record_failure(self, entry: OutboxRow, error: HomeserverError, *, retry: bool) -> int | None:
        """Record a failed attempt; return the time of the next one (ms since 1970), or None if there is none."""
        attempts = entry.attempts + 1
        retry_at_ms = (
            self._now_ms() + _RETRY_MS * (2 ** (attempts - 1) - 1) if retry and attempts < MAX_ATTEMPTS else None
        )
        async with self._database.transaction() as tx:
            # Lock the room first: every writer of a room locks it before it changes the outbox.
            changes = (
                await self._renderer.record_failed(tx, entry, delivery_error(error)) if retry_at_ms is None else []
            )
            await tx.outbox.failed(entry.id, str(error), retry_at_ms=retry_at_ms)
        publish_all(self._publish, changes)
        if retry_at_ms is None:
            self._repaired.discard(entry.id)
        level = log.error if retry_at_ms is None else log.warning
        level(
            "message_not_sent",
            message_id=entry.message_id,
            what=entry.kind,
            error=str(error),
            given_up=retry_at_ms is None,
        )
        return retry_at_ms

    async def _drop(self, entry: OutboxRow, event: OutgoingEvent | None, error: DeliveryError) -> int | None:
        """Remove an entry without an event, or that must not be sent; return a retry time if it has an event by now."""
        if event is not None or entry.kind not in DELETIONS:
            await self._settle(entry, error)
            return None
        async with self._database.transaction() as tx:
            # The handler of the message's own event locks the room too, and adds no second deletion meanwhile.
            await tx.rooms.lock_any(entry.room_id)
            if await self._renderer.render(tx, entry) is not None:
                return self._now_ms()
            await tx.outbox.settled(entry.id)
        return None

    async def _settle(self, entry: OutboxRow, error: DeliveryError = DeliveryError.REFUSED) -> None:
        async with self._database.transaction() as tx:
            changes = await self._renderer.record_dropped(tx, entry, error)
            await tx.outbox.settled(entry.id)
        publish_all(self._publish, changes)
        self._repaired.discard(entry.id)


def _forbidden_reason(event: OutgoingEvent | None, room: Room | None) -> DeliveryError | None:
    """Return why an event must not be sent: its direct chat is archived, or others could read a reply of Second Me."""
    if event is None or room is None or room.agent is None:
        return None
    is_notice = event.content.get("msgtype") == "m.notice"
    is_private = is_second_me(room.agent) and event.event_type == "m.room.message" and not is_notice
    if room.archived:
        return DeliveryError.CHAT_OVER
    return DeliveryError.NOT_PRIVATE if is_private and room.is_group else None


def _is_already_done(event: OutgoingEvent, error: HomeserverRefused) -> bool:
    """Return whether a refusal means that the goal is reached: the reaction exists, the event or membership does not."""
    return (
        error.errcode == "M_DUPLICATE_ANNOTATION"
        or (event.redacts is not None and error.status == 404)
        or event.membership is OutboxKind.LEAVE
    )
