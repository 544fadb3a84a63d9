"""Reads the history of rooms: by ``/sync`` since a token, for all rooms of a user, or backwards in one room."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from ...city.event_fields import Event, event_id_of
from ...city.types import MatrixRoomId, UserId
from ..client.homeserver import Homeserver

MAX_PAGES: Final = 100
"""Maximum number of pages of one room: 10,000 events."""
_PAGE: Final = 100
_MAX_SYNCS: Final = 50
"""Maximum number of ``/sync`` requests of one sweep; each returns up to 100 events of each room in stream order."""
_MAX_FILTER_BYTES: Final = 6_000
"""Maximum length of the room ids in the filter of a ``/sync`` URL: Synapse accepts URLs of up to 16 KiB."""
_NOTHING: Final[dict[str, Any]] = {"types": [], "limit": 0}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """A contiguous part of a room's history, oldest event first; each event has a ``room_id``."""

    room: MatrixRoomId
    events: list[Event]
    in_stream_order_from: int = 0
    """From this index on the events are in stream order; before it they are in topological order."""
    is_first: bool = False
    """Whether no earlier range is known: then only events after one that a transaction delivered count as missing."""
    since_token: bool = False
    """Whether the range has all events between two tokens of ``/sync``."""

    @property
    def ids(self) -> list[str]:
        return [event_id_of(event) for event in self.events]


@dataclass(slots=True)
class SyncedHistory:
    """The events of a user's rooms since a token of ``/sync``, and the next token."""

    token: str
    ranges: dict[MatrixRoomId, HistoryRange] = field(default_factory=dict)
    left: set[MatrixRoomId] = field(default_factory=set)
    """Rooms that the user has left."""
    invitations: dict[MatrixRoomId, list[Event]] = field(default_factory=dict)
    """Rooms that the user is invited to, with their stripped state."""


class RoomHistories:
    """Requests of room history; all methods raise HomeserverUnavailable and HomeserverRefused."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver

    async def start(self, user: UserId) -> SyncedHistory:
        """Return a token for the events from now on, and the open invitations of ``user``."""
        response = await self._sync(None, user, ())
        since = SyncedHistory(str(response["next_batch"]))
        since.invitations.update(_invitations(response))
        return since

    async def read_since(
        self, token: str, user: UserId, rooms: Collection[MatrixRoomId] | None = None
    ) -> SyncedHistory:
        """Return the events since ``token``, with up to ``MAX_PAGES`` pages for each gap of a timeline.

        Args:
            token: ``next_batch`` of an earlier ``/sync`` of ``user``.
            user: a user of the application service.
            rooms: the rooms to read; None for all rooms of ``user``.
        """
        found = SyncedHistory(token)
        for _ in range(_MAX_SYNCS):
            before = found.token
            # The homeserver may repeat a cached response to the same request, so that only an empty one is the last.
            response = await self._sync(before, user, rooms)
            found.token = str(response["next_batch"])
            joined = _object(_object(response, "rooms"), "join")
            for room, part in joined.items():
                await self._add_timeline(found, MatrixRoomId(room), _object(part, "timeline"), before, user)
            found.left |= set(map(MatrixRoomId, _object(_object(response, "rooms"), "leave")))
            found.left -= set(map(MatrixRoomId, joined))
            found.invitations.update(_invitations(response))
            if not joined or found.token == before:
                break
        return found

    async def _add_timeline(
        self, found: SyncedHistory, room: MatrixRoomId, timeline: dict[str, Any], before: str, user: UserId
    ) -> None:
        previous = found.ranges.get(room) or HistoryRange(room, [], since_token=True)
        gap: list[Event] = []
        if timeline.get("limited") is True and isinstance(prev_batch := timeline.get("prev_batch"), str):
            gap = await self._read_gap(room, prev_batch, before, user)
        events = [*previous.events, *gap, *_events(timeline.get("events"), room)]
        ordered_from = len(previous.events) + len(gap) if gap else previous.in_stream_order_from
        found.ranges[room] = replace(previous, events=events, in_stream_order_from=ordered_from)

    async def _read_gap(self, room: MatrixRoomId, cursor: str | None, until: str, user: UserId) -> list[Event]:
        """Return the events that a limited timeline leaves out, oldest first."""
        found: list[Event] = []
        for _ in range(MAX_PAGES):
            page, cursor = await self._homeserver.messages_before(room, cursor, limit=_PAGE, as_user=user, until=until)
            found += _events(page, room)
            if cursor is None or not page:
                return found[::-1]
        _log_too_long(room, len(found))
        return found[::-1]

    async def joined_rooms(self, user: UserId) -> set[MatrixRoomId]:
        return await self._homeserver.joined_rooms(as_user=user)

    async def read_page(
        self, room: MatrixRoomId, cursor: str | None, *, as_user: UserId
    ) -> tuple[list[Event], str | None]:
        """Return a page of history, newest first, and the cursor of the next page; None at the start of the room."""
        page, cursor = await self._homeserver.messages_before(room, cursor, limit=_PAGE, as_user=as_user)
        return _events(page, room), cursor if page else None

    async def read_after(self, room: MatrixRoomId, event_id: str, *, as_user: UserId) -> HistoryRange:
        """Return the events after ``event_id``; if that is not found, the whole history as a first range."""
        found: list[Event] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page, cursor = await self.read_page(room, cursor, as_user=as_user)
            for event in page:
                if event["event_id"] == event_id:
                    return HistoryRange(room, found[::-1], len(found))
                found.append(event)
            if cursor is None:
                break
        else:
            _log_too_long(room, len(found))
        return HistoryRange(room, found[::-1], len(found), is_first=True)

    async def _sync(self, since: str | None, user: UserId, rooms: Collection[MatrixRoomId] | None) -> dict[str, Any]:
        return await self._homeserver.sync(since=since, filter_json=_filter(rooms), timeout_ms=0, as_user=user)


def _filter(rooms: Collection[MatrixRoomId] | None) -> str:
    room: dict[str, Any] = {
        "account_data": _NOTHING,
        "ephemeral": _NOTHING,
        "state": _NOTHING | {"lazy_load_members": True},
        "timeline": {"limit": _PAGE},
    }
    if rooms is not None and sum(map(len, rooms)) <= _MAX_FILTER_BYTES:
        room["rooms"] = sorted(rooms)
    return json.dumps({"presence": _NOTHING, "account_data": _NOTHING, "room": room}, separators=(",", ":"))


def _events(events: Any, room: MatrixRoomId) -> list[Event]:
    """Return the events that have an id, with the ``room_id`` that ``/sync`` leaves out."""
    if not isinstance(events, list):
        return []
    return [
        event | {"room_id": room}
        for event in events
        if isinstance(event, dict) and isinstance(event.get("event_id"), str)
    ]


def _invitations(response: dict[str, Any]) -> dict[MatrixRoomId, list[Event]]:
    return {
        MatrixRoomId(room): [
            event
            for event in _object(_object({"": part}, ""), "invite_state").get("events", [])
            if isinstance(event, dict)
        ]
        for room, part in _object(_object(response, "rooms"), "invite").items()
    }


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _log_too_long(room: MatrixRoomId, count: int) -> None:
    log.warning(
        "history_too_long",
        room=room,
        count=count,
        help="more events were missed than one backfill requests; the older ones are missing",
    )
