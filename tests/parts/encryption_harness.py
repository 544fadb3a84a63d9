"""The parts of encryption with a database, a homeserver that keeps keys, a direct chat of an agent, and a person in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry

from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Author,
    AuthorKind,
    HistoryVisibility,
    Message,
    Room,
    RoomId,
    UserId,
)
from daarion_appservice.config.service_sections import EncryptionSettings
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.encryption.metrics import EncryptionMetrics
from daarion_appservice.matrix.encryption.room_encryptor import ClearEvent
from daarion_appservice.matrix.inbound.bot_chats import BotChatHandlers
from daarion_appservice.matrix.inbound.dispatch import EventHandlers
from daarion_appservice.matrix.inbound.undecrypted import UndecryptedWorker
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.direct_chats import ChatAgentState
from daarion_appservice.storage.encryption.accounts import StoredAccount
from daarion_appservice.storage.encryption.undecrypted import UndecryptedRow
from daarion_appservice.wiring import encryption as wiring
from daarion_appservice.wiring.encryption import EncryptionParts
from tests.parts.clock import MillisecondsClock
from tests.parts.encryption_peer import KEY, ROOM, Peer
from tests.parts.encryption_tables import undecrypted_of
from tests.parts.key_homeserver import KeyHomeserver
from tests.parts.messaging import IDENTITIES, messaging_harness

SCRIBE, GUIDE = UserId("@agent_scribe:city.localhost"), UserId("@agent_guide:city.localhost")
ALICE, BOB = "@alice:city.localhost", "@bob:elsewhere.example"
CHAT: Final = RoomId("direct_chat")
_AUTHOR: Final = Author(AuthorKind.AGENT, "scribe", "Писар")
_START_MS: Final = 1_764_187_200_000


@dataclass(frozen=True)
class Ghost:
    """A ghost as a member of the room, for `Peer.send`."""

    user: UserId


@dataclass
class Run:
    """One run of the service: its parts of encryption, without their background tasks."""

    parts: EncryptionParts
    metrics: CollectorRegistry
    monitor: HomeserverMonitor
    handlers: EventHandlers
    worker: UndecryptedWorker

    def count(self, name: str, **labels: str) -> float:
        """Return the value of a metric without its prefix and suffix."""
        sample = f"daarion_encryption_{name}"
        value = self.metrics.get_sample_value(f"{sample}_total", labels)
        return value if value is not None else self.metrics.get_sample_value(sample, labels) or 0.0


class EncryptionHarness:
    """A service with encryption, and Alice with one device."""

    def __init__(self, database: Database, homeserver: KeyHomeserver, clock: MillisecondsClock) -> None:
        self.database = database
        self.homeserver = homeserver
        self.clock = clock
        self.published: list[CityEvent] = []
        self.messaging = messaging_harness(database, self.published.append)
        self.messaging.agents.replace(
            [Agent("scribe", AgentSlug("scribe"), "Писар"), Agent("guide", AgentSlug("guide"), "Провідник")]
        )
        self.ghosts = [SCRIBE]
        self.alice = Peer(homeserver.keys, ALICE, "PHONE")
        homeserver.memberships[ROOM] = {ALICE: "join", SCRIBE: "join"}
        homeserver.state[ROOM, "m.room.encryption"] = {"algorithm": "m.megolm.v1.aes-sha2"}
        self._numbers: Iterator[int] = count(1)
        self._clients: list[Homeserver] = []
        self.settings = EncryptionSettings.model_validate({"pickle_key": b64encode(KEY.octets).decode()})
        self.run = self.start()

    @property
    def parts(self) -> EncryptionParts:
        return self.run.parts

    def start(self, *, is_enabled: bool = True) -> Run:
        """Start the service again on the same database, as after a crash."""
        self.clock.now_ms += 1
        client = Homeserver(self.homeserver.url, "as-token")
        self._clients.append(client)
        monitor, registry = HomeserverMonitor(client, "city"), CollectorRegistry()
        monitor.mark_up()
        metrics = EncryptionMetrics(registry)
        parts = EncryptionParts(
            self.settings if is_enabled else EncryptionSettings(enabled=False),
            client,
            self.database,
            IDENTITIES,
            monitor,
            metrics,
            self.published.append,
            download=self._download,
            known_ghosts=lambda: list(self.ghosts),
        )
        messaging = self.messaging
        handlers = EventHandlers(
            messaging.message_events,
            messaging.member_events,
            messaging.state_events,
            messaging.chat_events,
            BotChatHandlers(IDENTITIES, self.clock),
            parts.decryptor,
        )
        worker = UndecryptedWorker(
            self.database,
            monitor,
            handlers,
            parts.decryptor,
            parts.chats,
            messaging.agents,
            messaging.messages,
            metrics,
            self.published.append,
            self.clock,
        )
        self.run = Run(parts, registry, monitor, handlers, worker)
        return self.run

    async def _download(self, mxc: str, max_bytes: int) -> bytes | None:
        content = self.files.get(mxc, b"")
        return content if len(content) <= max_bytes else None

    @property
    def files(self) -> dict[str, bytes]:
        """The files of the media repository by their URI."""
        return self.homeserver.files

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    # --- the chat -------------------------------------------------------------------------------------

    async def open_chat(self) -> Room:
        """Store the encrypted chat of Alice with the agent, which has joined it."""
        async with self.database.transaction() as tx:
            chat = Room(
                id=CHAT,
                slug=CHAT,
                name=ALICE,
                description="",
                is_default=False,
                archived=False,
                created_at_ms=1,
                agent=AgentSlug("scribe"),
                matrix_room_id=ROOM,
                history_visibility=HistoryVisibility.SHARED,
            )
            await tx.rooms.add(chat, created_by=None)
            await tx.direct_chats.set_agent(CHAT, AgentSlug("scribe"), ChatAgentState.JOINED)
            await tx.direct_chats.mark_linked(CHAT, is_group=False)
            await tx.rooms.set_encrypted(CHAT)
        return await self.chat()

    async def chat(self) -> Room:
        async with self.database.read_only() as tx:
            chat = await tx.rooms.get(CHAT)
        assert chat is not None
        return chat

    async def add_guide(self) -> None:
        """Add a second agent to the chat."""
        self.ghosts.append(GUIDE)
        self.homeserver.memberships[ROOM][GUIDE] = "join"
        async with self.database.transaction() as tx:
            await tx.direct_chats.set_agent(CHAT, AgentSlug("guide"), ChatAgentState.JOINED)

    async def messages(self) -> list[Message]:
        async with self.database.read_only() as tx:
            return await tx.messages.before(CHAT, None, limit=1000)

    async def bodies(self) -> list[str]:
        return [message.body for message in await self.messages()]

    async def waiting(self) -> list[UndecryptedRow]:
        async with self.database.read_only() as tx:
            return await undecrypted_of(tx, ROOM)

    async def account(self, ghost: UserId = SCRIBE) -> StoredAccount | None:
        async with self.database.read_only() as tx:
            return await tx.encryption_accounts.get(ghost)

    async def post(self, body: str) -> Message:
        """Post a message of the agent."""
        return (await self.messaging.messages.post(_AUTHOR, CHAT, Draft(body))).message

    # --- messages of Alice ----------------------------------------------------------------------------

    def encrypt(self, text: str = "", **options: Any) -> dict[str, Any]:
        """Return an event of Alice; its key is in the queue of the agent's ghost."""
        self.alice.now_ms += 1
        ghosts = [Ghost(ghost) for ghost in self.ghosts]
        return self.alice.send(text, ghosts, **options)

    def hold_keys(self, ghost: UserId = SCRIBE) -> list[dict[str, Any]]:
        """Take the to-device events of an agent's ghost out of its queue."""
        queue = self.homeserver.keys.queues[ghost, self._device(ghost)]
        held = list(queue)
        queue.clear()
        return held

    def release_keys(self, held: list[dict[str, Any]], ghost: UserId = SCRIBE) -> None:
        """Put to-device events into the queue of an agent's ghost."""
        self.homeserver.queue((ghost, self._device(ghost)), *held)

    def _device(self, ghost: UserId) -> str:
        return next(iter(self.homeserver.keys.device_keys[ghost]))

    async def receive(self, *events: dict[str, Any]) -> None:
        """Handle events in one batch, as the inbound worker does."""
        handlers = self.run.handlers
        await handlers.receive_keys(events)
        async with self.database.transaction() as tx:
            for event in events:
                self.published += await handlers.handle(tx, event)

    async def receive_clear(self, event_type: str, content: dict[str, Any], **more: Any) -> str:
        """Handle an event that is not encrypted; return its id."""
        event_id = str(more.pop("event_id", f"$clear{next(self._numbers)}"))
        event = {"type": event_type, "room_id": ROOM, "event_id": event_id, "sender": ALICE, "content": content} | more
        await self.receive(event)
        return event_id

    def ghost(self) -> Ghost:
        """Return the agent's ghost as a member of the room."""
        return Ghost(SCRIBE)

    async def retry(self, *, after_ms: int = 0) -> None:
        """Let time pass, and have the worker retry the events that are due."""
        self.clock.now_ms += after_ms
        self.alice.now_ms = self.clock.now_ms
        await self.run.worker._retry_due()

    # --- events of the agent --------------------------------------------------------------------------

    async def send(self, text: str = "hello", *, txn_id: str | None = None, ghost: UserId = SCRIBE) -> dict[str, Any]:
        """Encrypt a message as the agent's ghost; return its event as Alice receives it."""
        content = {"msgtype": "m.text", "body": text}
        number = next(self._numbers)
        clear = ClearEvent(ghost, await self.chat(), "m.room.message", content, txn_id or f"txn{number}")
        encrypted = await self.parts.encryptor.encrypt(clear)
        return {
            "type": "m.room.encrypted",
            "room_id": ROOM,
            "event_id": f"$sent{number}",
            "sender": ghost,
            "content": encrypted,
        }

    def read(self, event: dict[str, Any], reader: Peer | None = None) -> str:
        """Decrypt an event as Alice, or another person; return its body."""
        person = reader or self.alice
        person.receive_all()
        body = person.read(event).content["body"]
        assert isinstance(body, str)
        return body

    def sent_types(self) -> list[str]:
        """Return the types of the to-device requests of the service, in order."""
        return [request.path["type"] for request in self.homeserver.all("to_device")]


@asynccontextmanager
async def encryption_harness(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EncryptionHarness]:
    """Open the chat on a database with the city's tables."""
    clock = MillisecondsClock(_START_MS)
    monkeypatch.setattr(wiring, "now_ms", clock)
    homeserver, database = KeyHomeserver(), Database(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await stack.enter_async_context(homeserver.serving())
        harness = EncryptionHarness(database, homeserver, clock)
        stack.push_async_callback(harness.close)
        await harness.open_chat()
        yield harness
