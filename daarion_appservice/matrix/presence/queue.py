"""The presence queue: the desired presence of each ghost, and which ghost to send next; without clock or I/O.

    change in the city ─► desired presence (newest wins) ─► changes ─┐
    sent a period ago ─────────────────────────────────► refreshes ──┴─ take ─► in flight ─► accepted | retried later

Changes precede refreshes, but overdue refreshes alternate with changes, so that neither starves the other. A ghost is
in each queue at most once, and is not taken while its request is in flight. While the queue is inactive, because another
process is the leader, it only records the desired presence.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ...city.presence import Status
from ...city.types import UserId

_RETRY_MS: Final = 2_000
"""The delay before the presence of a ghost is sent again after a failed request."""
_EXPIRY_MS: Final = 120_000
"""The age after which a change to offline while the queue was inactive is dropped: Synapse has set the ghost offline."""
_MIN_SHARE: Final = 0.5
"""The share of the period before which no ghost is refreshed, however few ghosts there are."""
_TIMEOUT_PERIODS: Final = 4 / 3
"""The number of periods after which a ghost may have timed out (after 30 s, or 1/0.7 of a measured period)."""
_NEVER_MS: Final = 0


@dataclass(frozen=True, slots=True)
class DesiredPresence:
    """The presence that the homeserver should show for a ghost."""

    status: Status
    status_msg: str | None

    @property
    def status_text(self) -> str | None:
        """The status text for the ghost's profile; None while the ghost is offline."""
        return None if self.status is Status.OFFLINE else self.status_msg or None


OFFLINE: Final = DesiredPresence(Status.OFFLINE, None)


class PresenceQueue:
    """The queue of presence updates. Times are milliseconds since 1970 and never decrease between calls."""

    def __init__(self, *, period_ms: int) -> None:
        self.refreshes = RefreshSchedule(period_ms=period_ms)
        self.desired: dict[UserId, DesiredPresence] = {}
        """The desired presence of every ghost that is not offline, or whose change to offline is not sent yet."""
        self._changes: OrderedDict[UserId, None] = OrderedDict()
        """The ghosts with an unsent change, as an ordered set, earliest change first."""
        self._retries: OrderedDict[UserId, int] = OrderedDict()
        """The ghosts whose request failed, with the time of the next attempt, earliest first."""
        self._in_flight: set[UserId] = set()
        self._offline_since_ms: OrderedDict[UserId, int] = OrderedDict()
        """The ghosts that went offline while the queue was inactive, with the time, earliest first."""
        self._changed_ms: dict[UserId, int] = {}
        """When the presence of a ghost changed that the homeserver has not accepted yet, the earliest change of each ghost."""
        self._is_refresh_next = False
        self._is_active = False

    # --- desired presence -----------------------------------------------------------------------------

    def put(self, user: UserId, desired: DesiredPresence, now_ms: int) -> None:
        """Set the desired presence of a ghost, and queue it if the queue is active."""
        self.desired[user] = desired
        if self._is_active:
            self._changes.setdefault(user)
            self._changed_ms.setdefault(user, now_ms)
        elif desired.status is Status.OFFLINE:
            self._offline_since_ms[user] = now_ms
            self._offline_since_ms.move_to_end(user)
            self._drop_expired(now_ms)

    def requeue(self, user: UserId) -> None:
        """Queue a ghost again: the homeserver shows another presence than the one sent, or accepts the ghost now."""
        if user in self.desired and self._is_active:
            self._changes.setdefault(user)

    def requeue_all(self) -> None:
        """Queue every ghost again, because the homeserver may have dropped all presences."""
        if not self._is_active:
            return
        for user, desired in self.desired.items():
            if desired.status is Status.OFFLINE:
                self._changes.setdefault(user)
            else:
                self.refreshes.make_due(user)

    def activate(self, now_ms: int) -> None:
        """Queue every ghost, whatever was sent before, and each change from now on."""
        self._drop_expired(now_ms)
        for queue in (self._offline_since_ms, self._changes, self._retries, self._in_flight, self.refreshes):
            queue.clear()
        self._changed_ms.clear()
        self._is_active = True
        self.requeue_all()

    def deactivate(self) -> None:
        """Only record the desired presence from now on."""
        self._is_active = False

    def _drop_expired(self, now_ms: int) -> None:
        while self._offline_since_ms and next(iter(self._offline_since_ms.values())) < now_ms - _EXPIRY_MS:
            user, _ = self._offline_since_ms.popitem(last=False)
            if self.desired[user].status is Status.OFFLINE:
                del self.desired[user]

    # --- the next ghost -------------------------------------------------------------------------------

    def take(self, now_ms: int) -> UserId | None:
        """Take the ghost whose presence is to be sent next, or None if none is due.

        The caller reports the result with one of the ``mark_…`` methods.
        """
        while self._retries and next(iter(self._retries.values())) <= now_ms:
            self._changes.setdefault(self._retries.popitem(last=False)[0])
        self._is_refresh_next = self.refreshes.is_overdue(now_ms) and not self._is_refresh_next
        user = None if self._is_refresh_next else self._take_change()
        user = user or self._take_refresh(now_ms) or self._take_change()
        if user is not None:
            self._in_flight.add(user)
        return user

    def _take_change(self) -> UserId | None:
        for user in self._changes:  # At most as many steps as there are requests in flight.
            if user not in self._in_flight:
                del self._changes[user]
                return user
        return None

    def _take_refresh(self, now_ms: int) -> UserId | None:
        while (user := self.refreshes.take(now_ms)) is not None:
            if user not in self._in_flight:  # The result of the request in flight queues the ghost again.
                self._changes.pop(user, None)
                return user
        return None

    @property
    def sizes(self) -> dict[str, int]:
        """How many ghosts wait, by the queue that they wait in, and how many are in flight."""
        return {
            "changes": len(self._changes),
            "retries": len(self._retries),
            "refreshes": len(self.refreshes),
            "in_flight": len(self._in_flight),
        }

    @property
    def due_ms(self) -> int | None:
        """The time (ms) at which the next refresh or retry becomes due; None if there is none."""
        due = (self.refreshes.due_ms, next(iter(self._retries.values()), None))
        return min((each for each in due if each is not None), default=None)

    # --- results of requests --------------------------------------------------------------------------

    def mark_sent(self, user: UserId, sent: DesiredPresence, now_ms: int) -> int | None:
        """Record that the homeserver accepted the presence ``sent`` for a ghost.

        Returns:
            How many milliseconds ago the presence changed; None if the homeserver had accepted it before (a refresh), or if
            it has changed again.
        """
        self._in_flight.discard(user)
        self._retries.pop(user, None)
        is_current = self.desired.get(user) == sent
        changed_ms = self._changed_ms.pop(user, None) if is_current else None
        if sent.status is not Status.OFFLINE:
            self.refreshes.mark_sent(user, now_ms)
        else:
            self.refreshes.drop(user)
            if is_current:
                self._drop(user)
        return None if changed_ms is None else now_ms - changed_ms

    def mark_failed(self, user: UserId, now_ms: int) -> None:
        """Record that the request failed; it is repeated after ``_RETRY_MS``."""
        self._in_flight.discard(user)
        self._retries[user] = now_ms + _RETRY_MS
        self._retries.move_to_end(user)

    def mark_rate_limited(self, user: UserId) -> None:
        """Record a 429 response: the change stays queued, and the rate limiter decides when it is sent."""
        self._in_flight.discard(user)
        self._changes.setdefault(user)

    def mark_unregistered(self, user: UserId) -> None:
        """Record that the ghost is not registered; ``requeue`` queues it after its registration."""
        self._in_flight.discard(user)
        self._changed_ms.pop(user, None)
        self.refreshes.drop(user)
        if self.desired[user].status is Status.OFFLINE:
            self._drop(user)

    def _drop(self, user: UserId) -> None:
        del self.desired[user]
        self._changes.pop(user, None)
        self._retries.pop(user, None)
        self._changed_ms.pop(user, None)


