"""Decides when a growing reply is posted and edited.

Every edit is a Matrix event that each member of the room receives, and Element marks an edited message as "(edited)" for
ever. So a reply of a few seconds is one event, while the agent types, and a longer one has few edits: at most 4 in a minute.
Element implements neither MSC4357, which hides that mark, nor MSC4471, which streams without edits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_INTERVAL_S: Final = 3.0
"""Time before the first post, in seconds; a reply that is complete by then is posted without edits."""
_SECOND_INTERVAL_S: Final = 6.0
_INTERVAL_FACTOR: Final = 2.0
_MAX_INTERVAL_S: Final = 30.0

NowS = Callable[[], float]


class EditThrottle:
    """Decides when a streamed reply is edited to show the text received so far."""

    def __init__(self, now_s: NowS) -> None:
        self._now_s = now_s
        self._interval_s = _SECOND_INTERVAL_S
        self._due_at_s = now_s() + _FIRST_INTERVAL_S

    def is_due(self) -> bool:
        """Return whether to show the text now; if so, schedule the next time."""
        now_s = self._now_s()
        if now_s < self._due_at_s:
            return False
        self._due_at_s = now_s + self._interval_s
        self._interval_s = min(self._interval_s * _INTERVAL_FACTOR, _MAX_INTERVAL_S)
        return True
