"""The Matrix listener as the homeserver calls it, and the inbox behind it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from daarion_appservice.city.identity import Identities
from daarion_appservice.city.types import SubjectId
from daarion_appservice.clock import now_ms
from daarion_appservice.config import Settings
from daarion_appservice.http.auth.authenticator import InternalAuthenticator
from daarion_appservice.http.auth.hosts import Hosts
from daarion_appservice.http.limits.addresses import Addresses
from daarion_appservice.http.limits.listener_limits import ListenerLimits
from daarion_appservice.http.limits.tcp_connections import TcpConnections
from daarion_appservice.http.servers import matrix_application
from daarion_appservice.matrix.inbound.transactions import TransactionReceiver
from daarion_appservice.matrix.presence.user_presence import UserPresence
from daarion_appservice.realtime.bus import Bus
from daarion_appservice.realtime.presence_memory import MemoryPresence
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import InboxRow

HS_TOKEN = "what Synapse proves itself with"
AUTHORIZED = {"Authorization": f"Bearer {HS_TOKEN}"}
TRANSACTIONS = "/_matrix/app/v1/transactions"


@dataclass
class FakeEntityQueries:
    """A fake of the entity queries that knows one user and one alias, and records the requests."""

    requests: list[str] = field(default_factory=list)

    async def user_exists(self, user_id: str) -> bool:
        self.requests.append(user_id)
        return user_id == "@agent_daarwizz:city.localhost"

    async def alias_exists(self, alias: str) -> bool:
        self.requests.append(alias)
        return alias == "#city_general:city.localhost"


@dataclass
class TransactionHarness:
    """The Matrix listener as the homeserver calls it, and the inbox behind it."""

    database: Database
    client: TestClient[Any, Any]
    names: FakeEntityQueries
    presence: MemoryPresence
    woken: list[None]

    async def send(self, txn_id: str, content: Any, **headers: str) -> ClientResponse:
        return await self.client.put(f"{TRANSACTIONS}/{txn_id}", json=content, headers=AUTHORIZED | headers)

    async def send_raw(self, txn_id: str, body: bytes) -> ClientResponse:
        return await self.client.put(f"{TRANSACTIONS}/{txn_id}", data=io.BytesIO(body), headers=AUTHORIZED)

    async def stored(self) -> list[InboxRow]:
        async with self.database.read_only() as tx:
            rows: list[InboxRow] = []
            while found := await tx.inbox.waiting(after_id=rows[-1].id if rows else 0, limit=1000):
                rows += found
            return rows

    async def dead(self) -> list[InboxRow]:
        async with self.database.read_only() as tx:
            return await tx.inbox.dead_letters()


def event(event_id: str, body: str = "hi", **more: Any) -> dict[str, Any]:
    content = {"msgtype": "m.text", "body": body}
    return {"event_id": event_id, "room_id": "!r", "type": "m.room.message", "content": content} | more


ALICE = SubjectId("@alice:city.localhost")


def presence(user: str = ALICE, **content: Any) -> dict[str, Any]:
    return {"type": "m.presence", "sender": user, "content": {"presence": "online"} | content}


@asynccontextmanager
async def open_transactions(database_url: str) -> AsyncIterator[TransactionHarness]:
    """Start a Matrix listener on a database."""
    database, names, woken = Database(database_url), FakeEntityQueries(), list[None]()
    await migrate.upgrade(database)
    presence = MemoryPresence(Bus().publish, now_ms, ttl_ms=40_000)
    people = UserPresence(presence, Identities("city.localhost", "daarion_bot"), now_ms, is_member=lambda _: True)
    receiver = TransactionReceiver(
        database,
        names,
        hs_token=HS_TOKEN,
        now_ms=now_ms,
        on_stored=lambda: woken.append(None),
        on_ephemeral=people.apply_events,
    )
    connections = TcpConnections("matrix", ListenerLimits(), Addresses(()))
    app = matrix_application(
        [], receiver, InternalAuthenticator(Settings()), Hosts([], "appservice.address"), connections
    )
    async with TestClient(TestServer(app)) as client:
        yield TransactionHarness(database, client, names, presence, woken)
    await database.close()
