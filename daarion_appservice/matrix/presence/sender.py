"""The presence sender: sets the Matrix presence of each ghost to the presence of its subject in the city.

    change in the city ─► presence queue: changes, refreshes ──┐
                          status texts of profiles ────────────┴─ at the allowed rate ─► the homeserver

Synapse sets a ghost offline after some time without an update (`timeout_probe` measures how long). The sender
therefore refreshes every ghost that is not offline within a period, always with the status text, because a PUT without
``status_msg`` clears it for all observers. A Synapse with the city's module refreshes ghosts itself while it receives
requests (`transport`). The sender always sends the change to offline and never relies on the homeserver's timeout.
Profile fields are written only when no presence update is due.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ...city.events import PresenceChanged
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.presence import Status
from ...city.types import UserId
from ...errors import HomeserverError, HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ..client.monitor import HomeserverMonitor
from ..ghosts.ghosts import Ghosts, is_unregistered
from ..ghosts.status_text import StatusTextWriter
from .queue import GONE, DesiredPresence, PresenceQueue
from .rate import AdaptiveRateLimiter
from .timeout_probe import UNKNOWN_MS, PresenceTimeoutProbe
from .transport import PresenceTransport, PresenceTransportChooser, PresenceUpdate, PresenceUpdateResult

ON_MATRIX: Final = {Status.ONLINE: "online", Status.AWAY: "unavailable", Status.OFFLINE: "offline"}

_STOP_S: Final = 10.0
"""The time limit for setting all ghosts offline when the service stops."""
_RENEW_RETRY_S: Final = 2.0
_KEPT_MS: Final = 24 * 3600 * 1000
"""The refresh period for a transport that keeps presences by itself."""
_SETTLED_S: Final = 60.0
"""The time after a start until each present subject has sent a heartbeat. Presence and status texts that the homeserver
shows of other ghosts then are outdated."""

log = structlog.get_logger()


class PresenceSender:
    """Sends presence updates of ghosts from the queue, at the rate that the homeserver allows."""

    def __init__(
        self,
        tellers: PresenceTransportChooser,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        identities: Identities,
        texts: StatusTextWriter,
        patience: PresenceTimeoutProbe,
        now_ms: NowMs,
        *,
        refresh_s: float,
        requests_per_s: float,
        in_flight: int,
    ) -> None:
        """Create a presence sender.

        Args:
            refresh_s: the refresh period in seconds; 0 derives it from the measured timeout of the homeserver.
            requests_per_s: the maximum request rate.
            in_flight: the maximum number of concurrent requests.
        """
        self._tellers = tellers
        self._transport: PresenceTransport | None = None
        """The transport in use; None until the homeserver was asked which one it supports."""
        self._monitor = monitor
        self._ghosts = ghosts
        self._identities = identities
        self._texts = texts
        self._patience = None if refresh_s else patience
        self._now_ms = now_ms
        self._most_in_flight = in_flight
        self._budget = AdaptiveRateLimiter(most_per_s=requests_per_s)
        self._period_ms = int(refresh_s * 1000) or UNKNOWN_MS
        self._plan = PresenceQueue(period_ms=self._period_ms)
        self._profiles: OrderedDict[UserId, None] = OrderedDict()
        """The ghosts whose profile may have an outdated status text, as an ordered set."""
        self._in_flight = 0
        self._renew_at_s = 0.0
        self._is_late = False
        self._wake = asyncio.Event()
        monitor.on_return(self._returned)

    # --- desired presence -----------------------------------------------------------------------------

    def follow(self, change: PresenceChanged) -> None:
        """Queue the new presence of a subject of the city."""
        user = self._identities.ghost(change.transition.subject)
        if user is not None:
            shown = change.transition.after
            self._plan.put(user, DesiredPresence(shown.status, shown.status_msg), self._now_ms())
            self._wake.set()

    def ghost_ready(self, user: UserId) -> None:
        """Queue the presence of a ghost that was just registered and joined."""
        self._plan.requeue(user)
        self._wake.set()

    def message_sent(self, user: UserId) -> None:
        """Queue the presence of an away ghost that sent an event, because some homeservers then show it online."""
        wish = self._plan.wishes.get(user)
        if wish is not None and wish.status is Status.AWAY:
            self._plan.requeue(user)
            self._wake.set()

    def _returned(self) -> None:
        """Queue every presence again, because a homeserver that was lost may have dropped all of them."""
        self._transport = None
        self._texts.ask_again()
        self._plan.requeue_all()
        self._wake.set()

    # --- running --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send the presence of every ghost, and then each change and refresh, until cancelled.

        The method can be called again. In between, while another process is the leader, changes are only recorded.
        """
        self._transport = None
        self._plan.begin(self._now_ms())
        self._profiles.clear()
        self._in_flight = 0
        self._is_late = False
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._patience is not None:
                    tasks.create_task(self._patience.run(self._set_period))
                tasks.create_task(self._clear_what_is_old())
                await self._tell_forever(tasks)
        finally:
            self._plan.rest()

    def _set_period(self, period_ms: int) -> None:
        log.debug("presence_period", period_s=period_ms / 1000)
        self._period_ms = period_ms
        if self._transport is not None:
            self._refresh_for(self._transport)

    def _refresh_for(self, transport: PresenceTransport) -> None:
        self._plan.refreshes.period_ms = self._period_ms if transport.renew_s is None else _KEPT_MS
        self._wake.set()

    async def _clear_what_is_old(self) -> None:
        """Clear the status texts of ghosts that went offline while no process was the leader.

        A transport that keeps presences by itself needs an update to offline as well.
        """
        await asyncio.sleep(_SETTLED_S)
        is_kept = self._transport is not None and self._transport.renew_s is not None
        for user in self._ghosts.known():
            if user in self._plan.wishes or self._identities.subject(user) is None:
                continue
            if is_kept:
                self._plan.put(user, GONE, self._now_ms())
            elif not self._texts.is_right(user, None):
                self._profiles.setdefault(user)
        self._wake.set()

    async def _tell_forever(self, requests: asyncio.TaskGroup) -> None:
        while True:
            await self._monitor.wait_up()
            if self._transport is None:
                await self._choose_teller()
                continue
            self._wake.clear()
            if (request := self._next_request(self._transport)) is None:
                await self._sleep(self._transport)
                continue
            self._budget.spend(_clock_s())
            self._in_flight += 1
            requests.create_task(self._send(request))

    async def _choose_teller(self) -> None:
        absences = self._monitor.absences
        transport = await self._tellers.choose()
        if self._monitor.absences == absences:
            self._transport = transport
            self._refresh_for(transport)

    def _has_room(self, transport: PresenceTransport) -> bool:
        return self._in_flight < min(self._most_in_flight, transport.in_flight or self._most_in_flight)

    def _next_request(self, transport: PresenceTransport) -> Callable[[], Awaitable[None]] | None:
        if not self._has_room(transport) or self._budget.wait_s(_clock_s()):
            return None
        if users := list(islice(self._to_tell(), transport.at_once)):
            return partial(self._tell, transport, users)
        if transport.renew_s is not None and self._renew_at_s <= _clock_s():
            return partial(self._tell, transport, [])
        user = self._next_profile()
        return None if user is None else partial(self._show_text, user)

    def _to_tell(self) -> Iterator[UserId]:
        now_ms = self._now_ms()
        if self._plan.refreshes.are_too_late(now_ms):
            self._say_that_it_is_late()
        while (user := self._plan.take(now_ms)) is not None:
            if self._ghosts.is_known(user):
                yield user
            else:
                self._plan.unknown(user)  # The ghost of this citizen is not registered yet.

    def _next_profile(self) -> UserId | None:
        while self._profiles:
            user, _ = self._profiles.popitem(last=False)
            if self._ghosts.is_known(user):
                return user
        return None

    def _say_that_it_is_late(self) -> None:
        if not self._is_late:
            self._is_late = True
            log.warning(
                "presence_too_slow",
                ghosts=len(self._plan.wishes),
                requests_per_s=round(self._budget.per_s),
                help="Synapse does not take presence as fast as it forgets it, so some ghosts may flap: give it more "
                "processor time, or raise its presence.sync_online_timeout",
            )

    async def _send(self, request: Callable[[], Awaitable[None]]) -> None:
        try:
            await request()
        except Exception:
            # An unexpected error of one request must not stop the requests of all other ghosts.
            log.exception("presence_request_failed")
        finally:
            self._in_flight -= 1
            self._wake.set()

    async def _sleep(self, transport: PresenceTransport) -> None:
        """Wait until a request may be due."""
        timeout_s: float | None = None
        if self._has_room(transport):
            timeout_s = self._budget.wait_s(_clock_s()) or self._until_due_s(transport)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _until_due_s(self, transport: PresenceTransport) -> float | None:
        due_ms = self._plan.due_ms
        due_s = [] if due_ms is None else [(due_ms - self._now_ms()) / 1000]
        if transport.renew_s is not None:
            due_s.append(self._renew_at_s - _clock_s())
        return max(0.0, min(due_s)) if due_s else None

    # --- sending --------------------------------------------------------------------------------------

    async def _tell(self, transport: PresenceTransport, users: list[UserId]) -> None:
        wishes = {user: self._plan.wishes[user] for user in users}
        began_s = _clock_s()
        self._renew_at_s = began_s + (transport.renew_s or 0.0)
        try:
            answer = await transport.send(_told(wishes))
        except HomeserverRateLimited as error:
            self._was_limited(error)
            for user in users:
                self._plan.limited(user)
        except HomeserverError as error:
            self._did_not_work(error)
            self._renew_at_s = _clock_s() + _RENEW_RETRY_S
            if isinstance(error, HomeserverRefused):
                self._transport = None  # The homeserver may have another version or configuration now: choose again.
            for user in users:
                self._plan.failed(user, self._now_ms())
        except Exception:
            for user in users:
                self._plan.failed(user, self._now_ms())
            raise
        else:
            now_s = _clock_s()
            self._budget.answered((now_s - began_s) / max(1, len(users)), now_s)
            await self._were_told(wishes, answer)

    async def _were_told(self, wishes: dict[UserId, DesiredPresence], answer: PresenceUpdateResult) -> None:
        for user, wish in wishes.items():
            if user in answer.refused:
                await self._was_refused(user, answer.refused[user])
            else:
                self._is_told(user, wish)
        if answer.has_forgotten:
            self._plan.requeue_all()

    def _is_told(self, user: UserId, wish: DesiredPresence) -> None:
        self._plan.mark_sent(user, wish, self._now_ms())
        if not self._texts.is_right(user, wish.text):
            self._profiles.setdefault(user)

    async def _was_refused(self, user: UserId, error: HomeserverRefused) -> None:
        log.warning("presence_refused", user=user, error=str(error))
        if not is_unregistered(error):
            self._plan.failed(user, self._now_ms())
            return
        self._plan.unknown(user)
        try:
            await self._ghosts.forget(user)
        except (SQLAlchemyError, OSError) as problem:
            log.warning("ghost_not_forgotten", user=user, error=str(problem), help="the database does not answer")

    def _was_limited(self, error: HomeserverRateLimited) -> None:
        log.debug("presence_limited", retry_after_ms=error.retry_after_ms)
        self._budget.limited(error.retry_after_ms / 1000, _clock_s())

    def _did_not_work(self, error: HomeserverError) -> None:
        if isinstance(error, HomeserverUnavailable):
            self._budget.unanswered(_clock_s())
            self._monitor.lost(error)
        else:
            log.warning("presence_refused", error=str(error))

    async def _show_text(self, user: UserId) -> None:
        try:
            await self._texts.show(user, self._plan.wishes.get(user, GONE).text)
        except HomeserverRateLimited as error:
            self._was_limited(error)
            self._profiles.setdefault(user)
        except HomeserverError as error:
            self._did_not_work(error)
            self._profiles.setdefault(user)
        except (SQLAlchemyError, OSError) as error:
            log.warning("ghost_not_remembered", user=user, error=str(error), help="the database does not answer")

    # --- stopping -------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Set every ghost offline; for a stop of the service after which no other process sends presence."""
        users = [user for user in self._plan.wishes if self._ghosts.is_known(user)]
        if not self._monitor.is_up or not users:
            return
        waiting = iter(users)
        try:
            async with asyncio.timeout(_STOP_S), asyncio.TaskGroup() as tasks:
                transport = self._transport or await self._tellers.choose()
                for _ in range(min(self._most_in_flight, transport.in_flight or self._most_in_flight)):
                    tasks.create_task(_take_offline(transport, waiting))
        except TimeoutError:
            log.warning(
                "stopped_before_all_offline", help="Synapse will take the others offline by itself within a minute"
            )


async def _take_offline(transport: PresenceTransport, users: Iterator[UserId]) -> None:
    while batch := list(islice(users, transport.at_once)):
        try:
            answer = await _tell_patiently(transport, _told(dict.fromkeys(batch, GONE)))
        except HomeserverError:
            return
        for user, refusal in answer.refused.items():
            log.warning("presence_refused", user=user, error=str(refusal))


async def _tell_patiently(transport: PresenceTransport, presences: list[PresenceUpdate]) -> PresenceUpdateResult:
    while True:
        try:
            return await transport.send(presences)
        except HomeserverRateLimited as error:
            await asyncio.sleep(error.retry_after_ms / 1000)


def _told(wishes: dict[UserId, DesiredPresence]) -> list[PresenceUpdate]:
    return [PresenceUpdate(user, ON_MATRIX[wish.status], wish.status_msg) for user, wish in wishes.items()]


def _clock_s() -> float:
    return asyncio.get_running_loop().time()
