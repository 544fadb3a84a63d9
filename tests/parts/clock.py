"""Clocks whose time the test sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SecondsClock:
    """A monotonic clock in seconds, in place of ``time.monotonic``."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class MillisecondsClock:
    """A clock in milliseconds since 1970, in place of ``clock.now_ms``."""

    now_ms: int = 1_000_000

    def __call__(self) -> int:
        return self.now_ms
