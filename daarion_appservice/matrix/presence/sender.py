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

from ...city.events import PresenceChanged
from ...city.identity import Identities
from ...city.ports import NowMs
from ...city.presence import Status
from ...city.types import UserId
from ...errors import DatabaseError, HomeserverError, HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_unregistered
from ..ghosts.ghosts import Ghosts
from ..ghosts.profile_fields import StatusTextWriter
from .metrics import DELAY_SECONDS, REFRESHES, RESULTS, PresenceUpdateOutcome
from .queue import OFFLINE, DesiredPresence, PresenceQueue
from .rate import AdaptiveRateLimiter
from .shutdown import set_all_offline
from .timeout_probe import UNKNOWN_MS, PresenceTimeoutProbe
from .transport import PresenceTransport, PresenceUpdate, PresenceUpdateResult

_PRESENCE: Final = {Status.ONLINE: "online", Status.AWAY: "unavailable", Status.OFFLINE: "offline"}
"""The value of ``presence`` in the client-server API."""
_STOP_TIMEOUT_S: Final = 10.0
"""The time limit for setting all ghosts offline when the service stops."""
_RENEWAL_RETRY_S: Final = 2.0
_NO_REFRESH_MS: Final = 24 * 3600 * 1000
"""The refresh period for a transport that keeps presences by itself."""
_SETTLED_S: Final = 60.0
"""The time after a start until each present subject has sent a heartbeat. Presence and status texts that the homeserver
shows of other ghosts then are outdated."""

log = structlog.get_logger()

Request = Callable[[], Awaitable[None]]


