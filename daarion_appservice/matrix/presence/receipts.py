"""Receipts of Matrix users: maps the events of ``m.receipt`` to messages of city rooms.

    m.receipt ─► newest of each user and timeline ─► the message of its event ─────────────────────────► `add`
                          ▲                              └─ none: look again, for 3 s
                          └──────────────────────────────┤
                                                         └─ then: the message shown at the event's time ─► `add`

A receipt often arrives before the transaction with its event. After 3 s its event is one that the city does not show as a
message, such as a reaction, an edit or a state event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from typing import Any, Final, NamedTuple, TypeGuard

import structlog

from ...city.identity import Identities, is_user_id
from ...city.member_lookup import MemberLookup
from ...city.ports import NowMs
from ...city.receipts import MAIN_THREAD_ID, ReadPosition, ReceiptKey, timelines_of
from ...city.types import EventId, MatrixRoomId, MessageId, RoomId, UserId, user_subject
from ...realtime.worker import Worker
from ...storage.database import Database, Transaction
from ...storage.receipts import MessagePlace
from .event_times import EventTimes
from .sync_response import ephemeral_events, joined_rooms

_RETRY_S: Final = 1.0
"""The pause between two look-ups of an unknown event, in seconds."""
_PATIENCE_S: Final = 3.0
"""How long an event is looked for among the messages, in seconds."""
_MAX_PENDING: Final = 10_000
"""Receipts that wait for their event; further ones are dropped, as the same users' next ones make up for them."""
_MAX_OF_STEP: Final = 1_000
_MAX_OF_ROOM: Final = 500
"""Receipts of one room that are read from one response, the newest: an initial sync has all of the room."""
_STEP_RECEIPTS: Final = 1_000
"""Receipts that are read at a time, in about 10 ms."""
_MAX_REQUESTS: Final = 20
"""Receipts of one step that may need a request."""
_MAX_EVENT_ID_CHARS: Final = 255

_NOTHING: Final[dict[str, Any]] = {"types": [], "limit": 0}
RECEIPT_FILTER: Final = json.dumps(
    {
        "presence": _NOTHING,
        "account_data": _NOTHING,
        "room": {
            "account_data": _NOTHING,
            "ephemeral": {"types": ["m.receipt"]},
            "state": _NOTHING | {"lazy_load_members": True},
            "timeline": _NOTHING,
        },
    },
    separators=(",", ":"),
)
"""The filter of a ``/sync`` that brings receipts alone."""

log = structlog.get_logger()


class ReceiptTimeline(NamedTuple):
    """What a receipt of a user marks as read."""

    room: RoomId
    user: UserId
    thread_id: str | None
    """``main``, the event id of a thread root, or None for an unthreaded receipt."""


