"""The presence of people on Matrix, seen with the eyes of one ghost.

``@city_observer`` has joined every room of the city and long-polls ``/sync`` with a filter that lets only presence through.
That costs the homeserver one reader, and comes as a whole after every outage; presence that is sent with transactions is
lost while we are away, and comes back for our own ghosts too, which is quadratic (measured: a change of 1,000 ghosts made a
million events; here a thousand).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import structlog

from ..city.types import MatrixRoomId, UserId
from ..errors import HomeserverAway, HomeserverRefused
from .ghosts import Ghosts, Profile, is_unregistered
from .homeserver import Homeserver
from .homeserver_watch import HomeserverWatch
from .namespace import Namespace
from .people import People

_POLL_MS: Final = 25_000
_AWAY_PAUSE_S: Final = 1.0
_REFUSED_PAUSE_S: Final = 10.0
_PROFILE: Final = Profile("City observer")

_NOTHING: Final[dict[str, Any]] = {"types": [], "limit": 0}
_FILTER: Final = json.dumps(
    {
        "presence": {"types": ["m.presence"]},
        "account_data": _NOTHING,
        "room": {
            "account_data": _NOTHING,
            "ephemeral": _NOTHING,
            "state": _NOTHING | {"lazy_load_members": True},
            "timeline": _NOTHING,
        },
    },
    separators=(",", ":"),
)

log = structlog.get_logger()


class Observer:
    def __init__(
        self, homeserver: Homeserver, watch: HomeserverWatch, ghosts: Ghosts, namespace: Namespace, people: People
    ) -> None:
        self._homeserver = homeserver
        self._watch = watch
        self._ghosts = ghosts
        self._user: UserId = namespace.observer
        self._people = people
        self._rooms: set[MatrixRoomId] | None = None
        self._attends = asyncio.Event()

    async def attend(self, rooms: list[MatrixRoomId]) -> None:
        """Be in these rooms: whoever is in one of them is seen. Asks only for what is not so already."""
        try:
            await self._join(rooms)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
            await self._forget()
            await self._join(rooms)
        self._attends.set()

    async def _forget(self) -> None:
        """The homeserver was set up anew, and knows nothing of us."""
        await self._ghosts.forget(self._user)
        self._rooms = None

    async def _join(self, rooms: list[MatrixRoomId]) -> None:
        await self._ghosts.ensure(self._user, _PROFILE)
        if self._rooms is None:
            self._rooms = await self._homeserver.joined_rooms(as_user=self._user)
        for room in rooms:
            if room not in self._rooms:
                await self._join_one(room)
                self._rooms.add(room)

    async def _join_one(self, room: MatrixRoomId) -> None:
        try:
            await self._ghosts.join(self._user, room)
        except HomeserverRefused as error:
            if is_unregistered(error):
                raise
            log.warning(
                "observer_refused", room=room, error=str(error), help="people who are in this room only are not seen"
            )

    async def run(self) -> None:
        """Look on, until cancelled."""
        await self._attends.wait()
        since: str | None = None
        while True:
            await self._watch.wait_up()
            try:
                since = await self._look(since)
            except HomeserverAway as error:
                self._watch.lost(error)
                # What happened meanwhile is not told by halves: everybody's state is taken anew.
                since = None
                await asyncio.sleep(_AWAY_PAUSE_S)
            except HomeserverRefused as error:
                log.warning("observer_refused", error=str(error), help="people on Matrix are not seen; trying again")
                since = None
                await asyncio.sleep(_REFUSED_PAUSE_S)

    async def _look(self, since: str | None) -> str:
        answer = await self._homeserver.sync(
            since=since, filter_json=_FILTER, timeout_ms=_POLL_MS if since else 0, as_user=self._user
        )
        events = answer.get("presence", {}).get("events", [])
        if since is None:
            await self._people.take_all(events)
        else:
            await self._people.take(events)
        return str(answer["next_batch"])
