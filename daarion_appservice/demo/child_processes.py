"""Starts, watches and ends child processes.

A child runs in a session of its own, so that Ctrl-C in a terminal reaches only the parent, which chooses the order in
which the children end. On Linux the kernel kills the child when the parent is killed. Its output goes to its log file.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from ..errors import DaarionError
from . import die_with_parent

POLL_S: Final = 0.02
"""Polling period for the end of a child, in seconds: polling, unlike asyncio's subprocesses, is not bound to an event
loop.
"""

GRACE_S: Final = 10.0
"""How long a child may take to end after SIGTERM before it is killed, in seconds."""


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``module`` with this Python interpreter.

    ``-P`` removes the working directory from the module search path, as its files do not belong to the program.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


class Process(Protocol):
    """The part of `subprocess.Popen` that a `Child` uses."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...

    def send_signal(self, number: int, /) -> None: ...


def launch(command: Sequence[str], log: BinaryIO, environment: Mapping[str, str] | None) -> Process:
    """Start ``command`` in a session of its own, tied to this process, with its output in ``log``."""
    return subprocess.Popen(  # noqa: S603
        _tied_to_us(command),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


@dataclass(slots=True)
class Child:
    """One child process. Start it from the main thread: the kernel treats the end of that thread as the parent's."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] | None = None
    """None for the environment of this process."""
    _process: Process | None = field(default=None, init=False)
    _log_start: int = field(default=0, init=False)

    def start(self) -> None:
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = launch(self.command, log, self.environment)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """The exit code, the negative number of a signal that ended the child, or None before its start and end."""
        return self._process.poll() if self._process else None

    async def ended(self) -> int:
        """Wait for the end of the child and return its exit code."""
        while self.running:  # noqa: ASYNC110 (see POLL_S)
            await asyncio.sleep(POLL_S)
        code = self.exit_code
        return 0 if code is None else code

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Send SIGTERM, and kill the child if it takes longer than ``grace_s`` seconds."""
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(grace_s):
                await self.ended()
        except TimeoutError:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the child and its own children; block until it has ended."""
        if self._process is None:
            return
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_lines(self, count: int = 15) -> list[str]:
        """Return the last lines that the process has written to its log since its start."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return [line.decode(errors="replace").rstrip() for line in deque(log, maxlen=count)]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class ChildExited(DaarionError):
    """A child ended without being stopped."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended ({_ending(child.exit_code)})")
        self.child = child


class Children:
    """The running children, which end in the reverse order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def add(self, child: Child) -> None:
        """Watch a child that was just started."""
        self._children.append(child)

    def check(self) -> None:
        """Raise ChildExited if a child has ended."""
        for child in self._children:
            if not child.running:
                raise ChildExited(child)

    async def stop(self) -> None:
        try:
            for child in reversed(self._children):
                await child.stop()
        finally:
            self.kill()

    def kill(self) -> None:
        for child in self._children:
            child.kill()


def _ending(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return f"killed by {signal.Signals(-exit_code).name}"


def _tied_to_us(command: Sequence[str]) -> list[str]:
    if not sys.platform.startswith("linux"):
        return list(command)
    return [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *command]
