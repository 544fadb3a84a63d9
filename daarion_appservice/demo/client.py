"""A client of the city's public HTTP API for an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from ..errors import DaarionError

Json = dict[str, Any]


class CityUnavailable(DaarionError):
    """The city is unavailable or overloaded; the same request may succeed later."""


class CityRefused(DaarionError):
    """The city refused the request and will refuse it again."""


@dataclass(frozen=True, slots=True)
class CityClient:
    """Sends requests of one agent; ``session`` has the city's base URL."""

    session: aiohttp.ClientSession
    slug: str
    token: str

    async def send_heartbeat(self, status_msg: str, session_id: str) -> float:
        """Send a heartbeat and return in how many seconds the next one is due."""
        body = {"status": "online", "status_msg": status_msg, "session_id": session_id}
        answer = await self._call("POST", f"/api/v1/agents/{self.slug}/heartbeat", json=body)
        return float(answer["next_heartbeat_ms"]) / 1000

    async def leave(self, session_id: str) -> None:
        """End this session."""
        body = {"status": "offline", "session_id": session_id}
        await self._call("POST", f"/api/v1/agents/{self.slug}/heartbeat", json=body)

    async def post(self, room: str, body: str, client_id: str) -> None:
        """Post a message in a room, once for each ``client_id``."""
        await self._call("POST", f"/city/rooms/{room}/messages", json={"body": body, "client_id": client_id})

    async def myself(self) -> Json:
        return await self._object(f"/api/v1/agents/{self.slug}")

    async def agents(self, **wanted: str) -> list[Json]:
        """Return the agents; ``wanted`` filters them, like ``node_id="node-1"``."""
        return await self._list("/api/v1/agents", **wanted)

    async def person(self, subject: str) -> Json | None:
        """Return the profile card of a person or agent; None if the agent may not know the subject."""
        try:
            return await self._object(f"/city/people/{quote(subject, safe='')}")
        except CityRefused:
            return None

    async def rooms(self) -> list[Json]:
        return await self._list("/city/rooms")

    async def room(self, slug: str) -> Json:
        """Return a room with its last ``messages`` and its ``online_members``."""
        return await self._object(f"/city/rooms/{slug}")

    async def _object(self, path: str) -> Json:
        answer: Json = await self._call("GET", path)
        return answer

    async def _list(self, path: str, **wanted: str) -> list[Json]:
        answer: list[Json] = await self._call("GET", path, params=wanted)
        return answer

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            async with self.session.request(method, path, headers=headers, **options) as response:
                if response.status >= 500 or response.status == 429:
                    raise CityUnavailable(f"{method} {path}: {response.status}")
                if response.status >= 400:
                    raise CityRefused(f"{method} {path}: {response.status} {await response.text()}")
                return await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CityUnavailable(f"{method} {path}: {error!r}") from error
