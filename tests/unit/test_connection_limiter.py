"""The limits of open WebSockets and event streams by subject and address."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import TooManyRequests
from daarion_appservice.http.limits.connections import ConnectionLimiter


def test_connections_over_limit_are_refused() -> None:
    limiter = ConnectionLimiter(per_subject=2, per_address=3)
    with limiter.take("a", "1.2.3.4"), limiter.take("a", "1.2.3.4"):
        with pytest.raises(TooManyRequests):
            limiter.take("a", "5.6.7.8")
        with limiter.take("b", "1.2.3.4"), pytest.raises(TooManyRequests):
            limiter.take("b", "1.2.3.4")
        with limiter.take("b", "5.6.7.8"), limiter.take("b", "1.2.3.4"), limiter.take(None, None):
            assert len(limiter) == 8
    assert len(limiter) == 0


def test_connections_without_limit_are_accepted() -> None:
    limiter = ConnectionLimiter(per_subject=0, per_address=0)
    assert [limiter.take("a", "1.2.3.4") for _ in range(1000)]


def test_lease_refused_move_keeps_count() -> None:
    limiter = ConnectionLimiter(per_subject=1, per_address=1)
    with limiter.take(None, "1.2.3.4") as lease:
        with limiter.take("a", None):
            with pytest.raises(TooManyRequests):
                lease.move("a", None)
            with pytest.raises(TooManyRequests):
                limiter.take(None, "1.2.3.4")
        lease.move("a", None)
        lease.move("a", None)
        limiter.take(None, "1.2.3.4").__exit__()
        with pytest.raises(TooManyRequests):
            limiter.take("a", None)
    assert len(limiter) == 0
    assert not limiter._subjects
    assert not limiter._addresses
