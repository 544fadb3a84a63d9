"""The resident memory of a service during a long run, over its restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.parts.city import RunningCity

WINDOW_S = 60
GROWTH = 1.1
"""The memory of the last minute may be this many times that of the second one."""


@dataclass
class MemoryWatch:
    """Samples of one second each, in bytes; none while the service does not run."""

    samples: list[int] = field(default_factory=list)

    @property
    def is_long_enough(self) -> bool:
        """Whether the second and the last minute are different ones."""
        return len(self.samples) >= 3 * WINDOW_S

    def check_flat(self) -> str:
        """Assert that the memory has not grown, if the run was long enough; return the figures."""
        if not self.is_long_enough:
            return f"memory: at most {max(self.samples, default=0) >> 20} MiB in {len(self.samples)} s"
        early, late = max(self.samples[WINDOW_S : 2 * WINDOW_S]), max(self.samples[-WINDOW_S:])
        report = f"memory: {early >> 20} MiB after the first minute, {late >> 20} MiB at the end"
        assert late <= early * GROWTH, report
        return report


@asynccontextmanager
async def watching_memory(city: RunningCity) -> AsyncIterator[MemoryWatch]:
    """Sample the memory of the service inside the block."""
    watch = MemoryWatch()
    sampling = asyncio.create_task(_sample(city, watch))
    try:
        yield watch
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling


async def _sample(city: RunningCity, watch: MemoryWatch) -> None:
    while True:
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{city.service.pid}/status").read_text()
            watch.samples.append(
                next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
            )
        await asyncio.sleep(1)
