"""A process's presence store with a Redis that tests may stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from daarion_appservice.city.events import PresenceChanged
from daarion_appservice.city.presence import Heartbeat, Status
from daarion_appservice.city.types import SubjectId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.realtime.presence_redis import RedisPresence
from daarion_appservice.realtime.redis_client import connect
from daarion_appservice.realtime.redis_sessions import RedisSessions
from tests.parts.city import eventually
from tests.parts.redis import RedisServer

TTL_MS = 40_000


@dataclass
class Replica:
    """One process's store, on Redis's own clock."""

    store: RedisPresence
    events: list[Any]
    _client: Any
    _running: list[asyncio.Task[None]]

    @classmethod
    async def start(cls, server: RedisServer, ttl_ms: int = TTL_MS) -> Replica:
        client, events = connect(server.url, cluster=False), list[Any]()
        store = RedisPresence(RedisSessions(client, name=new_id(), ttl_ms=ttl_ms), events.append, now_ms, ttl_ms=ttl_ms)
        return cls(store, events, client, [asyncio.create_task(store.run())])

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)
        await self._client.aclose()

    def keep_beating(self, *heartbeats: Heartbeat) -> None:
        """Record the heartbeats twice a second until ``stop``."""
        self._running.append(asyncio.create_task(_keep_beating(self.store, *heartbeats)))

    def published_states(self) -> list[tuple[str, str]]:
        changes = [event.transition for event in self.events if isinstance(event, PresenceChanged)]
        return [(change.subject, change.after.status.value) for change in changes]

    async def shows(self, subject: SubjectId, status: Status) -> None:
        async def is_so() -> bool:
            return self.store.state(subject).status is status

        await eventually(is_so, explain=lambda: f"{subject}: {self.store.state(subject)}")


async def gone(replica: Replica) -> None:
    async def is_gone() -> bool:
        return replica.store.reason is not None

    await eventually(is_gone)


async def back(replica: Replica) -> None:
    async def is_back() -> bool:
        return replica.store.reason is None

    await eventually(is_back)


async def _keep_beating(store: RedisPresence, *heartbeats: Heartbeat) -> None:
    while True:
        await store.record_heartbeat(list(heartbeats))
        await asyncio.sleep(0.5)
