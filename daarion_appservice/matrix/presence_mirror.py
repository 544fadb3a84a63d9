"""The city's presence → the homeserver: every ghost online exactly while its subject is.

    change in the city ─► wish (newest wins) ─► PUT, changes first ─► refresh before the homeserver forgets (30 s) ─► …

Synapse takes a ghost offline some time after 30 s without a PUT, so everybody who is not offline is told again within
``refresh_s``, with jitter so that they spread out, and always with the status text: a PUT without one clears it for everybody.
Going offline is told, never left to the homeserver's own clock.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..city.events import PresenceChanged
from ..city.ports import NowMs
from ..city.presence import Status
from ..city.types import UserId
from ..errors import HomeserverAway, HomeserverRefused
from .ghosts import Ghosts, is_unregistered
from .homeserver import Homeserver
from .homeserver_watch import HomeserverWatch
from .namespace import Namespace

ON_MATRIX: Final = {Status.ONLINE: "online", Status.AWAY: "unavailable", Status.OFFLINE: "offline"}

_JITTER: Final = 0.2
"""Refreshes are due between 80 % and 100 % of the period."""
_REFUSED_PAUSE_MS: Final = 2_000
"""How soon a change is told again after it was refused."""
_STOP_S: Final = 10.0
"""How long a clean stop may take to tell the homeserver that everybody is offline."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the homeserver should show of a ghost."""

    status: Status
    status_msg: str | None


class PresenceMirror:
    def __init__(
        self,
        homeserver: Homeserver,
        watch: HomeserverWatch,
        ghosts: Ghosts,
        namespace: Namespace,
        now_ms: NowMs,
        *,
        refresh_s: float,
        in_flight: int,
    ) -> None:
        self._homeserver = homeserver
        self._watch = watch
        self._ghosts = ghosts
        self._namespace = namespace
        self._now_ms = now_ms
        self._refresh_ms = int(refresh_s * 1000)
        self._in_flight = in_flight
        self._wishes: dict[UserId, Wish] = {}
        """Everybody who is not offline, and those whose going offline was not told yet."""
        self._changed: OrderedDict[UserId, None] = OrderedDict()
        """Whom to tell the homeserver of next, in the order they changed; a set that keeps its order."""
        self._refreshes: list[tuple[int, UserId]] = []
        self._refresh_at_ms: dict[UserId, int] = {}
        """The entry of ``_refreshes`` that counts; older ones are dropped when they come up."""
        self._told: dict[UserId, Wish] = {}
        """What was told last of those who are not offline."""
        self._being_told: set[UserId] = set()
        self._wake = asyncio.Event()
        watch.on_return(self.tell_all)

    def follow(self, change: PresenceChanged) -> None:
        """Somebody's presence changed in the city."""
        user = self._namespace.ghost(change.transition.subject)
        if user is not None:
            shown = change.transition.after
            self._wishes[user] = Wish(shown.status, shown.status_msg)
            self._put_first(user)

    def ghost_ready(self, user: UserId) -> None:
        """A ghost is registered and joined now: what was wished for it can be told."""
        if user in self._wishes:
            self._put_first(user)

    def tell_all(self) -> None:
        """The homeserver may have forgotten everything: tell it again."""
        for user in self._wishes:
            self._put_first(user)

    async def run(self) -> None:
        """Tell the homeserver, until cancelled."""
        async with asyncio.TaskGroup() as tellers:
            for _ in range(self._in_flight):
                tellers.create_task(self._tell_forever())

    async def stop(self) -> None:
        """Take every ghost offline that the homeserver believes to be here."""
        users = [user for user, wish in self._wishes.items() if self._ghosts.is_known(user)]
        if not self._watch.is_up or not users:
            return
        waiting = iter(users)
        try:
            async with asyncio.timeout(_STOP_S), asyncio.TaskGroup() as tellers:
                for _ in range(self._in_flight):
                    tellers.create_task(self._take_offline(waiting))
        except TimeoutError:
            log.warning(
                "stopped_before_all_offline", help="Synapse will take the others offline by itself within a minute"
            )

    async def _take_offline(self, users: Iterable[UserId]) -> None:
        for user in users:
            try:
                await self._homeserver.set_presence(user, "offline", None)
            except HomeserverAway:
                return
            except HomeserverRefused as error:
                log.warning("presence_refused", user=user, error=str(error))

    async def _tell_forever(self) -> None:
        while True:
            await self._watch.wait_up()
            user = self._next()
            if user is None:
                await self._sleep()
                continue
            self._being_told.add(user)
            try:
                await self._tell(user)
            finally:
                self._being_told.discard(user)
                if user in self._changed:
                    self._wake.set()

    def _next(self) -> UserId | None:
        """Whoever changed first and is not being told right now, else whose refresh is due."""
        for user in self._changed:  # at most as many steps as there are requests in flight
            if user not in self._being_told:
                del self._changed[user]
                return user
        now_ms = self._now_ms()
        while self._refreshes and self._refreshes[0][0] <= now_ms:
            due_ms, user = heapq.heappop(self._refreshes)
            if self._refresh_at_ms.get(user) == due_ms and user not in self._being_told:
                return user
        return None

    async def _sleep(self) -> None:
        self._wake.clear()
        timeout_s = max(0.0, (self._refreshes[0][0] - self._now_ms()) / 1000) if self._refreshes else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _tell(self, user: UserId) -> None:
        wish = self._wishes.get(user)
        if wish is None:
            return
        if not self._ghosts.is_known(user):
            # A citizen whom nobody on Matrix has met; once there is a ghost it is shown what is wished then.
            if wish.status is Status.OFFLINE:
                del self._wishes[user]
            return
        try:
            await self._homeserver.set_presence(user, ON_MATRIX[wish.status], wish.status_msg)
        except HomeserverAway as error:
            self._watch.lost(error)
            if self._watch.is_up:  # only this request was slow: not again at once
                self._due(user, _REFUSED_PAUSE_MS)
            else:
                self._changed.setdefault(user)
        except HomeserverRefused as error:
            log.warning("presence_refused", user=user, error=str(error))
            self._try_again(user, wish)
            if is_unregistered(error):
                await self._forget(user)
        else:
            self._is_told(user, wish)

    async def _forget(self, user: UserId) -> None:
        try:
            await self._ghosts.forget(user)
        except (SQLAlchemyError, OSError) as error:
            log.warning("ghost_not_forgotten", user=user, error=str(error), help="the database does not answer")

    def _is_told(self, user: UserId, wish: Wish) -> None:
        if wish.status is not Status.OFFLINE:
            self._told[user] = wish
            self._refresh_later(user)
        elif self._wishes.get(user) == wish:
            del self._wishes[user]
            self._told.pop(user, None)
            self._refresh_at_ms.pop(user, None)

    def _try_again(self, user: UserId, wish: Wish) -> None:
        """A change that was refused is not put off until the next refresh would be due."""
        is_refresh = self._told.get(user) == wish
        self._due(user, self._refresh_ms if is_refresh else _REFUSED_PAUSE_MS)

    def _refresh_later(self, user: UserId) -> None:
        self._due(user, self._refresh_ms)

    def _due(self, user: UserId, in_ms: int) -> None:
        due_ms = self._now_ms() + int(in_ms * (1 - _JITTER * random.random()))  # noqa: S311 -- only spreads load
        self._refresh_at_ms[user] = due_ms
        heapq.heappush(self._refreshes, (due_ms, user))

    def _put_first(self, user: UserId) -> None:
        self._changed.setdefault(user)
        self._wake.set()
