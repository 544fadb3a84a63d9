"""Forks Python programs from a process that has imported them already.

    python -P fork_server.py <file descriptor of a Unix socket> <module to run> [module to import ...]

The imports of Synapse and of the service take most of the CPU time of their start. A forked program runs its module's
``__main__`` in a process of its own, as ``python -P -m <module>`` does: signals, exit code, output and end are the same.
A request is one JSON line, an answer too: ``{"start": {...}}`` gives a pid, ``{"wait": pid, "block": bool}`` an exit code
or null. End of file ends the server, and the kernel then kills its children.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Answer requests until the connection ends. In a forked child, return the request that started it."""
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            request = json.loads(line)
            if start := request.get("start"):
                server = os.getpid()
                answer: int | None = os.fork()
                if answer == 0:
                    _become_program(start, server)
                    return dict(start)
            else:
                pid, status = os.waitpid(request["wait"], 0 if request["block"] else os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
    return None


def _become_program(start: dict[str, Any], server: int) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != server:  # the server died before the call of prctl
        os._exit(1)
    log = os.open(start["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    if start.get("errors"):
        errors = os.open(start["errors"], os.O_WRONLY | os.O_APPEND)
        os.dup2(errors, 2)
        os.close(errors)
    os.chdir(start["directory"])
    os.environ.clear()
    os.environ.update(start["environment"])
    sys.argv[1:] = start["arguments"]
    # The interpreter read the server's PYTHONPATH when it started, not the one of this program.
    sys.path[:0] = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path
    ]
    if "twisted.internet.reactor" in sys.modules:
        # A forked epoll descriptor is shared with the parent: give the reactor one of its own.
        reactor: Any = sys.modules["twisted.internet.reactor"]
        type(reactor).__init__(reactor)


if __name__ == "__main__":
    program, *imports = sys.argv[2:]
    for name in imports:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of what was imported
    if serve(socket.socket(fileno=int(sys.argv[1]))) is not None:
        gc.unfreeze()
        runpy.run_module(program, run_name="__main__", alter_sys=True)
