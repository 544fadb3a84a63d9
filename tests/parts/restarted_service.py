"""A city in this process that starts and stops at one address, with the pages of one build or another."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST, free_port


class Service:
    """A city that is started and stopped at one address, with the pages of one build or another."""

    def __init__(self, folder: Path) -> None:
        self._url = f"sqlite:///{folder / 'city.db'}"
        self._port = free_port()
        self._stack = AsyncExitStack()
        self.dist = folder / "web_dist"

    def address(self, path: str) -> str:
        return f"http://{HOST}:{self._port}{path}"

    async def start(self, **sections: dict[str, Any]) -> InProcessCity:
        return await self._stack.enter_async_context(in_process_city(self._url, api={"port": self._port}, **sections))

    async def stop(self) -> None:
        await self._stack.aclose()

    def upgrade(self) -> None:
        """Replace the build: its entry, its page of agents and its document get other names and contents."""
        names = {path.name: path.name for path in (self.dist / "assets").iterdir()}
        renamed = {name: f"next-{name}" for name in names if re.match(r"(index|AgentsPage)-.*\.js$", name)}
        for packed in [*self.dist.rglob("*.br"), *self.dist.rglob("*.gz")]:
            packed.unlink()
        for path in [*self.dist.rglob("*.js"), *self.dist.rglob("*.html")]:
            content = path.read_text()
            for old, new in renamed.items():
                content = content.replace(old, new)
            content = content.replace('name="description"', 'name="description" data-build="next"')
            path.write_text(content.replace('const BUILD = "', 'const BUILD = "next'))
        for old, new in renamed.items():
            (self.dist / "assets" / old).rename(self.dist / "assets" / new)
