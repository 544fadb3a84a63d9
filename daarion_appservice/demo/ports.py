"""Checks whether ports on loopback are free, and which process uses a port."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ExitCode, StartError

HOST: Final = "127.0.0.1"

_LISTEN: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class DemoListener:
    """A future listener on a port; ``option`` is the command line option that chooses another one."""

    name: str
    option: str
    port: int


def any_free() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def check_free(listeners: Sequence[DemoListener]) -> None:
    """Raise StartError that names every listener whose port is in use, and the process that uses it."""
    for index, listener in enumerate(listeners):
        for other in listeners[:index]:
            if listener.port == other.port:
                raise StartError(
                    f"The {other.name} and the {listener.name} cannot both listen on port {listener.port}",
                    f"Choose another with {listener.option}",
                    ExitCode.PORT,
                )
    used = [listener for listener in listeners if not is_free(listener.port)]
    if used:
        raise StartError(
            "; ".join(f"The {each.name} needs port {each.port}, and {_owner_of(each.port)}" for each in used),
            "End that, or choose another port with " + " and ".join(f"{each.option} PORT" for each in used),
            ExitCode.PORT,
        )


def is_free(port: int) -> bool:
    """Return whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # As servers do, so that closed connections (TIME_WAIT) do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _owner_of(port: int) -> str:
    if port < 1024:
        return "it is taken or needs root"
    process = next(_processes_on(port), None)
    return f"{process} has it" if process else "another program has it"


def _processes_on(port: int) -> Iterator[str]:
    """Yield the processes that listen on ``port``, as far as /proc shows them to this user."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        if sockets & _open_files(process):
            yield f"{_command(process)} (process {process.name})"


def _inodes(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for columns in map(str.split, lines):
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _open_files(process: Path) -> set[str]:
    try:
        return {str(file.readlink()) for file in (process / "fd").iterdir()}
    except OSError:  # the process of another user, or ended
        return set()


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "unknown"
    return words if len(words) <= 80 else f"{words[:79]}…"
