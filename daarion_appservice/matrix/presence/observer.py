"""The observer: receives the presence and typing of Matrix users with the ``/sync`` of one service user.

``@city_observer`` is joined to every room of the city and long-polls ``/sync`` with a filter for presence and typing.
Nothing else ends a poll early (measured: messages, receipts, joins and profile changes do not); receipts have a poll of
their own (`receipt_observer`). The homeserver serves one reader, and an initial sync returns the complete state after
every outage. Presence in transactions (MSC2409) is lost while the service is down, and also contains the service's own
ghosts, which is quadratic (measured: a change of 1,000 ghosts caused a million events; with the observer, a thousand).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from ...city.identity import Identities
from ...city.types import MatrixRoomId, RoomId, UserId
from ...errors import HomeserverRefused, HomeserverTimeout, HomeserverUnavailable
from ...json_encoding import JSON
from ...realtime.isolation import isolated
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_transient, is_unregistered
from ..ghosts.ghosts import Ghosts
from .observer_coverage import ObserverCoverage
from .sync_response import presence_events
from .typing import RemoteTyping
from .user_presence import UserPresence

_POLL_MS: Final = 25_000
_POLL_MARGIN_S: Final = 10.0
"""How much longer than ``_POLL_MS`` a poll may take before it is cancelled as hanging."""
_UNAVAILABLE_PAUSE_S: Final = 1.0
_REFUSED_PAUSE_S: Final = 10.0
_NOT_READABLE: Final = frozenset({403, 404})

_NOTHING: Final[dict[str, Any]] = {"types": [], "limit": 0}
_FILTER: Final = json.dumps(
    {
        "presence": {"types": ["m.presence"]},
        "account_data": _NOTHING,
        "room": {
            "account_data": _NOTHING,
            "ephemeral": {"types": ["m.typing"]},
            "state": _NOTHING | {"lazy_load_members": True},
            "timeline": _NOTHING,
        },
    },
    separators=(",", ":"),
)

log = structlog.get_logger()


class Observer:
    """Joins the observer to the rooms of the city, and polls ``/sync`` for presence and typing."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        identities: Identities,
        user_presence: UserPresence,
        observer_coverage: ObserverCoverage,
        typing: RemoteTyping,
        on_rooms: Callable[[Mapping[MatrixRoomId, RoomId]], None],
        *,
        republish_s: float,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._user: UserId = identities.observer
        self._user_presence = user_presence
        self._observer_coverage = observer_coverage
        self._typing = typing
        self._on_rooms = on_rooms
        """Receives the observed rooms, each time that they were joined."""
        self._republish_s = republish_s
        self._joined: set[MatrixRoomId] | None = None
        self._refused: set[MatrixRoomId] = set()
        self._rooms: dict[MatrixRoomId, RoomId] = {}
        """The observed Matrix rooms, with the city room of each."""
        self._has_rooms = asyncio.Event()
        self._is_sync_refused = False
        # The pending poll may hang on a dead connection after an outage.
        monitor.on_return(observer_coverage.lose)

    async def observe(self, rooms: Mapping[MatrixRoomId, RoomId]) -> None:
        """Join the observer to the rooms that it has not joined yet, and observe exactly these rooms.

        Raises:
            HomeserverUnavailable: the homeserver did not respond.
            HomeserverRefused: the homeserver refused to register the observer or to list its rooms.
        """
        try:
            await self._join(rooms)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
            await self._forget()
            await self._join(rooms)
        for room in self._rooms.keys() - rooms.keys():
            self._typing.end_room(self._rooms[room])
        self._rooms = {matrix_room: room for matrix_room, room in rooms.items() if matrix_room not in self._refused}
        self._has_rooms.set()
        self._on_rooms(self._rooms)

    async def _forget(self) -> None:
        """Delete the observer's records, because the homeserver's database was recreated."""
        await self._ghosts.forget(self._user)
        self._joined = None
        self._refused.clear()

    async def _join(self, rooms: Mapping[MatrixRoomId, RoomId]) -> None:
        await self._ghosts.ensure(self._user, self._ghosts.profiles.observer)
        if self._joined is None:
            self._joined = await self._homeserver.joined_rooms(as_user=self._user)
        for room in rooms:
            if room not in self._joined and room not in self._refused:
                (self._joined if await self._try_join(room) else self._refused).add(room)

    async def _try_join(self, room: MatrixRoomId) -> bool:
        try:
            await self._ghosts.join(self._user, room)
        except HomeserverRefused as error:
            if is_unregistered(error):
                raise
            log.warning(
                "observer_refused", room=room, error=str(error), help="people who are in this room only are not seen"
            )
            return False
        return True

    async def run(self) -> None:
        """Observe until cancelled. The method can be called again; it then queries the joined rooms again."""
        self._joined = None
        self._refused.clear()
        self._has_rooms.clear()
        await self._has_rooms.wait()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sync_forever())
                tasks.create_task(self._request_missing_presence())
                tasks.create_task(self._republish_periodically())
        finally:
            self._lose()

    async def _sync_forever(self) -> None:
        since: str | None = None
        while True:
            if not self._monitor.is_up:
                # Another request may have found the homeserver lost while a poll was answered.
                self._lose()
                await self._monitor.wait_up()
            absences = self._monitor.absences
            token, since = since, None
            try:
                with isolated("observer", "sync"):
                    since = await (self._incremental_sync(token) if token else self._initial_sync())
            except HomeserverUnavailable as error:
                self._monitor.report_unavailable(error)
                await self._pause(_UNAVAILABLE_PAUSE_S)
            except HomeserverRefused as error:
                self._is_sync_refused = True
                log.warning(
                    "observer_refused",
                    error=str(error),
                    help="the presence of Matrix users is not received; trying again",
                )
                await self._pause(_REFUSED_PAUSE_S)
            else:
                await self._end_sync(is_complete=since is not None)
            if self._monitor.absences != absences:
                since = None

    async def _end_sync(self, *, is_complete: bool) -> None:
        if not is_complete:
            await self._pause(_REFUSED_PAUSE_S)
        elif self._is_sync_refused:
            self._is_sync_refused = False
            log.info("observer_back")

    async def _pause(self, pause_s: float) -> None:
        """Pause, and start with an initial sync afterwards, so that no change is missed."""
        self._lose()
        await asyncio.sleep(pause_s)

    def _lose(self) -> None:
        self._observer_coverage.lose()
        self._typing.clear()

    async def _initial_sync(self) -> str:
        rooms = self._rooms
        self._observer_coverage.begin_sync()
        response = await self._poll(None, 0)
        await self._user_presence.apply_initial_sync(presence_events(response))
        self._typing.apply_initial_sync(response, rooms)
        self._observer_coverage.end_sync(frozenset(rooms.values()))
        return str(response["next_batch"])

    async def _incremental_sync(self, since: str) -> str:
        rooms = self._rooms
        response = await self._wait_for_change(since)
        self._observer_coverage.mark_received(await self._user_presence.apply_events(presence_events(response)))
        self._typing.apply_sync(response, rooms)
        self._observer_coverage.end_sync(frozenset(rooms.values()))
        return str(response["next_batch"])

    async def _wait_for_change(self, since: str) -> JSON:
        try:
            async with asyncio.timeout(_POLL_MS / 1000 + _POLL_MARGIN_S):
                return await self._poll(since, _POLL_MS)
        except TimeoutError as error:
            raise HomeserverTimeout(f"{self._homeserver.address} did not end the observer's poll") from error

    async def _poll(self, since: str | None, timeout_ms: int) -> JSON:
        return await self._homeserver.sync(since=since, filter_json=_FILTER, timeout_ms=timeout_ms, as_user=self._user)

    async def _republish_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._republish_s)
            await self._user_presence.republish()

    async def _request_missing_presence(self) -> None:
        while True:
            user = await self._observer_coverage.next_user()
            try:
                with isolated("observer", user):
                    await self._user_presence.fetch(user, self._request)
            except HomeserverUnavailable as error:
                self._monitor.report_unavailable(error)
                self._observer_coverage.retry_request()
                await asyncio.sleep(_UNAVAILABLE_PAUSE_S)
            except HomeserverRefused as error:
                log.debug("presence_refused", user=user, error=str(error))
                # A refusal that concerns this user alone must not delay the others.
                if is_unregistered(error) or is_transient(error):
                    self._observer_coverage.retry_request()
                    await asyncio.sleep(_REFUSED_PAUSE_S)
                else:
                    self._observer_coverage.finish_request()
            else:
                self._observer_coverage.finish_request()

    async def _request(self, user: UserId) -> JSON:
        """Request a user's presence as the observer; a user whose presence it may not read counts as offline."""
        try:
            return await self._homeserver.presence(user, as_user=self._user)
        except HomeserverRefused as error:
            if error.status in _NOT_READABLE:
                return {}
            raise
