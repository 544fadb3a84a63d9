"""A Redis server for one run, as a process whose resources can be measured."""

from __future__ import annotations

from pathlib import Path

from daarion_appservice.demo.child_processes import Child
from daarion_appservice.demo.ports import HOST
from tests.parts.ports import free_port
from tests.parts.redis import binary

from .processes import listening


class RedisServer:
    """A Redis server without persistence."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        command = [binary(), "--bind", HOST, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.child = Child("Redis", command, directory / "redis.log")

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    async def start(self) -> None:
        self.child.start()
        await listening(self.child, self.port)
