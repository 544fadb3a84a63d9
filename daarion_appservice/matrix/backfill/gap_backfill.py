"""Backfill of events that the homeserver has in its stream but did not deliver by a transaction.

Synapse stores that it has handed an event over *before* it has, and holds the events that wait behind a transaction in
memory. A process that ends in between never delivers them (seen in 1.163: ``set_appservice_last_pos`` in
synapse/handlers/appservice.py). With workers it is the appservice worker alone that ends, while the others continue to
respond. So a sweep does not depend on a sign of failure. It stores a ``/sync`` token with the rooms that it covers, and
compares the events since that token with the inbox:

    token ──── sync ────► now        all rooms of one user at once, in stream order
      └── known: nothing to do       unknown, and not delivered soon after a ping: into the inbox, with the new token

The observer reads the city's rooms, and each agent its direct chats and invitations. The bot reads the history of a
city room that the observer cannot join. ``/sync`` does not return events that other homeservers send later: see
``federated_history``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog

from ...city.event_fields import Event
from ...city.events import CityEvent, InboxChanged, RoomCheckRequested
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.types import AgentSlug, MatrixRoomId, UserId
from ...errors import HomeserverRefused
from ...realtime.isolation import isolated
from ...realtime.listeners import notify_all
from ...storage.database import Database
from ...storage.watermarks import Watermark
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_unregistered
from .invitations import Invitations
from .late_events import BackfillResult, LateEventWriter
from .metrics import Missed, measured_sweep
from .room_history import MAX_PAGES, HistoryRange, RoomHistories, SyncedHistory

_CONCURRENCY: Final = 4
"""Agents whose ``/sync`` runs at the same time, to limit the load of the homeserver."""
_MAX_NAMED_AGENTS: Final = 1_000
"""The agents that one SQL statement names; for more, it reads the chats of all."""
_POLL_S: Final = 0.05
_DELIVERY_TIMEOUT_S: Final = 2.0
"""Seconds without a delivery after which events that ``/sync`` has returned count as missing."""
_MAX_DELIVERY_WAIT_S: Final = 20.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Reader:
    """A user of the application service that reads rooms by ``/sync``."""

    user: UserId
    rooms: frozenset[MatrixRoomId]
    is_filtered: bool
    """Whether the filter of ``/sync`` lists these rooms, so that it returns no others."""


class GapBackfill:
    """Compares the homeserver's stream with the inbox, and puts missing events into it."""

    def __init__(
        self,
        histories: RoomHistories,
        late_events: LateEventWriter,
        invitations: Invitations,
        database: Database,
        monitor: HomeserverMonitor,
        identities: Identities,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._histories = histories
        self._late_events = late_events
        self._invitations = invitations
        self._database = database
        self._monitor = monitor
        self._identities = identities
        self._publish = publish
        self._now_ms = now_ms
        self.inbox_lock = asyncio.Lock()
        """The lock of the inbox: held while rows of it are handled or inserted in order."""
        self._on_missing: list[Callable[[MatrixRoomId], None]] = []
        self._sweep_lock = asyncio.Lock()

    def on_missing(self, listener: Callable[[MatrixRoomId], None]) -> None:
        """Call ``listener`` with each room of which events were missing, after they were stored in the inbox."""
        self._on_missing.append(listener)

    async def run(self, reason: Missed) -> int:
        """Sweep all city rooms and direct chats; ``sweep_agents`` covers the agents without chats.

        Args:
            reason: the label of the missing events in the metrics and the log.

        Returns:
            The number of missing events.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        async with self._sweep_lock:
            missing = await self._sweep_city(reason)
            return missing + await self._sweep_readers(await self._chat_readers(), reason)

    async def sweep_city(self, reason: Missed) -> int:
        """Sweep the city's rooms alone; return the number of missing events. Raises HomeserverUnavailable."""
        async with self._sweep_lock:
            return await self._sweep_city(reason)

    async def sweep_agents(self, agents: Collection[AgentSlug], reason: Missed) -> int:
        """Sweep the direct chats and invitations of ``agents``; return the number of missing events and invitations.

        Raises HomeserverUnavailable.
        """
        async with self._sweep_lock:
            chats = await self._chat_readers(agents if len(agents) <= _MAX_NAMED_AGENTS else None)
            readers = {reader.user: reader for reader in chats}
            ghosts = map(self._identities.agent, agents)
            return await self._sweep_readers(
                [readers.get(ghost) or _Reader(ghost, frozenset(), is_filtered=True) for ghost in ghosts], reason
            )

    async def _sweep_city(self, reason: Missed) -> int:
        async with self._database.read_only() as tx:
            rooms = await tx.rooms.all()
            former = await tx.matrix_rooms.former_ids()
        # Upgraded rooms, too: their last messages may not have been delivered yet.
        linked = {room.matrix_room_id for room in rooms if room.matrix_room_id} | {each for each, _ in former}
        reader = _Reader(self._identities.observer, frozenset(linked), is_filtered=False)
        missing, seen = await self._sweep_isolated(reader, reason)
        return missing + await self._read_unjoined(linked - seen, reason)

    async def _chat_readers(self, agents: Collection[AgentSlug] | None = None) -> list[_Reader]:
        async with self._database.read_only() as tx:
            chats = await tx.direct_chats.linked(agents)
        by_agent: defaultdict[UserId, set[MatrixRoomId]] = defaultdict(set)
        for chat in chats:
            if chat.matrix_room_id is not None:
                by_agent[self._identities.service_user(chat)].add(chat.matrix_room_id)
        return [_Reader(agent, frozenset(rooms), is_filtered=True) for agent, rooms in by_agent.items()]

    async def _sweep_readers(self, readers: list[_Reader], reason: Missed) -> int:
        limit = asyncio.Semaphore(_CONCURRENCY)

        async def sweep(reader: _Reader) -> int:
            async with limit:
                missing, _ = await self._sweep_isolated(reader, reason)
                return missing

        counts = await asyncio.gather(*map(sweep, readers), return_exceptions=True)
        for count in counts:
            if isinstance(count, BaseException):
                raise count
        return sum(count for count in counts if isinstance(count, int))

    async def _sweep_isolated(self, reader: _Reader, reason: Missed) -> tuple[int, frozenset[MatrixRoomId]]:
        """Return the number of missing events and the rooms that the sweep covered."""
        try:
            with isolated("gap_backfill", reader.user), measured_sweep():
                return await self._sweep(reader, reason)
        except HomeserverRefused as error:
            if is_unregistered(error):
                return 0, frozenset()
            if error.status == 400:
                # The homeserver was reinstalled or restored from a backup, and does not know the token.
                await self._forget_watermark(reader.user)
            log.warning("history_refused", user=reader.user, error=str(error), help="trying again with the next sweep")
        return 0, frozenset()

    async def _sweep(self, reader: _Reader, reason: Missed) -> tuple[int, frozenset[MatrixRoomId]]:
        async with self._database.read_only() as tx:
            watermark = await tx.watermarks.get(reader.user)
        if watermark is None:
            synced, covered = await self._histories.start(reader.user), frozenset[MatrixRoomId]()
        else:
            named = reader.rooms if reader.is_filtered else None
            synced = await self._histories.read_since(watermark.token, reader.user, named)
            covered = (watermark.rooms - synced.left) & reader.rooms
        ranges = [history for room, history in synced.ranges.items() if room in covered]
        first_ranges = await self._first_ranges(reader, covered)
        ranges += first_ranges
        covered |= {history.room for history in first_ranges}
        return await self._store(reader, synced, ranges, watermark, covered, reason), covered

    async def _first_ranges(self, reader: _Reader, covered: frozenset[MatrixRoomId]) -> list[HistoryRange]:
        """Return the first ranges of rooms that the user has joined and that its token does not cover yet."""
        if not reader.rooms - covered:
            return []
        joined = await self._histories.joined_rooms(reader.user)
        return [await self.first_range(room, reader.user) for room in sorted((reader.rooms - covered) & joined)]

    async def first_range(self, room: MatrixRoomId, user: UserId) -> HistoryRange:
        """Read a room's history backwards until a page has only known events, or to the start of the room.

        Args:
            room: the Matrix room.
            user: the user of the application service that reads it.

        Returns:
            The events, oldest first; at most ``MAX_PAGES`` pages.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the user may not read the room.
        """
        events: list[Event] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page, cursor = await self._histories.read_page(room, cursor, as_user=user)
            events += page
            is_known = page and not await self._late_events.unknown([HistoryRange(room, page[::-1])])
            if cursor is None or is_known:
                break
        return HistoryRange(room, events[::-1], len(events), is_first=True)

    async def _read_unjoined(self, rooms: set[MatrixRoomId], reason: Missed) -> int:
        """Read the history of rooms that the observer cannot join as the bot; return the number of missing events."""
        missing_by_room: dict[MatrixRoomId, int] = {}
        for room in sorted(rooms):
            with isolated("gap_backfill", room):
                try:
                    history = await self.first_range(room, self._identities.bot)
                except HomeserverRefused as error:
                    log.debug("history_refused", room=room, error=str(error))
                    continue
                await self.await_delivery([history])
                missing_by_room[room] = (await self.store(history)).missing
        self._late_events.publish(reason, missing_by_room)
        return sum(missing_by_room.values())

    async def _store(
        self,
        reader: _Reader,
        synced: SyncedHistory,
        ranges: list[HistoryRange],
        watermark: Watermark | None,
        covered: frozenset[MatrixRoomId],
        reason: Missed,
    ) -> int:
        invitations = await self._invitations.unknown(reader.user, synced)
        if ranges or invitations:
            await self.await_delivery(ranges)
            invitations = await self._invitations.unknown(reader.user, synced)
        new_watermark = Watermark(synced.token, covered)
        if new_watermark == watermark and not ranges and not invitations:
            return 0
        missing_by_room: dict[MatrixRoomId, int] = {}
        results = []
        async with self.inbox_lock, self._database.transaction() as tx:
            for history in ranges:
                results.append(await self._late_events.store(tx, history, is_covered=True))
                missing_by_room[history.room] = results[-1].missing
            if invitations:
                await tx.inbox.add(invitations, now_ms=self._now_ms())
            await tx.watermarks.put(reader.user, new_watermark)
        self._publish_results(results, has_invitations=bool(invitations))
        self._late_events.publish(
            reason, missing_by_room | {MatrixRoomId(each.matrix_room_id): 1 for each in invitations}
        )
        return sum(missing_by_room.values()) + len(invitations)

    async def store(self, history: HistoryRange) -> BackfillResult:
        """Put the missing events of one range into the inbox, in stream order, and publish the moves of messages."""
        async with self.inbox_lock, self._database.transaction() as tx:
            result = await self._late_events.store(tx, history)
        self._publish_results([result])
        return result

    def _publish_results(self, results: list[BackfillResult], *, has_invitations: bool = False) -> None:
        rooms_to_check = {each.room_to_check for each in results if each.room_to_check is not None}
        city_events: list[CityEvent] = [move for each in results for move in each.moves]
        city_events += [RoomCheckRequested(room) for room in sorted(rooms_to_check)]
        if has_invitations or any(each.missing for each in results):
            city_events.append(InboxChanged())
        publish_all(self._publish, city_events)
        for each in results:
            if each.missing:
                notify_all("MissingEventsStored", self._on_missing, each.room)

    async def await_delivery(self, ranges: list[HistoryRange]) -> None:
        """Wait until the homeserver has delivered the events of ``ranges``, or delivers no more of them.

        Synapse delivers in stream order, a bit later than ``/sync`` returns the events.
        """
        loop = asyncio.get_running_loop()
        unknown = await self._late_events.unknown(ranges)
        if not unknown:
            return
        is_delivery_expected = await self._monitor.request_delivery()
        latest_end = loop.time() + _MAX_DELIVERY_WAIT_S
        deadline = loop.time() + _DELIVERY_TIMEOUT_S
        while is_delivery_expected and unknown and loop.time() < min(deadline, latest_end):
            await asyncio.sleep(_POLL_S)
            still_unknown = await self._late_events.unknown(ranges)
            if len(still_unknown) < len(unknown):
                deadline = loop.time() + _DELIVERY_TIMEOUT_S
            unknown = still_unknown

    async def _forget_watermark(self, user: UserId) -> None:
        async with self._database.transaction() as tx:
            await tx.watermarks.delete(user)
