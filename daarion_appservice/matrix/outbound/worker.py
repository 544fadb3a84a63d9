"""The outbound worker: sends each outbox entry once to the homeserver, in order within a room, as its author's ghost.

Each room with waiting entries has a lane, a task that sends the entries one after the other; lanes are independent of
each other. All lanes wait while the homeserver is down. The worker retries an entry when a retry can help and gives it
up otherwise, so that an entry that Matrix never accepts does not block its room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Final

import structlog

from ...city.agents import AgentDirectory
from ...city.delivery_errors import DeliveryError
from ...city.event_fields import text
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.second_me import is_second_me
from ...city.types import AgentSlug, Author, AuthorKind, EventId, MatrixStatus, OutboxKind, Room, RoomId, UserId
from ...errors import DatabaseError, HomeserverError, HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ...realtime.worker import Worker
from ...storage.database import Database
from ...storage.outbox import DELETIONS, OutboxRow
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import UNKNOWN_DEVICE, delivery_error
from ..ghosts.ghosts import PUT_OUT, Ghosts, Profile, is_unregistered
from .rendering import OutboxRenderer, OutgoingEvent

MAX_ATTEMPTS: Final = 8
_RETRY_MS: Final = 500
"""The base of the retry delays: the first retry is immediate, the second comes after this delay, and each further one
after about twice the previous one: an entry is given up after a minute. Attempts during an outage do not count."""
_BATCH: Final = 200
_UNLINKED_RETRY_MS: Final = 1_000
_AWAY_RETRY_MS: Final = 1_000
"""The delay after an entry that got no response; while the homeserver counts as lost, lanes wait in any case."""
_REFUSED_RETRY_MS: Final = 10_000
_LIMITED_RETRY_MS: Final = 1_000
"""The minimum delay after a 429 response, which `rate_limited: false` in the registration prevents."""
_DATABASE_RETRY_S: Final = 1.0
_LONGEST_WAIT_MS: Final = 2_000
"""The maximum time between two reads of the outbox: another process may store an entry and fail to signal it."""

log = structlog.get_logger()


class OutboundWorker:
    """Delivers outbox entries, and records each as sent or given up."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        agents: AgentDirectory,
        letters: OutboxRenderer,
        identities: Identities,
        publish: Publish,
        now_ms: NowMs,
        *,
        on_new_ghost: Callable[[UserId], None],
        on_spoke: Callable[[UserId], None],
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._agents = agents
        self._letters = letters
        self._identities = identities
        self._publish = publish
        self._on_new_ghost = on_new_ghost
        self._on_spoke = on_spoke
        self._now_ms = now_ms
        self._worker = Worker("outbound", idle_s=_LONGEST_WAIT_MS / 1000, monitor=monitor)
        self._busy: set[RoomId] = set()
        self._held: dict[RoomId, int] = {}
        self._mended: set[int] = set()
        """The ids of entries whose sender was registered or joined again because of a refusal."""

    def wake(self) -> None:
        """Read the outbox soon; rooms that wait for a retry keep waiting."""
        self._worker.wake()

    def resume(self) -> None:
        """Retry all waiting rooms now, because the reason for their delay may be gone."""
        self._held.clear()
        self._worker.wake()

    async def run(self) -> None:
        """Send the entries of the outbox until cancelled. The method can be called again later."""
        async with asyncio.TaskGroup() as lanes:
            await self._worker.run(partial(self._open_lanes, lanes))

    async def _open_lanes(self, lanes: asyncio.TaskGroup) -> float:
        """Start a lane for each room that has waiting entries, no lane yet, and no retry delay.

        Returns:
            The time until the next retry is due, in seconds, or ``_LONGEST_WAIT_MS`` if that is earlier.
        """
        now_ms = self._now_ms()
        self._held = {room: until_ms for room, until_ms in self._held.items() if until_ms > now_ms}
        # Repeat the query: the first batch may contain one room only, and other rooms must not wait for it.
        while rows := await self._waiting():
            rows.sort(key=lambda row: (row.room_id, row.id))
            for room, waiting in groupby(rows, key=lambda row: row.room_id):
                self._busy.add(room)
                lanes.create_task(self._lane(room, list(waiting)))
        due_ms = min(self._held.values(), default=None)
        wait_ms = _LONGEST_WAIT_MS if due_ms is None else min(_LONGEST_WAIT_MS, due_ms - self._now_ms())
        return wait_ms / 1000

    async def _waiting(self) -> list[OutboxRow]:
        async with self._database.reading() as tx:
            return await tx.outbox.waiting(limit=_BATCH, not_rooms=frozenset(self._busy | self._held.keys()))

    async def _lane(self, room: RoomId, rows: list[OutboxRow]) -> None:
        try:
            for row in rows:
                retry_at_ms = await self._deliver(row)
                if retry_at_ms is not None:
                    self._held[room] = retry_at_ms
                    return
        except HomeserverUnavailable as error:
            # The request that examines a refusal got no response.
            self._monitor.lost(error)
            self._held[room] = self._now_ms() + _AWAY_RETRY_MS
        except DatabaseError as error:
            log.error("outbox_unavailable", error=str(error), help="the database does not answer; trying again")
            self._held[room] = self._now_ms() + int(_DATABASE_RETRY_S * 1000)
        except Exception:
            # An unexpected error delays this room only.
            log.exception("room_delivery_failed", room=room)
            self._held[room] = self._now_ms() + _REFUSED_RETRY_MS
        finally:
            self._busy.discard(room)
            self._worker.wake()

    async def _deliver(self, row: OutboxRow) -> int | None:
        """Send one entry or give it up; return the time of the next attempt (ms since 1970) if neither is possible."""
        await self._monitor.wait_up()
        if row.retry_at_ms > self._now_ms():
            return row.retry_at_ms
        async with self._database.reading() as tx:
            room = await tx.rooms.get(row.room_id)
            letter = await self._letters.write(tx, row)
        reason = _why_not_said(letter, room)
        if letter is None or room is None or reason:
            return await self._drop(row, letter, reason or DeliveryError.REFUSED)
        if room.matrix_room_id is None or room.matrix_status is not MatrixStatus.LINKED:
            return self._now_ms() + _UNLINKED_RETRY_MS
        try:
            event_id = await self._send(letter, room, row)
        except HomeserverUnavailable as error:
            self._monitor.lost(error)
            await self._monitor.wait_up()
            return await self._try_again(row, room, error)
        except HomeserverRefused as error:
            return await self._refused(row, letter, room, error)
        if event_id is not None:
            self._monitor.expect_echo()
        self._on_spoke(self._user(letter))
        async with self._database.transaction() as tx:
            happened = await self._letters.arrived(tx, row, event_id)
            await tx.outbox.settled(row.id)
        publish_all(self._publish, happened)
        self._mended.discard(row.id)
        return None

    async def _send(self, letter: OutgoingEvent, room: Room, row: OutboxRow) -> EventId | None:
        """Send the event and return its id; None for a join or leave, which has none."""
        assert room.matrix_room_id is not None
        user = self._user(letter)
        if letter.move is OutboxKind.LEAVE:
            await self._homeserver.leave(room.matrix_room_id, as_user=user)
            return None
        if letter.redacts is not None:
            return await self._redact(letter, letter.redacts, room, row)
        if letter.sender is not None:
            # The city counts a citizen as joined before Synapse does; after a refusal the join is sent again.
            anew = letter.move is OutboxKind.JOIN or row.id in self._mended
            await self._bring(user, letter.sender, room, anew=anew)
        if letter.move is OutboxKind.JOIN:
            return None
        return await self._homeserver.send(
            room.matrix_room_id,
            letter.event_type,
            row.txn_id,
            letter.content,
            as_user=user,
            with_device=self._ghosts.has_device(user),
            ts_ms=letter.at_ms,
        )

    async def _redact(self, letter: OutgoingEvent, event: EventId, room: Room, row: OutboxRow) -> EventId:
        assert room.matrix_room_id is not None
        user = self._user(letter)
        # A ghost that left, or was kicked or banned, does not join for a redaction: the service user redacts instead.
        is_in = room.agent is not None or self._ghosts.is_in(user, room)
        keeper = self._identities.service_user(room)
        if not is_in or row.id in self._mended:
            user = keeper
        redact = partial(
            self._homeserver.redact, room.matrix_room_id, as_user=user, with_device=self._ghosts.has_device(user)
        )
        if letter.edits_by is not None:
            # Edits are separate events. Redact them first: no query finds the edits of a redacted event.
            for edit in await self._homeserver.edits(room.matrix_room_id, event, by=letter.edits_by, as_user=keeper):
                await redact(edit, f"{row.txn_id}{edit}")
        return await redact(event, row.txn_id)

    def _user(self, letter: OutgoingEvent) -> UserId:
        return self._identities.bot if letter.sender is None else self._identities.author(letter.sender)

    async def _bring(self, user: UserId, sender: Author, room: Room, *, anew: bool = False) -> None:
        """Register the author's ghost and join it to the room; the bot invites agents to rooms that they belong to."""
        was_known = self._ghosts.is_known(user)
        await self._ghosts.ensure(user, self._profile(sender))
        await self._ghosts.ensure_device(user)
        if room.agent is None:  # An agent joins a direct chat on invitation only.
            await self._ghosts.ensure_joined(user, room, invite=self._agents.lives_in(sender, room), anew=anew)
        if not was_known:
            self._on_new_ghost(user)

    def _profile(self, author: Author) -> Profile:
        """Return the profile of an author; an agent's display name is the current one of the registry.

        The reconciler sets the avatars of agents.
        """
        agent = self._agents.get(AgentSlug(author.id)) if author.kind is AuthorKind.AGENT else None
        return Profile(agent.display_name if agent else author.display_name)

    async def _refused(self, row: OutboxRow, letter: OutgoingEvent, room: Room, error: HomeserverRefused) -> int | None:
        user = self._user(letter)
        if pause_ms := await self._is_not_to_blame(room, error):
            return self._now_ms() + pause_ms
        if error.status >= 500:
            return await self._try_again(row, room, error)
        if _is_so_already(letter, error):
            await self._settle(row)
            return None
        # Registering or joining the ghost again resolves most of these refusals; a second attempt would not help.
        is_mendable = error.status == 403 or error.errcode == UNKNOWN_DEVICE
        if is_mendable and row.id not in self._mended and await self._mend(letter, user, room, error):
            self._mended.add(row.id)
            return await self._count(row, error, retry=True)
        return await self._count(row, error, retry=False)

    async def _is_not_to_blame(self, room: Room, error: HomeserverRefused) -> int:
        """Return the delay (ms) for a refusal that concerns the service or the whole room; 0 for one of the entry."""
        if error.status == 401:
            log.error("token_refused", error=str(error), help="see `daarion-appservice registration check`")
            return _REFUSED_RETRY_MS
        if isinstance(error, HomeserverRateLimited):
            return max(_LIMITED_RETRY_MS, error.retry_after_ms)
        return _UNLINKED_RETRY_MS if error.status == 403 and await self._is_apart(room) else 0

    async def _is_apart(self, room: Room) -> bool:
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

    async def _mend(self, letter: OutgoingEvent, user: UserId, room: Room, error: HomeserverRefused) -> bool:
        """Remove the cause of a refusal, and return whether another attempt may succeed."""
        if error.errcode == UNKNOWN_DEVICE:
            # An admin deleted the device, or deactivated the user, which removes its profile and memberships as well.
            for each in {user, self._identities.service_user(room)}:
                await self._ghosts.forget(each)
            return True
        if letter.sender is None or error.errcode == PUT_OUT:
            return False
        if is_unregistered(error):
            await self._ghosts.forget(user)
        elif room.agent is not None:
            return False  # An agent joins a direct chat on invitation only.
        elif letter.redacts is not None:
            return True
        elif letter.move is OutboxKind.JOIN or await self._ghosts.is_removed(user, room):
            return False
        await self._ghosts.not_joined(user, room)
        return True

    async def _try_again(self, row: OutboxRow, room: Room, error: HomeserverError) -> int | None:
        """Handle an error that the entry did not cause, unless it recurs while other requests for the room succeed."""
        try:
            assert room.matrix_room_id is not None
            await self._homeserver.joined_members(room.matrix_room_id, as_user=self._identities.service_user(room))
        except HomeserverUnavailable:
            return self._now_ms() + _AWAY_RETRY_MS
        except HomeserverRefused:
            return self._now_ms() + _REFUSED_RETRY_MS
        return await self._count(row, error, retry=True)

    async def _count(self, row: OutboxRow, error: HomeserverError, *, retry: bool) -> int | None:
        """Record a failed attempt; return the time of the next one (ms since 1970), or None if there is none."""
        attempts = row.attempts + 1
        retry_at_ms = (
            self._now_ms() + _RETRY_MS * (2 ** (attempts - 1) - 1) if retry and attempts < MAX_ATTEMPTS else None
        )
        async with self._database.transaction() as tx:
            # Lock the room first: every writer of a room locks it before it changes the outbox.
            happened = await self._letters.given_up(tx, row, delivery_error(error)) if retry_at_ms is None else []
            await tx.outbox.failed(row.id, str(error), retry_at_ms=retry_at_ms)
        publish_all(self._publish, happened)
        if retry_at_ms is None:
            self._mended.discard(row.id)
        level = log.error if retry_at_ms is None else log.warning
        level(
            "message_not_sent",
            message_id=row.message_id,
            what=row.kind,
            error=str(error),
            given_up=retry_at_ms is None,
        )
        return retry_at_ms

    async def _drop(self, row: OutboxRow, letter: OutgoingEvent | None, error: DeliveryError) -> int | None:
        """Remove an entry without an event, or that must not be sent; return a retry time if it has an event by now."""
        if letter is not None or row.kind not in DELETIONS:
            await self._settle(row, error)
            return None
        async with self._database.transaction() as tx:
            # The handler of the message's own event locks the room too, and adds no second deletion meanwhile.
            await tx.rooms.lock_any(row.room_id)
            if await self._letters.write(tx, row) is not None:
                return self._now_ms()
            await tx.outbox.settled(row.id)
        return None

    async def _settle(self, row: OutboxRow, error: DeliveryError = DeliveryError.REFUSED) -> None:
        async with self._database.transaction() as tx:
            happened = await self._letters.put_away(tx, row, error)
            await tx.outbox.settled(row.id)
        publish_all(self._publish, happened)
        self._mended.discard(row.id)


def _why_not_said(letter: OutgoingEvent | None, room: Room | None) -> DeliveryError | None:
    """Return why an event must not be sent: its direct chat is archived, or others could read a reply of Second Me."""
    if letter is None or room is None or room.agent is None:
        return None
    is_notice = letter.content.get("msgtype") == "m.notice"
    is_private = is_second_me(room.agent) and letter.event_type == "m.room.message" and not is_notice
    if room.archived:
        return DeliveryError.CHAT_OVER
    return DeliveryError.NOT_PRIVATE if is_private and room.in_company else None


def _is_so_already(letter: OutgoingEvent, error: HomeserverRefused) -> bool:
    """Return whether a refusal means that the goal is reached: the reaction exists, the event or membership does not."""
    return (
        error.errcode == "M_DUPLICATE_ANNOTATION"
        or (letter.redacts is not None and error.status == 404)
        or letter.move is OutboxKind.LEAVE
    )
