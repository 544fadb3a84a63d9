"""Decides when a growing reply is posted and edited.

Every edit is a Matrix event that each member of the room receives, so edits become rarer the longer a reply takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 1.5
"""Time before the first post, in seconds; a reply that is complete by then is posted without edits."""
_NEXT_S: Final = 2.0
_SLOWER: Final = 1.5
_SLOWEST_S: Final = 10.0

NowS = Callable[[], float]


class EditThrottle:
    """Tells when the text that has arrived should be shown."""

    def __init__(self, now_s: NowS) -> None:
        self._now_s = now_s
        self._pause_s = _NEXT_S
        self._show_at_s = now_s() + _FIRST_S

    def is_due(self) -> bool:
        """Return whether to show the text now; if so, schedule the next time."""
        now_s = self._now_s()
        if now_s < self._show_at_s:
            return False
        self._show_at_s = now_s + self._pause_s
        self._pause_s = min(self._pause_s * _SLOWER, _SLOWEST_S)
        return True
