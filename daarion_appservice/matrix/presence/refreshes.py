"""The schedule of presence refreshes: each ghost once per period, evenly spaced. It has no clock and does no I/O.

The schedule is a queue in the order of the last updates. Its head is due when its period is over, or earlier to keep a
pace of one refresh every ``period / n``. Ghosts that came online together therefore spread over the period within a few
rounds, and the next due time takes constant time to compute.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ...city.types import UserId

_MIN_SHARE: Final = 0.5
"""The share of the period before which no ghost is refreshed, however few ghosts there are."""
_TIMEOUT_PERIODS: Final = 4 / 3
"""The number of periods after which a ghost may have timed out (after 30 s, or 1/0.7 of a measured period)."""

_NEVER_MS: Final = 0


class RefreshSchedule:
    """A queue of ghosts to refresh. Times are milliseconds since 1970 and never decrease between calls."""

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
