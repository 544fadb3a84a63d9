"""Publishes events of one process to the others by a stream in Redis.

Every event is stored before it is published, so none is lost with Redis: a process that was disconnected gets
``BusEventsLost`` and reloads its in-memory state from the database. Presence has a stream of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, get_args

import structlog
from pydantic import TypeAdapter, ValidationError

from ..city.events import (
    AccountsChanged,
    BusEventsLost,
    ChatReadersChanged,
    CityEvent,
    InboxChanged,
    LocalUserRead,
    LocalUserTyping,
    MemberChanged,
    MembershipChanged,
    MessagePosted,
    NotificationModeChanged,
    OutboxChanged,
    ProfileChanged,
    ReceiptsChanged,
    RepliesPending,
    RoomChanged,
    RoomEventStored,
    RoomRemoved,
    TypingChanged,
)
from .bus import Bus
from .redis_client import REDIS_ERRORS, Client, raise_if_cancelled, response_of
from .redis_script import RedisScript
from .tasks import run_until_first_exit

SharedEvent = (
    MessagePosted
    | MembershipChanged
    | MemberChanged
    | ProfileChanged
    | RoomEventStored
    | RoomChanged
    | RoomRemoved
    | TypingChanged
    | LocalUserTyping
    | LocalUserRead
    | NotificationModeChanged
    | ReceiptsChanged
    | InboxChanged
    | OutboxChanged
    | RepliesPending
    | AccountsChanged
    | BusEventsLost
    | ChatReadersChanged
)
_SHARED: Final[tuple[type[Any], ...]] = get_args(SharedEvent)
_ADAPTERS: Final = {kind.__name__: TypeAdapter[Any](kind) for kind in _SHARED}

_STREAM: Final = "city:{events}:stream"
_NUMBER: Final = "city:{events}:number"
_BLOCK_MS: Final = 1000
_BATCH: Final = 50
_RETRY_S: Final = 0.25
_MAX_QUEUED: Final = 10_000
"""Maximum number of unsent events; beyond it, the other processes get ``BusEventsLost`` instead."""
_MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""The same limit in bytes."""
_MAX_LOGGED_CHARS: Final = 100

log = structlog.get_logger()


class SharedBus:
    """Connects ``bus`` with those of the other processes; ``name`` is the name of this process."""

    def __init__(self, client: Client, bus: Bus, name: str) -> None:
        self._client: Any = client  # the types of its methods' results depend on options of the connection
        self._bus = bus
        self._name = name
        self._script = RedisScript("publish")
        self._queue: deque[str] = deque()
        self._queue_bytes = 0
        self._queued = asyncio.Event()
        self._is_connected = False
        for kind in _SHARED:
            bus.subscribe_local(kind, self._enqueue)

    async def run(self) -> None:
        """Publish and receive events, until cancelled."""
        while True:
            try:
                number = await self._newest_number()
                self._is_connected = True
                # Earlier events are read from the database, later ones arrive here. The others have missed the events
                # that this process could not send.
                self._bus.publish_remote(BusEventsLost())
                self._enqueue(BusEventsLost())
                await run_until_first_exit(self._publish_queued(), self._receive(number))
            except _EntriesMissing:
                log.warning(
                    "bus_events_lost",
                    help="this process reads events too slowly; it reloads its state from the database",
                )
            except REDIS_ERRORS as error:
                raise_if_cancelled()
                log.debug("events_not_shared", error=str(error))
                self._is_connected = False
                self._clear()
                await asyncio.sleep(_RETRY_S)

    def _enqueue(self, event: CityEvent) -> None:
        if not self._is_connected:  # the others reload when this process has reconnected
            return
        if len(self._queue) >= _MAX_QUEUED or self._queue_bytes >= _MAX_QUEUED_BYTES:
            self._clear()
            event = BusEventsLost()
        encoded = _encode(event)
        self._queue.append(encoded)
        self._queue_bytes += len(encoded)
        self._queued.set()

    def _clear(self) -> None:
        self._queue.clear()
        self._queue_bytes = 0

    async def _newest_number(self) -> int:
        return int(await self._script.run(self._client, (_STREAM, _NUMBER), [self._name, ""]))

    async def _publish_queued(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                encoded = self._queue.popleft()
                self._queue_bytes -= len(encoded)
                await self._script.run(self._client, (_STREAM, _NUMBER), [self._name, encoded])

    async def _receive(self, number: int) -> None:
        while True:
            found = await response_of(
                self._client.xread({_STREAM: f"{number}-0"}, count=_BATCH, block=_BLOCK_MS), is_blocking=True
            )
            for entry_id, fields in found[0][1] if found else ():
                number += 1
                if entry_id != f"{number}-0":
                    raise _EntriesMissing
                if fields["from"] != self._name:
                    self._bus.publish_remote(_decode(fields["event"]))


class _EntriesMissing(Exception):
    """The stream does not continue at the expected number."""


def _encode(event: CityEvent) -> str:
    kind = type(event).__name__
    return f"{kind} {_ADAPTERS[kind].dump_json(event).decode()}"


def _decode(text: str) -> CityEvent:
    """Return an event of another process; `BusEventsLost` for one that only another version of the service knows.

    A rolling update has two versions at once. What the event says is in the database.
    """
    kind, _, content = text.partition(" ")
    try:
        event: CityEvent = _ADAPTERS[kind].validate_json(content)
    except (KeyError, ValidationError) as error:
        log.debug("bus_event_unknown", kind=kind[:_MAX_LOGGED_CHARS], error=type(error).__name__)
        return BusEventsLost()
    return event
