"""Logs when the process becomes ready and when it ceases to be, and reports the state to the service manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from ..http.readiness import Part, ReadinessProbe

_START_INTERVAL_S: Final = 0.5
_INTERVAL_S: Final = 15.0
_OUTDATED_S: Final = 60.0
"""The age after which the result of an examination is not reported any more."""
_FAILURES: Final = 2
"""Consecutive examinations that fail before the log says so: a restart of Synapse takes less time."""

log = structlog.get_logger()


class ReadinessLog:
    """Examines the parts of ``/readyz`` at intervals.

    Args:
        probe: examines the parts.
    """

    def __init__(self, probe: ReadinessProbe) -> None:
        self._probe = probe
        self._report: Callable[[str], None] | None = None
        self._was_ready: bool | None = None
        """None until the process was ready for the first time."""
        self._failures = 0
        self._parts: dict[str, Part] = {}
        self._examined_s: float | None = None

    @property
    def latest(self) -> dict[str, Part] | None:
        """The parts at the last examination; None before the first one, and if it does not end: the database hangs."""
        if self._examined_s is None or asyncio.get_running_loop().time() - self._examined_s > _OUTDATED_S:
            return None
        return self._parts

    async def run(self, report: Callable[[str], None]) -> None:
        """Log ``ready`` and ``not_ready`` until cancelled; call ``report`` with the state in words at each examination."""
        self._report = report
        began_s = asyncio.get_running_loop().time()
        while True:
            await self.examine(after_s=asyncio.get_running_loop().time() - began_s)
            await asyncio.sleep(_START_INTERVAL_S if self._was_ready is None else _INTERVAL_S)

    async def examine(self, *, after_s: float) -> None:
        """Examine the parts once; ``after_s`` is the time since the start."""
        self._parts = await self._probe.parts()
        self._examined_s = asyncio.get_running_loop().time()
        failed = {name: part.detail for name, part in self._parts.items() if part.is_failed}
        if self._report is not None:
            self._report(_status(self._probe.role, failed))
        if not failed:
            self._failures = 0
            if not self._was_ready:
                log.info("ready", role=self._probe.role, after_s=round(after_s, 1))
            self._was_ready = True
            return
        self._failures += 1
        if self._was_ready and self._failures >= _FAILURES:
            self._was_ready = False
            log.warning("not_ready", parts=failed, help="`daarion-appservice doctor` says what to do")


def _status(role: str, failed: Mapping[str, str]) -> str:
    """Return the state of the process in one line."""
    if not failed:
        return f"Ready ({role})"
    return f"Not ready ({role}): {'; '.join(f'{name} {detail}' for name, detail in failed.items())}"
