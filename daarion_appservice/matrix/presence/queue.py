"""The presence queue: the desired presence of each ghost, and which ghost to send next; without clock or I/O.

    change in the city ─► wish (newest wins) ─► changed ─────┐
    sent a period ago ────────────────────────► refreshes ───┴─ take ─► in flight ─► told | failed: later

Changes precede refreshes, but overdue refreshes alternate with changes, so that neither starves the other. A ghost is
in each queue at most once, and is not taken while its request is in flight. While the queue rests, because another
process is the leader, it only records the desired presence.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ...city.presence import Status
from ...city.types import UserId
from .refreshes import RefreshSchedule

_RETRY_MS: Final = 2_000
"""The delay before the presence of a ghost is sent again after a failed request."""
_FORGOTTEN_MS: Final = 120_000
"""The age after which a change to offline while the queue rested is dropped: Synapse has set the ghost offline."""


@dataclass(frozen=True, slots=True)
class DesiredPresence:
    """The presence that the homeserver should show for a ghost."""

    status: Status
    status_msg: str | None

    @property
    def text(self) -> str | None:
        """The status text for the ghost's profile; None while the ghost is offline."""
        return None if self.status is Status.OFFLINE else self.status_msg or None


GONE: Final = DesiredPresence(Status.OFFLINE, None)


class PresenceQueue:
    """The queue of presence updates. Times are milliseconds since 1970 and never decrease between calls."""

    def __init__(self, *, period_ms: int) -> None:
        self.refreshes = RefreshSchedule(period_ms=period_ms)
        self.wishes: dict[UserId, DesiredPresence] = {}
        """The desired presence of every ghost that is not offline, or whose change to offline is not sent yet."""
        self._changed: OrderedDict[UserId, None] = OrderedDict()
        """The ghosts with an unsent change, as an ordered set, earliest change first."""
        self._later: OrderedDict[UserId, int] = OrderedDict()
        """The ghosts whose request failed, with the time of the next attempt, earliest first."""
        self._being_told: set[UserId] = set()
        self._left: OrderedDict[UserId, int] = OrderedDict()
        """The ghosts that went offline while the queue rested, with the time, earliest first."""
        self._refresh_has_its_turn = False
        self._rests = True

    # --- desired presence -----------------------------------------------------------------------------

    def put(self, user: UserId, wish: DesiredPresence, now_ms: int) -> None:
        """Set the desired presence of a ghost, and queue it unless the queue rests."""
        self.wishes[user] = wish
        if not self._rests:
            self._changed.setdefault(user)
        elif wish.status is Status.OFFLINE:
            self._left[user] = now_ms
            self._left.move_to_end(user)
            self._drop_who_left_long_ago(now_ms)

    def requeue(self, user: UserId) -> None:
        """Queue a ghost again: the homeserver shows another presence than the one sent, or accepts the ghost now."""
        if user in self.wishes and not self._rests:
            self._changed.setdefault(user)

    def requeue_all(self) -> None:
        """Queue every ghost again, because the homeserver may have dropped all presences."""
        if self._rests:
            return
        for user, wish in self.wishes.items():
            if wish.status is Status.OFFLINE:
                self._changed.setdefault(user)
            else:
                self.refreshes.at_once(user)

    def begin(self, now_ms: int) -> None:
        """Stop resting, and queue every ghost, whatever was sent before."""
        self._drop_who_left_long_ago(now_ms)
        for queue in (self._left, self._changed, self._later, self._being_told, self.refreshes):
            queue.clear()
        self._rests = False
        self.requeue_all()

    def rest(self) -> None:
        """Only record the desired presence from now on."""
        self._rests = True

    def _drop_who_left_long_ago(self, now_ms: int) -> None:
        while self._left and next(iter(self._left.values())) < now_ms - _FORGOTTEN_MS:
            user, _ = self._left.popitem(last=False)
            if self.wishes[user].status is Status.OFFLINE:
                del self.wishes[user]

    # --- the next ghost -------------------------------------------------------------------------------

    def take(self, now_ms: int) -> UserId | None:
        """Take the ghost whose presence is to be sent next, or None if none is due.

        The caller reports the result with ``told``, ``failed``, ``limited`` or ``unknown``.
        """
        while self._later and next(iter(self._later.values())) <= now_ms:
            self._changed.setdefault(self._later.popitem(last=False)[0])
        self._refresh_has_its_turn = self.refreshes.are_overdue(now_ms) and not self._refresh_has_its_turn
        user = None if self._refresh_has_its_turn else self._take_change()
        user = user or self._take_refresh(now_ms) or self._take_change()
        if user is not None:
            self._being_told.add(user)
        return user

    def _take_change(self) -> UserId | None:
        for user in self._changed:  # At most as many steps as there are requests in flight.
            if user not in self._being_told:
                del self._changed[user]
                return user
        return None

    def _take_refresh(self, now_ms: int) -> UserId | None:
        while (user := self.refreshes.take(now_ms)) is not None:
            if user not in self._being_told:  # The result of the request in flight queues the ghost again.
                self._changed.pop(user, None)
                return user
        return None

    @property
    def due_ms(self) -> int | None:
        """The time (ms) at which the next refresh or retry becomes due; None if there is none."""
        due = (self.refreshes.due_ms, next(iter(self._later.values()), None))
        return min((each for each in due if each is not None), default=None)

    # --- results of requests --------------------------------------------------------------------------

    def mark_sent(self, user: UserId, wish: DesiredPresence, now_ms: int) -> None:
        """Record that the homeserver accepted ``wish`` for a ghost."""
        self._being_told.discard(user)
        self._later.pop(user, None)
        if wish.status is not Status.OFFLINE:
            self.refreshes.mark_sent(user, now_ms)
            return
        self.refreshes.drop(user)
        if self.wishes[user] == wish:
            self._drop(user)

    def failed(self, user: UserId, now_ms: int) -> None:
        """Record that the request failed; it is repeated after ``_RETRY_MS``."""
        self._being_told.discard(user)
        self._later[user] = now_ms + _RETRY_MS
        self._later.move_to_end(user)

    def limited(self, user: UserId) -> None:
        """Record a 429 response: the change stays queued, and the rate limiter decides when it is sent."""
        self._being_told.discard(user)
        self._changed.setdefault(user)

    def unknown(self, user: UserId) -> None:
        """Record that the ghost is not registered; ``tell_again`` queues it after its registration."""
        self._being_told.discard(user)
        self.refreshes.drop(user)
        if self.wishes[user].status is Status.OFFLINE:
            self._drop(user)

    def _drop(self, user: UserId) -> None:
        del self.wishes[user]
        self._changed.pop(user, None)
        self._later.pop(user, None)
