"""Starts Synapse and the service by a fork server, which saves most of the CPU time of their start."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from daarion_appservice.demo import child_processes
from tests.parts import fork_server

_IMPORTS: Final = {
    "daarion_appservice": ["daarion_appservice.cli.main", "daarion_appservice.app", "daarion_appservice.wiring"],
    "synapse.app.homeserver": ["synapse.app.homeserver"],
    "synapse.app.generic_worker": ["synapse.app.generic_worker"],
}
"""The modules that may be started, and what their server imports."""

_start_process = child_processes.launch


class ForkServer:
    """The connection to one `fork_server`; its requests may come from any thread."""

    def __init__(self, module: str, imports: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-P", fork_server.__file__, str(descriptor), module, *imports]
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[descriptor])
        self._connection = ours
        self._stream = ours.makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> Any:
        with self._lock:
            self._stream.write(json.dumps(request) + "\n")
            self._stream.flush()
            return json.loads(self._stream.readline())

    def stop(self) -> None:
        self._stream.close()
        self._connection.close()
        self._server.wait()


class ForkedProcess:
    """One program, with what `Child` uses of `subprocess.Popen`."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        return self._wait(block=False)

    def wait(self) -> int:
        code = self._wait(block=True)
        assert code is not None
        return code

    def send_signal(self, number: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _wait(self, *, block: bool) -> int | None:
        if self._exit_code is None:
            self._exit_code = self._server.ask({"wait": self.pid, "block": block})
        return self._exit_code


@cache
def _server(module: str) -> ForkServer:
    server = ForkServer(module, _IMPORTS[module])
    atexit.register(server.stop)
    return server


def launch(command: Sequence[str], log: BinaryIO, environment: Mapping[str, str] | None) -> child_processes.Process:
    """Fork a program that a server has imported, and start every other command as `child_processes.launch` does."""
    match command:
        case [sys.executable, "-P", "-m", module, *arguments] if module in _IMPORTS and environment is None:
            return _fork(module, arguments, log.name)
    return _start_process(command, log, environment)


def launch_command(arguments: Sequence[str], output: Path, errors: Path) -> ForkedProcess:
    """Fork ``daarion-appservice`` with these arguments; it appends to the existing files ``output`` and ``errors``."""
    return _fork("daarion_appservice", arguments, str(output), str(errors))


def _fork(module: str, arguments: Sequence[str], log: str, errors: str = "") -> ForkedProcess:
    server = _server(module)
    start = {
        "arguments": [*arguments],
        "log": log,
        "errors": errors,
        "directory": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    return ForkedProcess(server, server.ask({"start": start}))


def install() -> None:
    """Have every `Child` of this process start by `launch`."""
    child_processes.launch = launch
