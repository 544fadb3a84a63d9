"""A harness of the inbox and the handlers of Matrix events, with a database and a scripted homeserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import MatrixRoomId, Message, MessageId, Room
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.errors import Conflict
from daarion_appservice.matrix.backfill.gap_backfill import GapBackfill
from daarion_appservice.matrix.backfill.metrics import Missed
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.inbound.bot_chats import BotChatHandlers
from daarion_appservice.matrix.inbound.confirmation import Confirmation
from daarion_appservice.matrix.inbound.dispatch import EventHandlers
from daarion_appservice.matrix.inbound.worker import InboundWorker
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.inbox import InboxRow
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, MessagingHarness, link, messaging_harness
from tests.parts.no_encryption import no_encryption
from tests.parts.running_tasks import running_tasks
from tests.parts.scripted_homeserver import ScriptedHomeserver

GENERAL, BUILDERS = MatrixRoomId("!general"), MatrixRoomId("!builders")
ALICE = "@alice:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"


class BreakableHandlers(EventHandlers):
    """The handlers of the city, which raise at the events in ``broken`` and wait without end at those in ``endless``."""

    def __init__(self, messaging: MessagingHarness) -> None:
        super().__init__(
            messaging.message_events,
            messaging.member_events,
            messaging.state_events,
            messaging.chat_events,
            BotChatHandlers(IDENTITIES, now_ms),
            no_encryption(messaging.database).decryptor,
        )
        self.broken: set[str] = set()
        self.endless: set[str] = set()
        self.tried: list[str] = []

    async def handle(
        self, tx: Transaction, event: dict[str, Any], *, before: MessageId | None = None
    ) -> list[CityEvent]:
        happened = await super().handle(tx, event, before=before)
        event_id = event["event_id"]
        self.tried.append(event_id)
        if event_id in self.endless:
            await asyncio.Event().wait()
        if event_id in self.broken:
            raise RuntimeError(f"{event_id} is too much")
        return happened


class NoGapBackfill(GapBackfill):
    """A backfill that finds no missing events."""

    def __init__(self) -> None:
        self.inbox_lock = asyncio.Lock()

    async def run(self, _reason: Missed) -> int:
        return 0


@dataclass
class InboundHarness:
    """The inbound worker with the rooms general and builders, and what it published."""

    database: Database
    handlers: BreakableHandlers
    inbound: InboundWorker
    messaging: MessagingHarness
    homeserver: ScriptedHomeserver
    published: list[CityEvent] = field(default_factory=list)

    async def store(self, *events: dict[str, Any]) -> None:
        async with self.database.transaction() as tx:
            rows = [inbox_event(event) for event in events]
            await tx.inbox.add(rows, now_ms=now_ms())
        self.inbound.wake()

    def running(self) -> AbstractAsyncContextManager[None]:
        return running_tasks(self.inbound.run)

    async def handle_all(self) -> None:
        """Run the worker until the inbox is empty and the changes are published."""
        async with self.running():
            await eventually(self.is_empty)
            async with self.inbound.paused(MatrixRoomId(GENERAL)):
                pass  # The batch that emptied the inbox publishes after its commit.

    async def is_empty(self) -> bool:
        return not await self.waiting()

    def has_tried(self, event_id: str, *, times: int = 1) -> Callable[[], Awaitable[bool]]:
        async def has_tried() -> bool:
            return self.handlers.tried.count(event_id) >= times

        return has_tried

    async def waiting(self) -> list[InboxRow]:
        async with self.database.read_only() as tx:
            return await tx.inbox.waiting(after_id=0, limit=1000)

    async def dead(self) -> list[InboxRow]:
        async with self.database.read_only() as tx:
            return await tx.inbox.dead_letters()

    async def in_room(self, room: str = "general") -> list[Message]:
        async with self.database.read_only() as tx:
            found = await tx.rooms.find(room)
            assert found is not None
            return await tx.messages.before(found.id, None, limit=1000)

    async def bodies(self, room: str = "general") -> list[str]:
        return [message.body for message in await self.in_room(room)]

    async def room(self, slug: str = "general") -> Room:
        async with self.database.read_only() as tx:
            room = await tx.rooms.find(slug)
        assert room is not None
        return room


@asynccontextmanager
async def inbound_harness(url: str) -> AsyncIterator[InboundHarness]:
    database = Database(url)
    published: list[CityEvent] = []
    messaging = messaging_harness(database, published.append)
    handlers = BreakableHandlers(messaging)
    scripted = ScriptedHomeserver()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await stack.enter_async_context(scripted.serving())
        homeserver = Homeserver(scripted.url, "as-token")
        stack.push_async_callback(homeserver.close)
        monitor = HomeserverMonitor(homeserver, "city")
        monitor.mark_up()
        await migrate.upgrade(database)
        rooms = Rooms(database, lambda _: None, now_ms, new_id)
        for slug, matrix_room in (("general", GENERAL), ("builders", BUILDERS)):
            with suppress(Conflict):  # it was inbound_harness before
                room = await rooms.open(slug, slug=slug)
                async with database.transaction() as tx:
                    await link(tx, room.id, matrix_room)
        confirmation = Confirmation(homeserver, database, IDENTITIES, handlers.types, CollectorRegistry(), steady_ms)
        inbound = InboundWorker(database, handlers, monitor, NoGapBackfill(), confirmation, published.append, steady_ms)
        yield InboundHarness(database, handlers, inbound, messaging, scripted, published)


def message_event(
    event_id: str, body: Any = None, *, room: str = GENERAL, sender: Any = ALICE, **more: Any
) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "room_id": room,
        "type": "m.room.message",
        "sender": sender,
        "origin_server_ts": 1_764_187_200_000,
        "content": {"msgtype": "m.text", "body": event_id if body is None else body},
    } | more


def member_event(event_id: str, user: str, membership: str = "join", **content: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "room_id": GENERAL,
        "type": "m.room.member",
        "sender": user,
        "state_key": user,
        "content": {"membership": membership} | content,
    }


def state_event(event_id: str, event_type: str, content: dict[str, Any], sender: str = ALICE) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "room_id": GENERAL,
        "type": event_type,
        "sender": sender,
        "state_key": "",
        "content": content,
    }
