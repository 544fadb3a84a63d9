"""The observer: receives the presence and typing of Matrix users with the ``/sync`` of one service user.

``@city_observer`` is joined to every room of the city and long-polls ``/sync`` with a filter for presence and typing.
Nothing else ends a poll early (measured: messages, receipts, joins and profile changes do not). The homeserver serves
one reader, and an initial sync returns the complete state after every outage. Presence in transactions (MSC2409) is
lost while the service is down, and also contains the service's own ghosts, which is quadratic (measured: a change of
1,000 ghosts caused a million events; with the observer, a thousand).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import structlog

from ...city.identity import Identities
from ...city.types import MatrixRoomId, RoomId, UserId
from ...errors import HomeserverRefused, HomeserverTimeout, HomeserverUnavailable
from ...realtime.isolation import isolated
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import may_answer_later
from ..client.transport import JSON
from ..ghosts.ghosts import Ghosts, Profile, is_unregistered
from .observer_coverage import ObserverCoverage
from .typing import RemoteTyping
from .user_presence import UserPresence

_POLL_MS: Final = 25_000
_LATE_S: Final = 10.0
"""How much longer than ``_POLL_MS`` a poll may take before it is cancelled as hanging."""
_AWAY_PAUSE_S: Final = 1.0
_REFUSED_PAUSE_S: Final = 10.0
_NOT_SEEN: Final = frozenset({403, 404})
_PROFILE: Final = Profile("City observer")

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
        people: UserPresence,
        observer_coverage: ObserverCoverage,
        typing: RemoteTyping,
        *,
        say_again_s: float,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._user: UserId = identities.observer
        self._people = people
        self._observer_coverage = observer_coverage
        self._typing = typing
        self._say_again_s = say_again_s
        self._joined: set[MatrixRoomId] | None = None
        self._refused: set[MatrixRoomId] = set()
        self._rooms: dict[MatrixRoomId, RoomId] = {}
        """The observed Matrix rooms, with the city room of each."""
        self._attends = asyncio.Event()
        # The pending poll may hang on a dead connection after an outage.
        monitor.on_return(observer_coverage.lose)

    async def attend(self, rooms: Mapping[MatrixRoomId, RoomId]) -> None:
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
            self._typing.end(self._rooms[room])
        self._rooms = {matrix_room: room for matrix_room, room in rooms.items() if matrix_room not in self._refused}
        self._attends.set()

    async def _forget(self) -> None:
        """Delete the observer's records, because the homeserver's database was recreated."""
        await self._ghosts.forget(self._user)
        self._joined = None
        self._refused.clear()

    async def _join(self, rooms: Mapping[MatrixRoomId, RoomId]) -> None:
        await self._ghosts.ensure(self._user, _PROFILE)
        if self._joined is None:
            self._joined = await self._homeserver.joined_rooms(as_user=self._user)
        for room in rooms:
            if room not in self._joined and room not in self._refused:
                (self._joined if await self._may_join(room) else self._refused).add(room)

    async def _may_join(self, room: MatrixRoomId) -> bool:
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
        self._attends.clear()
        await self._attends.wait()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look_on())
                tasks.create_task(self._ask_about_moved())
                tasks.create_task(self._say_again())
        finally:
            self._lose()

    async def _look_on(self) -> None:
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
                    since = await (self._look_again(token) if token else self._look_at_all())
            except HomeserverUnavailable as error:
                self._monitor.lost(error)
                await self._look_away(_AWAY_PAUSE_S)
            except HomeserverRefused as error:
                log.warning("observer_refused", error=str(error), help="people on Matrix are not seen; trying again")
                await self._look_away(_REFUSED_PAUSE_S)
            else:
                if since is None:
                    await self._look_away(_REFUSED_PAUSE_S)
            if self._monitor.absences != absences:
                since = None

    async def _look_away(self, pause_s: float) -> None:
        """Pause, and start with an initial sync afterwards, so that no change is missed."""
        self._lose()
        await asyncio.sleep(pause_s)

    def _lose(self) -> None:
        self._observer_coverage.lose()
        self._typing.clear()

    async def _look_at_all(self) -> str:
        rooms = self._rooms
        self._observer_coverage.open()
        answer = await self._poll(None, 0)
        await self._people.take_all(_presence(answer))
        self._typing.take_all(answer, rooms)
        self._observer_coverage.covers(frozenset(rooms.values()))
        return str(answer["next_batch"])

    async def _look_again(self, since: str) -> str:
        rooms = self._rooms
        answer = await self._wait_for_change(since)
        self._observer_coverage.told(await self._people.handle_ephemeral(_presence(answer)))
        self._typing.take(answer, rooms)
        self._observer_coverage.covers(frozenset(rooms.values()))
        return str(answer["next_batch"])

    async def _wait_for_change(self, since: str) -> JSON:
        try:
            async with asyncio.timeout(_POLL_MS / 1000 + _LATE_S):
                return await self._poll(since, _POLL_MS)
        except TimeoutError as error:
            raise HomeserverTimeout(f"{self._homeserver.address} did not end the observer's poll") from error

    async def _poll(self, since: str | None, timeout_ms: int) -> JSON:
        return await self._homeserver.sync(since=since, filter_json=_FILTER, timeout_ms=timeout_ms, as_user=self._user)

    async def _say_again(self) -> None:
        while True:
            await asyncio.sleep(self._say_again_s)
            await self._people.republish()

    async def _ask_about_moved(self) -> None:
        while True:
            user = await self._observer_coverage.next_moved()
            try:
                with isolated("observer", user):
                    await self._people.learn(user, self._ask)
            except HomeserverUnavailable as error:
                self._monitor.lost(error)
                self._observer_coverage.put_back()
                await asyncio.sleep(_AWAY_PAUSE_S)
            except HomeserverRefused as error:
                log.debug("presence_refused", user=user, error=str(error))
                # A refusal that concerns this user alone must not delay the others.
                if is_unregistered(error) or may_answer_later(error):
                    self._observer_coverage.put_back()
                    await asyncio.sleep(_REFUSED_PAUSE_S)
                else:
                    self._observer_coverage.settled()
            else:
                self._observer_coverage.settled()

    async def _ask(self, user: UserId) -> JSON:
        """Request a user's presence as the observer; a user whose presence it may not read counts as offline."""
        try:
            return await self._homeserver.presence(user, as_user=self._user)
        except HomeserverRefused as error:
            if error.status in _NOT_SEEN:
                return {}
            raise


def _presence(answer: JSON) -> list[Any]:
    events: list[Any] = answer.get("presence", {}).get("events", [])
    return events
