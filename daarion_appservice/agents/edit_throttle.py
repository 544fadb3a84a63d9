"""An answer that grows in front of whoever waits for it: posted when there is something to read, then edited at a gentle pace.

Every edit is an event on Matrix, which everybody in the room gets; so they become rarer the longer an answer takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 1.5
"""An answer that is whole by then is posted whole."""
_NEXT_S: Final = 2.0
_SLOWER: Final = 1.5
_SLOWEST_S: Final = 10.0

NowS = Callable[[], float]


class EditThrottle:
    """Says when what there is of an answer should be shown."""

    def __init__(self, now_s: NowS) -> None:
        self._now_s = now_s
        self._pause_s = _NEXT_S
        self._show_at_s = now_s() + _FIRST_S

    def is_due(self) -> bool:
        """Whether to show it now; then the next time is a while later."""
        now_s = self._now_s()
        if now_s < self._show_at_s:
            return False
        self._show_at_s = now_s + self._pause_s
        self._pause_s = min(self._pause_s * _SLOWER, _SLOWEST_S)
        return True