class RefreshSchedule:
    """The ghosts to refresh, each once per period and evenly spaced.

    They are in the order of their last updates. The first is due when its period is over, or earlier to keep a pace of
    one refresh every ``period / n``. Ghosts that came online together therefore spread over the period within a few
    rounds, and the next due time takes constant time to compute.
    """

    def __init__(self, *, period_ms: int) -> None:
        self.period_ms = period_ms
        self._sent_ms: OrderedDict[UserId, int] = OrderedDict()
        self._last_taken_ms = _NEVER_MS

    def __len__(self) -> int:
        return len(self._sent_ms)

    def mark_sent(self, user: UserId, now_ms: int) -> None:
        """Record that the homeserver accepted the presence of ``user``; the next refresh is due within a period."""
        if not self._sent_ms:
            self._last_taken_ms = now_ms
        self._sent_ms[user] = now_ms
        self._sent_ms.move_to_end(user)

    def make_due(self, user: UserId) -> None:
        """Make ``user`` due now, because the homeserver may have dropped its presence."""
        self._sent_ms[user] = _NEVER_MS
        self._sent_ms.move_to_end(user, last=False)

    def drop(self, user: UserId) -> None:
        """Stop refreshing ``user``."""
        self._sent_ms.pop(user, None)

    def clear(self) -> None:
        """Stop refreshing all ghosts."""
        self._sent_ms.clear()

    def take(self, now_ms: int) -> UserId | None:
        """Remove the due ghost from the queue and return it; None if none is due."""
        due_ms = self.due_ms
        if due_ms is None or due_ms > now_ms:
            return None
        self._last_taken_ms = now_ms
        return self._sent_ms.popitem(last=False)[0]

    @property
    def due_ms(self) -> int | None:
        """When the next ghost is due; None if the queue is empty."""
        if not self._sent_ms:
            return None
        sent_ms = next(iter(self._sent_ms.values()))
        paced_ms = self._last_taken_ms + self.period_ms // len(self._sent_ms)
        return min(sent_ms + self.period_ms, max(paced_ms, sent_ms + int(self.period_ms * _MIN_SHARE)))

    def is_overdue(self, now_ms: int) -> bool:
        """Return whether the period of any ghost is over."""
        return bool(self._sent_ms) and next(iter(self._sent_ms.values())) + self.period_ms <= now_ms

    def may_have_timed_out(self, now_ms: int) -> bool:
        """Return whether the homeserver may have set a ghost offline whose presence was sent."""
        sent_ms = next(iter(self._sent_ms.values()), _NEVER_MS)
        return sent_ms != _NEVER_MS and sent_ms + int(self.period_ms * _TIMEOUT_PERIODS) < now_ms
