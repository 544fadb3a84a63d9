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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from ...city.event_fields import Event
from ...city.events import CityEvent, InboxChanged, RoomCheckRequested
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.types import MatrixRoomId, UserId
from ...errors import HomeserverRefused
from ...realtime.isolation import isolated
from ...realtime.listeners import notify_all
from ...storage.database import Database
from ...storage.watermarks import Watermark
from ..client.monitor import HomeserverMonitor
from ..ghosts.ghosts import is_unregistered
from .invitations import Invitations
from .late_events import BackfillResult, LateEventWriter
from .metrics import Missed
from .room_history import MAX_PAGES, HistoryRange, RoomHistories, SyncedHistory

_AT_ONCE: Final = 4
"""Agents whose ``/sync`` runs at the same time, to limit the load of the homeserver."""
_LOOK_S: Final = 0.05
_PATIENCE_S: Final = 2.0
"""Seconds without a delivery after which events that ``/sync`` has returned count as missing."""
_LONGEST_PATIENCE_S: Final = 20.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Eye:
    """A user of the application service that reads rooms by ``/sync``."""

    user: UserId
    rooms: frozenset[MatrixRoomId]
    names_rooms: bool
    """Whether the filter of ``/sync`` lists these rooms, so that it returns no others."""


class GapBackfill:
    """Compares the homeserver's stream with the inbox, and puts missing events into it."""

    def __init__(
        self,
        histories: RoomHistories,
        late: LateEventWriter,
        invitations: Invitations,
        database: Database,
        monitor: HomeserverMonitor,
        identities: Identities,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._histories = histories
        self._late = late
        self._invitations = invitations
        self._database = database
        self._monitor = monitor
        self._identities = identities
        self._publish = publish
        self._now_ms = now_ms
        self.turn = asyncio.Lock()
        """The lock of the inbox: held while rows of it are handled or inserted in order."""
        self._on_missing: list[Callable[[MatrixRoomId], None]] = []
        self._sweep = asyncio.Lock()

    def on_missing(self, listener: Callable[[MatrixRoomId], None]) -> None:
        """Call ``listener`` with each room of which events were missing, after they were stored in the inbox."""
        self._on_missing.append(listener)

    async def run(self, reason: Missed) -> int:
        """Sweep all city rooms and direct chats; ``look_for_invitations`` covers the agents without chats.

        Args:
            reason: the label of the missing events in the metrics and the log.

        Returns:
            The number of missing events.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        async with self._sweep:
            missing = await self._city(reason)
            return missing + await self._look_through(await self._chat_eyes(), reason)

    async def city(self, reason: Missed) -> int:
        """Sweep the city's rooms alone; return the number of missing events. Raises HomeserverUnavailable."""
        async with self._sweep:
            return await self._city(reason)

    async def look_for_invitations(self, agents: Iterable[UserId], reason: Missed) -> int:
        """Sweep the direct chats and invitations of ``agents``; return the number of missing events and invitations.

        Raises HomeserverUnavailable.
        """
        async with self._sweep:
            chats = {eye.user: eye for eye in await self._chat_eyes()}
            return await self._look_through(
                [chats.get(agent) or _Eye(agent, frozenset(), names_rooms=True) for agent in agents], reason
            )

    async def _city(self, reason: Missed) -> int:
        async with self._database.reading() as tx:
            rooms = await tx.rooms.all()
            former = await tx.matrix_rooms.former_ids()
        # Upgraded rooms, too: their last messages may not have been delivered yet.
        linked = {room.matrix_room_id for room in rooms if room.matrix_room_id} | {each for each, _ in former}
        eye = _Eye(self._identities.observer, frozenset(linked), names_rooms=False)
        missing, seen = await self._look(eye, reason)
        return missing + await self._read_back(linked - seen, reason)

    async def _chat_eyes(self) -> list[_Eye]:
        async with self._database.reading() as tx:
            chats = await tx.direct_chats.linked()
        by_agent: defaultdict[UserId, set[MatrixRoomId]] = defaultdict(set)
        for chat in chats:
            if chat.matrix_room_id is not None:
                by_agent[self._identities.service_user(chat)].add(chat.matrix_room_id)
        return [_Eye(agent, frozenset(rooms), names_rooms=True) for agent, rooms in by_agent.items()]

    async def _look_through(self, eyes: list[_Eye], reason: Missed) -> int:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def look(eye: _Eye) -> int:
            async with slots:
                missing, _ = await self._look(eye, reason)
                return missing

        looks = await asyncio.gather(*map(look, eyes), return_exceptions=True)
        for found in looks:
            if isinstance(found, BaseException):
                raise found
        return sum(found for found in looks if isinstance(found, int))

    async def _look(self, eye: _Eye, reason: Missed) -> tuple[int, frozenset[MatrixRoomId]]:
        """Return the number of missing events and the rooms that the sweep covered."""
        try:
            with isolated("gap_backfill", eye.user):
                return await self._see(eye, reason)
        except HomeserverRefused as error:
            if is_unregistered(error):
                return 0, frozenset()
            if error.status == 400:
                # The homeserver was reinstalled or restored from a backup, and does not know the token.
                await self._forget(eye.user)
            log.warning("history_refused", user=eye.user, error=str(error), help="trying again with the next look")
        return 0, frozenset()

    async def _see(self, eye: _Eye, reason: Missed) -> tuple[int, frozenset[MatrixRoomId]]:
        async with self._database.reading() as tx:
            mark = await tx.watermarks.get(eye.user)
        if mark is None:
            since, covered = await self._histories.now(eye.user), frozenset[MatrixRoomId]()
        else:
            named = eye.rooms if eye.names_rooms else None
            since = await self._histories.since(mark.token, eye.user, named)
            covered = (mark.rooms - since.left) & eye.rooms
        stretches = [stretch for room, stretch in since.stretches.items() if room in covered]
        new = await self._newly_seen(eye, covered)
        stretches += new
        covered |= {stretch.room for stretch in new}
        return await self._take(eye, since, stretches, mark, covered, reason), covered

    async def _newly_seen(self, eye: _Eye, covered: frozenset[MatrixRoomId]) -> list[HistoryRange]:
        """Return the first stretches of rooms that the user has joined and that its token does not cover yet."""
        if not eye.rooms - covered:
            return []
        joined = await self._histories.joined_rooms(eye.user)
        return [await self.first(room, eye.user) for room in sorted((eye.rooms - covered) & joined)]

    async def first(self, room: MatrixRoomId, user: UserId) -> HistoryRange:
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
        found: list[Event] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page, cursor = await self._histories.page_back(room, cursor, as_user=user)
            found += page
            is_known = page and not await self._late.unknown([HistoryRange(room, page[::-1])])
            if cursor is None or is_known:
                break
        return HistoryRange(room, found[::-1], len(found), is_first=True)

    async def _read_back(self, rooms: set[MatrixRoomId], reason: Missed) -> int:
        """Read the history of rooms that the observer cannot join as the bot; return the number of missing events."""
        missed: dict[MatrixRoomId, int] = {}
        for room in sorted(rooms):
            with isolated("gap_backfill", room):
                try:
                    stretch = await self.first(room, self._identities.bot)
                except HomeserverRefused as error:
                    log.debug("history_refused", room=room, error=str(error))
                    continue
                await self.await_delivery([stretch])
                missed[room] = (await self.bring(stretch)).missing
        self._late.publish(reason, missed)
        return sum(missed.values())

    async def _take(
        self,
        eye: _Eye,
        since: SyncedHistory,
        stretches: list[HistoryRange],
        mark: Watermark | None,
        covered: frozenset[MatrixRoomId],
        reason: Missed,
    ) -> int:
        invited = await self._invitations.unknown(eye.user, since)
        if stretches or invited:
            await self.await_delivery(stretches)
            invited = await self._invitations.unknown(eye.user, since)
        new_mark = Watermark(since.token, covered)
        if new_mark == mark and not stretches and not invited:
            return 0
        missed: dict[MatrixRoomId, int] = {}
        brought = []
        async with self.turn, self._database.transaction() as tx:
            for stretch in stretches:
                brought.append(await self._late.bring(tx, stretch, is_covered=True))
                missed[stretch.room] = brought[-1].missing
            if invited:
                await tx.inbox.add(invited, now_ms=self._now_ms())
            await tx.watermarks.put(eye.user, new_mark)
        self._publish_brought(brought, is_news=bool(invited))
        self._late.publish(reason, missed | {MatrixRoomId(each.matrix_room_id): 1 for each in invited})
        return sum(missed.values()) + len(invited)

    async def bring(self, stretch: HistoryRange) -> BackfillResult:
        """Put the missing events of one stretch into the inbox, in stream order, and publish the moves of messages."""
        async with self.turn, self._database.transaction() as tx:
            brought = await self._late.bring(tx, stretch)
        self._publish_brought([brought])
        return brought

    def _publish_brought(self, brought: list[BackfillResult], *, is_news: bool = False) -> None:
        doubted = {each.doubted for each in brought if each.doubted is not None}
        happened: list[CityEvent] = [move for each in brought for move in each.moves]
        happened += [RoomCheckRequested(room) for room in sorted(doubted)]
        if is_news or any(each.missing for each in brought):
            happened.append(InboxChanged())
        publish_all(self._publish, happened)
        for each in brought:
            if each.missing:
                notify_all("EventsMissed", self._on_missing, each.room)

    async def await_delivery(self, stretches: list[HistoryRange]) -> None:
        """Wait until the homeserver has delivered the events of ``stretches``, or delivers no more of them.

        Synapse delivers in stream order, a bit later than ``/sync`` returns the events.
        """
        loop = asyncio.get_running_loop()
        unknown = await self._late.unknown(stretches)
        if not unknown:
            return
        may_come = await self._monitor.request_delivery()
        give_up = loop.time() + _LONGEST_PATIENCE_S
        until = loop.time() + _PATIENCE_S
        while may_come and unknown and loop.time() < min(until, give_up):
            await asyncio.sleep(_LOOK_S)
            still = await self._late.unknown(stretches)
            if len(still) < len(unknown):
                until = loop.time() + _PATIENCE_S
            unknown = still

    async def _forget(self, user: UserId) -> None:
        async with self._database.transaction() as tx:
            await tx.watermarks.forget(user)
