"""The connection to systemd by the protocol of sd_notify(3): states as datagrams to the socket in ``NOTIFY_SOCKET``.

start ── EXTEND_TIMEOUT_USEC … ── READY=1 ── WATCHDOG=1, STATUS=… ── STOPPING=1

Datagrams of the watchdog come from the event loop. A blocked event loop sends none, and systemd ends the process by
SIGABRT, which writes the stack of each thread to standard error.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
from collections.abc import Mapping
from typing import Final, Self

_INTERVAL_S: Final = 5.0
"""The interval of datagrams in seconds, or less if the watchdog needs them sooner."""
_EXTENSION_US: Final = 60_000_000
"""The time for the start after each datagram before ``READY=1``, in microseconds: a migration takes as long as it needs."""
_MAX_STATUS: Final = 500
"""The length of the status in characters: systemd reads datagrams of up to 4,096 bytes."""


class ServiceManager:
    """Reports the state of the process to systemd; does nothing where no socket is named.

    Args:
        address: ``NOTIFY_SOCKET``: a path, or ``@`` and the name of an abstract socket; empty: no service manager.
        watchdog_s: the time in seconds without a datagram after which systemd restarts the process; None: no watchdog.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._interval_s = min(_INTERVAL_S, watchdog_s / 3) if watchdog_s else _INTERVAL_S
        self._is_ready = False
        self._knows_ready = False
        """Whether systemd got ``READY=1``."""
        self._status = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the service manager that started this process."""
        if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return cls(environ.get("NOTIFY_SOCKET", ""))
        microseconds = environ.get("WATCHDOG_USEC", "")
        return cls(environ.get("NOTIFY_SOCKET", ""), int(microseconds) / 1e6 if microseconds.isdecimal() else None)

    def ready(self) -> None:
        """Report that both listeners accept connections."""
        self._is_ready = True
        self._knows_ready = self._send("READY=1")

    def stopping(self) -> None:
        """Report that the process ends."""
        self._send("STOPPING=1\nSTATUS=Stopping")

    def status(self, text: str) -> None:
        """Report the state of the service in words, for ``systemctl status``; once as long as it stays the same."""
        line = " ".join(text.split())[:_MAX_STATUS]
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    async def keep_alive(self) -> None:
        """Report at intervals that the event loop works, until cancelled. Return at once where no socket is named."""
        if not self._address:
            return
        if not faulthandler.is_enabled():
            faulthandler.enable()
        while True:
            if self._is_ready and not self._knows_ready:
                self.ready()
            self._send("WATCHDOG=1" if self._is_ready else f"EXTEND_TIMEOUT_USEC={_EXTENSION_US}")
            await asyncio.sleep(self._interval_s)

    def _send(self, state: str) -> bool:
        """Send one datagram without waiting; return whether it was sent.

        The queue of the socket may be full, for example at the boot of the machine. systemd never asks again, so what
        was not sent is sent at the next interval.
        """
        if not self._address:
            return True
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as sender:
                sender.sendto(state.encode(), self._address)
        except OSError:
            return False
        return True
