"""Limits the new Megolm sessions that the devices of one user make a ghost start by ``m.dummy``."""

from __future__ import annotations

from typing import Final

from ...city.types import UserId

MAX_IN_HOUR: Final = 5
"""Rotations by one user in an hour: a user with several devices that lost their sessions at the same time needs as many."""
_HOUR_MS: Final = 3_600_000
_MAX_PAIRS: Final = 10_000


class RotationLimit:
    """Counts rotations by ghost and user, in the memory of this process."""

    def __init__(self) -> None:
        self._rotated_at_ms: dict[tuple[UserId, UserId], list[int]] = {}

    def allows(self, ghost: UserId, user: UserId, now_ms: int) -> bool:
        """Return whether a device of ``user`` may cause a rotation now; if so, it is counted."""
        times = [at_ms for at_ms in self._rotated_at_ms.pop((ghost, user), []) if at_ms > now_ms - _HOUR_MS]
        is_allowed = len(times) < MAX_IN_HOUR
        # The pair goes to the end: the first pair is the one that was not used for the longest time.
        self._rotated_at_ms[ghost, user] = [*times, now_ms] if is_allowed else times
        if len(self._rotated_at_ms) > _MAX_PAIRS:
            del self._rotated_at_ms[next(iter(self._rotated_at_ms))]
        return is_allowed
