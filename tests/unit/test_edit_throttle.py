"""The times at which a growing reply is edited."""

from __future__ import annotations

import pytest

from daarion_appservice.agents.edit_throttle import EditThrottle


@pytest.mark.parametrize(("length_s", "most"), [(2.9, 0), (5, 1), (20, 2), (60, 4), (120, 6), (600, 22)])
def test_growing_reply_is_shown_rarely(length_s: float, most: int) -> None:
    now_s = [100.0]
    throttle = EditThrottle(lambda: now_s[0])
    shown = 0
    for _ in range(int(length_s * 10)):
        now_s[0] += 0.1
        shown += throttle.is_due()
    assert shown <= most
    assert bool(shown) is (most > 0), "a reply that takes long is shown before it is complete"
