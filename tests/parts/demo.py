"""The demo as a child process, started by its command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from daarion_appservice.demo.child_processes import python
from tests.parts.ports import free_port, is_free

OPEN_S = 90.0
"""How long the city may take to open while other tests keep the processors busy."""

END_S = 30.0
READY = "Ctrl-C"
"""What stands in the last line that the demo prints when everything is up."""


@dataclass(slots=True)
class Demo:
    """``with Demo(directory) as city:`` runs the demo, and ends it with Ctrl-C."""

    directory: Path
    port: int = field(default_factory=free_port)
    matrix_port: int = field(default_factory=free_port)
    homeserver_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Demo:
        self.start()
        try:
            self.wait_until_open()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def data(self) -> Path:
        return self.directory / "city"

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text()

    @property
    def credentials(self) -> dict[str, Any]:
        credentials: dict[str, Any] = json.loads((self.data / "credentials.json").read_text())
        return credentials

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def ports(self) -> list[int]:
        return [self.port, self.matrix_port, self.homeserver_port]

    def start(self) -> None:
        options = {"--port": self.port, "--matrix-port": self.matrix_port, "--homeserver-port": self.homeserver_port}
        command = python("daarion_appservice", "demo", "--data", str(self.data))
        for option, port in options.items():
            command += [option, str(port)]
        # A child ignores SIGHUP where its parent does, as under nohup, and so would the demo.
        ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            with (self.directory / "output").open("wb") as output:
                self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=self.directory)
        finally:
            signal.signal(signal.SIGHUP, ignored)

    def wait_until_open(self) -> None:
        deadline = time.monotonic() + OPEN_S
        while READY not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the city did not open:\n{self.output}")
            time.sleep(0.05)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        """Return the child process with this word in its command line."""
        return next(child for child in self.children() if word in child.cmdline())

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send SIGINT or SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(END_S)
        finally:
            self.process.kill()
            self.process.wait()

    def ports_are_free(self) -> bool:
        return all(is_free(port) for port in self.ports)
