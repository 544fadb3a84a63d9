"""A city in the test's own process: both HTTP listeners, and no homeserver."""

from __future__ import annotations

import functools
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web_app
from yarl import URL

from daarion_appservice.app import listening, load
from daarion_appservice.city.tokens import new_token
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.config import Settings
from daarion_appservice.http import static_pages
from daarion_appservice.http.compressed_file import CompressedFile
from daarion_appservice.wiring import City, build_city
from tests.parts.city import ADMIN_TOKEN, JWT_SECRET
from tests.parts.ports import HOST, free_port

HS_TOKEN = "a token of theirs"
SERVICE_TOKEN = "what a trusted service proves itself with"
AGENTS: list[dict[str, Any]] = [
    {
        "slug": "daarwizz",
        "display_name": "DAARWIZZ",
        "title": "Orchestrator",
        "microdao": "daarion",
        "role": "orchestrator",
    },
    {
        "slug": "scribe",
        "display_name": "Писар",
        "node_id": "node-1",
        "role": "guardian",
        "rooms": ["general", "builders"],
    },
]

_read = static_pages._read


@functools.cache
def _built_pages() -> dict[str, CompressedFile]:
    return _read(static_pages.DIST)


def _read_once(dist: Path) -> dict[str, CompressedFile]:
    """Read the pages once in this process, unless a test has others: it took 10 ms of each start."""
    return _built_pages() if dist == static_pages.DIST else _read(dist)


static_pages._read = _read_once


@dataclass(frozen=True)
class HttpResponse:
    status: int
    content: Any
    headers: Any


@dataclass(frozen=True)
class InProcessCity:
    city: City
    session: aiohttp.ClientSession

    async def call(
        self,
        method: str,
        path: str,
        content: Any = ...,
        *,
        token: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        listener: str = "api",
    ) -> HttpResponse:
        """``content`` goes as JSON; ``body`` as it is. ``path`` stands in the address as it is written."""
        settings = self.city.settings
        port = settings.api.port if listener == "api" else settings.matrix.port
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        request: dict[str, Any] = {"json": content}
        if content is ...:
            request = {"data": io.BytesIO(body) if body else None}
        async with self.session.request(
            method, URL(f"http://{HOST}:{port}{path}", encoded=True), headers=authorization | (headers or {}), **request
        ) as answer:
            is_json = answer.content_type.endswith(("/json", "+json"))
            return HttpResponse(
                answer.status, await (answer.json(content_type=None) if is_json else answer.text()), answer.headers
            )

    async def get(self, path: str, *, token: str | None = None, listener: str = "api") -> Any:
        answer = await self.call("GET", path, token=token, listener=listener)
        assert answer.status == 200, answer
        return answer.content

    async def handle(self, event: dict[str, Any]) -> None:
        """Handle an event of a Matrix room, and publish the changes after the commit."""
        async with self.city.database.transaction() as tx:
            events = await self.city.handlers.handle(tx, event)
        for each in events:
            self.city.bus.publish(each)

    async def agent_token(self, slug: str) -> str:
        made = new_token(new_id())
        async with self.city.database.transaction() as tx:
            agent = await tx.agents.by_slug(slug)
            assert agent is not None
            await tx.agents.add_token(made.id, agent, made.secret_sha256, now_ms=now_ms())
        return made.text


@asynccontextmanager
async def in_process_city(
    database_url: str, agents: Sequence[dict[str, Any]] = AGENTS, /, **sections: dict[str, Any]
) -> AsyncIterator[InProcessCity]:
    """``sections`` are laid over the configuration: ``api={"anonymous_read": False}``."""
    wanted: dict[str, dict[str, Any]] = {
        "homeserver": {"address": f"http://{HOST}:{free_port()}", "domain": "city.localhost"},
        "appservice": {"as_token": "a token of ours", "hs_token": HS_TOKEN},
        "api": {
            "port": free_port(),
            # Without leeway, so that tests of a token that ends need not wait for a minute.
            "jwt": {"secret": JWT_SECRET, "leeway_s": 0},
            "admin_token": ADMIN_TOKEN,
            "service_token": SERVICE_TOKEN,
            "allowed_origins": ["https://city.example"],
        },
        "matrix": {"port": free_port()},
        "database": {"url": database_url},
    }
    for name, section in sections.items():
        wanted[name] = wanted.get(name, {}) | section
    city = build_city(Settings.model_validate({**wanted, "agents": agents}))
    try:
        await load(city)
        async with listening(city), aiohttp.ClientSession() as session:
            yield InProcessCity(city, session)
    finally:
        await city.close()
        # aiohttp caches a thousand handlers with their middlewares for the whole process, and each holds its city.
        web_app._cached_build_middleware.cache_clear()


async def push(city: InProcessCity, txn_id: str, *events: object, token: str = HS_TOKEN) -> int:
    """Send events and a typing event in a transaction, as the homeserver does; return the status of the response."""
    answer = await city.call(
        "PUT",
        f"/_matrix/app/v1/transactions/{txn_id}",
        {"events": list(events), "ephemeral": [{"type": "m.typing", "room_id": "!x", "content": {"user_ids": []}}]},
        token=token,
        listener="matrix",
    )
    return answer.status
