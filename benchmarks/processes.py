"""Processes that a benchmark starts, and their use of memory and processors."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.ports import HOST

ROOT = Path(__file__).parents[1]
_START_S = 60.0


def program(name: str, module: str, *arguments: object, log: Path) -> Child:
    """Return a process that runs a module of the benchmarks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Child(name, python(module, *map(str, arguments)), log, environment)


async def listening(child: Child, port: int) -> None:
    """Wait until a process accepts connections.

    Raises:
        RuntimeError: the process ended; with its last log lines.
    """
    async with asyncio.timeout(_START_S):
        while not _takes(port):
            if not child.running:
                raise RuntimeError(f"{child.name} ended while starting:\n" + "\n".join(child.last_lines(30)))
            await asyncio.sleep(0.05)


def _takes(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def rss_mib(child: Child) -> float:
    """Return the resident memory of a process in MiB."""
    return float(_process(child).memory_info().rss) / 2**20


@dataclass(frozen=True, slots=True)
class CpuClock:
    """The processor time that a process has used since ``of``."""

    child: Child
    began_s: float

    @classmethod
    def of(cls, child: Child) -> Self:
        return cls(child, _cpu_s(child))

    @property
    def used_s(self) -> float:
        """Return the processor time of all its threads, in seconds."""
        return _cpu_s(self.child) - self.began_s


def _cpu_s(child: Child) -> float:
    times = _process(child).cpu_times()
    return float(times.user + times.system)


def _process(child: Child) -> psutil.Process:
    if child.pid is None:
        raise RuntimeError(f"{child.name} does not run")
    return psutil.Process(child.pid)