class PresenceSender:
    """Sends presence updates of ghosts from the queue, at the rate that the homeserver allows."""

    def __init__(
        self,
        choose_transport: Callable[[], Awaitable[PresenceTransport]],
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        identities: Identities,
        status_texts: StatusTextWriter,
        timeout_probe: PresenceTimeoutProbe,
        now_ms: NowMs,
        *,
        refresh_s: float,
        requests_per_s: float,
        max_in_flight: int,
    ) -> None:
        """Create a presence sender.

        Args:
            choose_transport: asks the homeserver which transport it supports.
            refresh_s: the refresh period in seconds; 0 derives it from the measured timeout of the homeserver.
            requests_per_s: the maximum request rate.
            max_in_flight: the maximum number of concurrent requests.
        """
        self._choose_transport = choose_transport
        self._transport: PresenceTransport | None = None
        """The transport in use; None until the homeserver was asked which one it supports."""
        self._monitor = monitor
        self._ghosts = ghosts
        self._identities = identities
        self._status_texts = status_texts
        self._timeout_probe = None if refresh_s else timeout_probe
        self._now_ms = now_ms
        self._max_in_flight = max_in_flight
        self._rate = AdaptiveRateLimiter(max_per_s=requests_per_s)
        self._period_ms = int(refresh_s * 1000) or UNKNOWN_MS
        self._queue = PresenceQueue(period_ms=self._period_ms)
        self._outdated_texts: OrderedDict[UserId, None] = OrderedDict()
        """The ghosts whose profile may have an outdated status text, as an ordered set."""
        self._in_flight = 0
        self._renewal_due_s = 0.0
        self._is_late = False
        self._wake = asyncio.Event()
        monitor.on_return(self._on_return)

    # --- desired presence -----------------------------------------------------------------------------

    def on_presence_changed(self, change: PresenceChanged) -> None:
        """Queue the new presence of a subject of the city."""
        user = self._identities.ghost(change.transition.subject)
        if user is not None:
            state = change.transition.after
            self._queue.put(user, DesiredPresence(state.status, state.status_msg), self._now_ms())
            self._wake.set()

    def on_ghost_ready(self, user: UserId) -> None:
        """Queue the presence of a ghost that was just registered and joined."""
        self._queue.requeue(user)
        self._wake.set()

    def on_message_sent(self, user: UserId) -> None:
        """Queue the presence of an away ghost that sent an event, because some homeservers then show it online."""
        desired = self._queue.desired.get(user)
        if desired is not None and desired.status is Status.AWAY:
            self._queue.requeue(user)
            self._wake.set()

    def _on_return(self) -> None:
        """Queue every presence again, because a homeserver that was lost may have dropped all of them."""
        self._transport = None
        self._status_texts.forget_support()
        self._queue.requeue_all()
        self._wake.set()

    # --- tasks ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send the presence of every ghost, and then each change and refresh, until cancelled.

        The method can be called again. In between, while another process is the leader, changes are only recorded.
        """
        self._transport = None
        self._queue.activate(self._now_ms())
        self._outdated_texts.clear()
        self._in_flight = 0
        self._is_late = False
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._timeout_probe is not None:
                    tasks.create_task(self._timeout_probe.run(self._set_period))
                tasks.create_task(self._reset_absent_ghosts())
                await self._send_due_requests(tasks)
        finally:
            self._queue.deactivate()

    async def stop(self) -> None:
        """Set every ghost offline; for a stop of the service after which no other process sends presence."""
        users = [user for user in self._queue.desired if self._ghosts.is_known(user)]
        if not self._monitor.is_up or not users:
            return
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                transport = self._transport or await self._choose_transport()
                await set_all_offline(transport, users, max_in_flight=self._max_in_flight)
        except TimeoutError:
            log.warning(
                "stopped_before_all_offline", help="Synapse will take the others offline by itself within a minute"
            )

    @property
    def queue_sizes(self) -> dict[str, int]:
        """The numbers of waiting ghosts, by the reason of the wait, and of requests in progress."""
        return self._queue.sizes | {"status_texts": len(self._outdated_texts)}

    @property
    def allowed_per_s(self) -> float:
        """The current limit of the request rate, in requests per second."""
        return self._rate.per_s

    @property
    def period_s(self) -> float:
        """The period within which each ghost is refreshed, in seconds."""
        return self._queue.refreshes.period_ms / 1000

    def _set_period(self, period_ms: int) -> None:
        log.debug("presence_period", period_s=period_ms / 1000)
        self._period_ms = period_ms
        if self._transport is not None:
            self._set_refreshes(self._transport)

    def _set_refreshes(self, transport: PresenceTransport) -> None:
        self._queue.refreshes.period_ms = self._period_ms if transport.renewal_s is None else _NO_REFRESH_MS
        self._wake.set()

    async def _reset_absent_ghosts(self) -> None:
        """Clear the status texts of ghosts that went offline while no process was the leader.

        A transport that keeps presences by itself needs an update to offline as well.
        """
        await asyncio.sleep(_SETTLED_S)
        keeps_presences = self._transport is not None and self._transport.renewal_s is not None
        for user in self._ghosts.known():
            if user in self._queue.desired or self._identities.subject(user) is None:
                continue
            if keeps_presences:
                self._queue.put(user, OFFLINE, self._now_ms())
            elif not self._status_texts.is_current(user, None):
                self._outdated_texts.setdefault(user)
        self._wake.set()

    async def _send_due_requests(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._monitor.wait_up()
            if self._transport is None:
                await self._set_transport()
                continue
            self._wake.clear()
            if (request := self._next_request(self._transport)) is None:
                await self._wait_for_due_request(self._transport)
                continue
            self._rate.record_request(_clock_s())
            self._in_flight += 1
            tasks.create_task(self._run_request(request))

    async def _set_transport(self) -> None:
        absences = self._monitor.absences
        transport = await self._choose_transport()
        if self._monitor.absences == absences:
            self._transport = transport
            self._set_refreshes(transport)

    # --- the next request -----------------------------------------------------------------------------

    def _next_request(self, transport: PresenceTransport) -> Request | None:
        """Return the request to send now, or None if none is due or allowed."""
        if not self._may_send(transport) or self._rate.wait_s(_clock_s()):
            return None
        if users := list(islice(self._due_users(), transport.batch_size)):
            return partial(self._send_updates, transport, users)
        if transport.renewal_s is not None and self._renewal_due_s <= _clock_s():
            return partial(self._send_updates, transport, [])
        user = self._next_outdated_text()
        return None if user is None else partial(self._write_status_text, user)

    def _may_send(self, transport: PresenceTransport) -> bool:
        return self._in_flight < min(self._max_in_flight, transport.max_in_flight or self._max_in_flight)

    def _due_users(self) -> Iterator[UserId]:
        now_ms = self._now_ms()
        if self._queue.refreshes.may_have_timed_out(now_ms):
            self._warn_of_late_refreshes()
        while (user := self._queue.take(now_ms)) is not None:
            if self._ghosts.is_known(user):
                yield user
            else:
                self._queue.mark_unregistered(user)  # The ghost of this citizen is not registered yet.

    def _next_outdated_text(self) -> UserId | None:
        while self._outdated_texts:
            user, _ = self._outdated_texts.popitem(last=False)
            if self._ghosts.is_known(user):
                return user
        return None

    def _warn_of_late_refreshes(self) -> None:
        if not self._is_late:
            self._is_late = True
            log.warning(
                "presence_too_slow",
                ghosts=len(self._queue.desired),
                requests_per_s=round(self._rate.per_s),
                help="Synapse does not take presence as fast as it forgets it, so some ghosts may flap: give it more "
                "processor time, or raise its presence.sync_online_timeout",
            )

    async def _run_request(self, request: Request) -> None:
        try:
            await request()
        except Exception:
            # An unexpected error of one request must not stop the requests of all other ghosts.
            log.exception("presence_request_failed")
        finally:
            self._in_flight -= 1
            self._wake.set()

    async def _wait_for_due_request(self, transport: PresenceTransport) -> None:
        timeout_s: float | None = None
        if self._may_send(transport):
            timeout_s = self._rate.wait_s(_clock_s()) or self._until_due_s(transport)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _until_due_s(self, transport: PresenceTransport) -> float | None:
        due_ms = self._queue.due_ms
        delays_s = [] if due_ms is None else [(due_ms - self._now_ms()) / 1000]
        if transport.renewal_s is not None:
            delays_s.append(self._renewal_due_s - _clock_s())
        return max(0.0, min(delays_s)) if delays_s else None

    # --- requests and their results -------------------------------------------------------------------

    async def _send_updates(self, transport: PresenceTransport, users: list[UserId]) -> None:
        """Send the desired presence of ghosts; without ghosts, renew the lease of the transport."""
        desired = {user: self._queue.desired[user] for user in users}
        updates = [PresenceUpdate(user, _PRESENCE[each.status], each.status_msg) for user, each in desired.items()]
        began_s = _clock_s()
        self._renewal_due_s = began_s + (transport.renewal_s or 0.0)
        try:
            result = await transport.send(updates)
        except HomeserverRateLimited as error:
            self._slow_down(error)
            RESULTS[PresenceUpdateOutcome.RATE_LIMITED].inc(len(users))
            for user in users:
                self._queue.mark_rate_limited(user)
        except HomeserverError as error:
            self._report(error)
            RESULTS[PresenceUpdateOutcome.FAILED].inc(len(users))
            self._renewal_due_s = _clock_s() + _RENEWAL_RETRY_S
            if isinstance(error, HomeserverRefused):
                self._transport = None  # The homeserver may have another version or configuration now: choose again.
            for user in users:
                self._queue.mark_failed(user, self._now_ms())
        except Exception:
            for user in users:
                self._queue.mark_failed(user, self._now_ms())
            raise
        else:
            now_s = _clock_s()
            self._rate.record_response((now_s - began_s) / max(1, len(users)), now_s)
            await self._record_result(desired, result)

    async def _record_result(self, sent: dict[UserId, DesiredPresence], result: PresenceUpdateResult) -> None:
        for user, presence in sent.items():
            if user in result.refused:
                RESULTS[PresenceUpdateOutcome.REFUSED].inc()
                await self._record_refusal(user, result.refused[user])
            else:
                _record_accepted(self._queue.mark_sent(user, presence, self._now_ms()))
                if not self._status_texts.is_current(user, presence.status_text):
                    self._outdated_texts.setdefault(user)
        if result.is_lease_lost:
            self._queue.requeue_all()

    async def _record_refusal(self, user: UserId, error: HomeserverRefused) -> None:
        log.warning("presence_refused", user=user, error=str(error))
        if not is_unregistered(error):
            self._queue.mark_failed(user, self._now_ms())
            return
        self._queue.mark_unregistered(user)
        try:
            await self._ghosts.forget(user)
        except DatabaseError as problem:
            log.warning("ghost_not_forgotten", user=user, error=str(problem), help="the database does not answer")

    async def _write_status_text(self, user: UserId) -> None:
        try:
            await self._status_texts.write(user, self._queue.desired.get(user, OFFLINE).status_text)
        except HomeserverRateLimited as error:
            self._slow_down(error)
            self._outdated_texts.setdefault(user)
        except HomeserverError as error:
            self._report(error)
            self._outdated_texts.setdefault(user)
        except DatabaseError as error:
            log.warning("ghost_not_remembered", user=user, error=str(error), help="the database does not answer")

    def _slow_down(self, error: HomeserverRateLimited) -> None:
        log.debug("presence_limited", retry_after_ms=error.retry_after_ms)
        self._rate.record_rate_limit(error.retry_after_ms / 1000, _clock_s())

    def _report(self, error: HomeserverError) -> None:
        if isinstance(error, HomeserverUnavailable):
            self._rate.record_failure(_clock_s())
            self._monitor.report_unavailable(error)
        else:
            log.warning("presence_refused", error=str(error))


def _record_accepted(delay_ms: int | None) -> None:
    """Record an accepted update; ``delay_ms`` is the time since the change, None for a refresh."""
    RESULTS[PresenceUpdateOutcome.ACCEPTED].inc()
    if delay_ms is None:
        REFRESHES.inc()
    else:
        DELAY_SECONDS.observe(delay_ms / 1000)


def _clock_s() -> float:
    return asyncio.get_running_loop().time()
