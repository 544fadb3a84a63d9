"""Unit tests of the plausibility of ``origin_server_ts``."""

from __future__ import annotations

import pytest

from daarion_appservice.city.timestamps import plausible_ms

NOW_MS = 1_700_000_000_000
FIRST_MS = 1_409_529_600_000


@pytest.mark.parametrize("claimed_ms", [FIRST_MS, NOW_MS - 1, NOW_MS])
def test_past_timestamp_is_kept(claimed_ms: int) -> None:
    assert plausible_ms(claimed_ms, NOW_MS) == claimed_ms


@pytest.mark.parametrize("claimed_ms", [-1, 0, FIRST_MS - 1, NOW_MS + 1, 1 << 62])
def test_impossible_timestamp_is_replaced_by_now(claimed_ms: int) -> None:
    assert plausible_ms(claimed_ms, NOW_MS) == NOW_MS