class RemoteReceipt(NamedTuple):
    """A receipt of a Matrix user."""

    timeline: ReceiptTimeline
    event: EventId
    at_ms: int
    """When the user read the event, according to the user's homeserver, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Pending:
    receipt: RemoteReceipt
    matrix_room: MatrixRoomId
    observer: UserId
    """The user whose ``/sync`` had the receipt, and who may read its event."""
    since_s: float
    """The event loop's time of the receipt's arrival, in seconds."""


class RemoteReceipts:
    """The receipts of Matrix users in the rooms of the city.

    Args:
        add: stores a receipt of the city.
    """

    def __init__(
        self,
        database: Database,
        identities: Identities,
        members: MemberLookup,
        event_times: EventTimes,
        add: Callable[[ReceiptKey, ReadPosition], None],
        now_ms: NowMs,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._database = database
        self._identities = identities
        self._members = members
        self._event_times = event_times
        self._add = add
        self._now_ms = now_ms
        self._patience_s = patience_s
        self._pending: dict[ReceiptTimeline, _Pending] = {}
        self._worker = Worker("remote_receipts", idle_s=None, monitor=event_times.monitor)

    async def apply_sync(
        self, response: Mapping[str, Any], rooms: Mapping[MatrixRoomId, RoomId], *, observer: UserId
    ) -> None:
        """Take the receipts of a sync.

        Args:
            response: the response to ``/sync``.
            rooms: the city room of each observed Matrix room; other rooms are ignored.
            observer: the user whose sync it is, joined to these rooms.
        """
        now_s = asyncio.get_running_loop().time()
        for matrix_room, update in joined_rooms(response):
            room = rooms.get(MatrixRoomId(matrix_room))
            if room is not None:
                found = read_receipts(update, room, self._identities, self._now_ms())
                for receipt in await _newest(found):
                    self._put(_Pending(receipt, MatrixRoomId(matrix_room), observer, now_s))

    async def run(self) -> None:
        """Find the messages of the receipts until cancelled."""
        await self._worker.run(self._resolve)

    def _put(self, pending: _Pending) -> None:
        timeline = pending.receipt.timeline
        if timeline not in self._pending and len(self._pending) >= _MAX_PENDING:
            log.debug("receipt_dropped", room=timeline.room, reader=timeline.user)
            return
        self._pending[timeline] = pending
        self._worker.wake()

    async def _resolve(self) -> float | None:
        batch = list(islice(self._pending.values(), _MAX_OF_STEP))
        unknown: list[_Pending] = []
        async with self._database.read_only() as tx:
            places = await self._places(tx, batch)
            for pending in batch:
                place = places.get(pending.receipt.event)
                if place is not None and await self._is_member(tx, pending.receipt.timeline):
                    await self._add_message(tx, pending.receipt, place)
                    self._finish(pending)
                else:
                    unknown.append(pending)
        await self._resolve_by_time(unknown)
        return _RETRY_S if self._pending else None

    async def _places(self, tx: Transaction, batch: list[_Pending]) -> dict[EventId, MessagePlace]:
        events: dict[RoomId, set[EventId]] = {}
        for pending in batch:
            events.setdefault(pending.receipt.timeline.room, set()).add(pending.receipt.event)
        places: dict[EventId, MessagePlace] = {}
        for room, of_room in events.items():
            places |= await tx.receipts.places(room, of_room)
        return places

    async def _is_member(self, tx: Transaction, timeline: ReceiptTimeline) -> bool:
        """Return whether the city knows the user as a member; the join may arrive after the receipt, like the event."""
        return await self._members.is_joined(tx, timeline.room, timeline.user)

    async def _add_message(self, tx: Transaction, receipt: RemoteReceipt, place: MessagePlace) -> None:
        room, _, thread_id = receipt.timeline
        for root in timelines_of(place.thread_root, thread_id):
            is_itself = root == place.thread_root and not place.is_deleted
            shown = place if is_itself else await tx.receipts.shown_at_seq(room, root, place.seq)
            self._add_shown(receipt, root, shown)

    async def _resolve_by_time(self, unknown: list[_Pending]) -> None:
        now_s = asyncio.get_running_loop().time()
        overdue = [pending for pending in unknown if now_s - pending.since_s >= self._patience_s]
        for pending in overdue[:_MAX_REQUESTS]:
            await self._add_by_time(pending)
            self._finish(pending)
        for pending in unknown:
            # Behind the others, so that the next step begins with receipts that were not looked at yet.
            if self._pending.get(pending.receipt.timeline) is pending:
                self._pending[pending.receipt.timeline] = self._pending.pop(pending.receipt.timeline)

    async def _add_by_time(self, pending: _Pending) -> None:
        receipt = pending.receipt
        async with self._database.read_only() as tx:
            if not await self._is_member(tx, receipt.timeline):
                return
        at_ms = await self._event_times.of(pending.matrix_room, receipt.event, as_user=pending.observer)
        if at_ms is None:
            return
        room, _, thread_id = receipt.timeline
        async with self._database.read_only() as tx:
            root: MessageId | None = None
            if thread_id not in {None, MAIN_THREAD_ID}:
                root_event = EventId(str(thread_id))
                root_place = (await tx.receipts.places(room, [root_event])).get(root_event)
                if root_place is None:
                    return
                root = root_place.id
            self._add_shown(receipt, root, await tx.receipts.shown_at_time(room, root, at_ms))

    def _add_shown(self, receipt: RemoteReceipt, root: MessageId | None, shown: MessagePlace | None) -> None:
        if shown is not None:
            key = ReceiptKey(receipt.timeline.room, user_subject(receipt.timeline.user), root)
            self._add(key, ReadPosition(shown.id, shown.seq, receipt.at_ms))

    def _finish(self, pending: _Pending) -> None:
        # A newer receipt may have replaced it meanwhile.
        if self._pending.get(pending.receipt.timeline) is pending:
            del self._pending[pending.receipt.timeline]


async def _newest(receipts: Iterator[RemoteReceipt]) -> list[RemoteReceipt]:
    """Return the newest receipts of a room. Other tasks run in between: a room of 100,000 people has as many receipts."""
    newest: list[RemoteReceipt] = []
    while part := list(islice(receipts, _STEP_RECEIPTS)):
        newest = nlargest(_MAX_OF_ROOM, [*newest, *part], key=lambda receipt: receipt.at_ms)
        await asyncio.sleep(0)
    return newest


def read_receipts(
    update: Mapping[str, Any], room: RoomId, identities: Identities, now_ms: int
) -> Iterator[RemoteReceipt]:
    """Return the public read receipts of Matrix users in a room's part of a sync response.

    Args:
        update: the value of ``rooms.join.<room>``; events of other types are ignored, as are invalid receipts.
        room: the city room.
        identities: distinguishes Matrix users from ghosts, whose receipts are echoes of the city's.
        now_ms: the time in milliseconds since 1970; later times of receipts are replaced by it.
    """
    for event_id, users in _readers(update):
        for user, receipt in users.items():
            if identities.is_person(UserId(user)) and is_user_id(user) and isinstance(receipt, dict):
                yield RemoteReceipt(
                    ReceiptTimeline(room, UserId(user), _thread_id(receipt)), event_id, _time(receipt, now_ms)
                )


def _readers(update: Mapping[str, Any]) -> Iterator[tuple[EventId, dict[str, Any]]]:
    """Return the events of a room's receipts, each with the content of ``m.read`` by user.

    Homeservers show ``m.read.private`` to the reader alone. It is not read in any case.
    """
    for event in ephemeral_events(update):
        match event:
            case {"type": "m.receipt", "content": dict(content)}:
                for event_id, types in content.items():
                    match types:
                        case {"m.read": dict(users)} if _is_event_id(event_id):
                            yield EventId(event_id), users


def _thread_id(receipt: Mapping[str, Any]) -> str | None:
    thread_id = receipt.get("thread_id")
    return thread_id if thread_id == MAIN_THREAD_ID or _is_event_id(thread_id) else None


def _is_event_id(value: Any) -> TypeGuard[str]:
    # PostgreSQL accepts no U+0000 in a text.
    is_short = isinstance(value, str) and len(value) <= _MAX_EVENT_ID_CHARS
    return is_short and value.startswith("$") and value.isprintable()


def _time(receipt: Mapping[str, Any], now_ms: int) -> int:
    at_ms = receipt.get("ts")
    return min(max(0, at_ms), now_ms) if type(at_ms) is int else 0
