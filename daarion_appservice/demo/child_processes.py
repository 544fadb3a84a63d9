"""Child processes that have an owner: started, watched, and never left behind.

A child runs in a session of its own, so that a terminal's Ctrl-C reaches only us and we choose the order in which
things end. On Linux the kernel kills it when we are killed. What it prints goes to its log file.
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
from typing import Final

from ..errors import DaarionError
from . import die_with_parent

POLL_S: Final = 0.02
"""How often a child's end is looked for: polling, unlike asyncio's subprocesses, is tied to no event loop."""

GRACE_S: Final = 10.0
"""How long a child may take over its farewell before it is killed."""


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module`` with our own interpreter.

    ``-P`` keeps the working directory out of the module search path: whatever lies there is no part of us.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


@dataclass(slots=True)
class Child:
    """One child process; start it from the main thread: the kernel counts that thread's end as its parent's."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] | None = None
    """None: our own."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log_start: int = field(default=0, init=False)

    def start(self) -> None:
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(  # noqa: S603
                _tied_to_us(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs and before it was started; minus the signal's number if one ended it."""
        return self._process.poll() if self._process else None

    async def ended(self) -> int:
        """Wait for its end; answers the exit code."""
        while self.running:  # noqa: ASYNC110 (see POLL_S)
            await asyncio.sleep(POLL_S)
        code = self.exit_code
        return 0 if code is None else code

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask it to end (SIGTERM), and kill it if it takes longer than ``grace_s``."""
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(grace_s):
                await self.ended()
        except TimeoutError:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End it now, with whatever it started itself; waits for the moment that this takes."""
        if self._process is None:
            return
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of what it has printed since it was started."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return [line.decode(errors="replace").rstrip() for line in deque(log, maxlen=count)]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class ChildExited(DaarionError):
    """A child ended although nobody asked it to."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended ({_ending(child.exit_code)})")
        self.child = child


class Children:
    """Those that are running: ended in the reverse order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def add(self, child: Child) -> None:
        """Watch over a child that was just started."""
        self._children.append(child)

    def check(self) -> None:
        """Raises ChildExited if one of them is gone."""
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
