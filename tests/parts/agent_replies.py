"""A harness of agents' replies in one room, with a scripted agents core and without the rest of the service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import pytest
from prometheus_client import CollectorRegistry

from daarion_appservice.agents import reply_worker as reply_worker_module
from daarion_appservice.agents.core import AgentsCore
from daarion_appservice.agents.image_inputs import ImageInputs
from daarion_appservice.agents.metrics import CoreMetrics
from daarion_appservice.agents.reply_kinds import CoreReplies
from daarion_appservice.agents.reply_posting import ReplyPoster
from daarion_appservice.agents.reply_worker import ReplyWorker
from daarion_appservice.agents.request_watcher import RequestWatcher
from daarion_appservice.agents.second_me import SecondMe
from daarion_appservice.agents.second_me_replies import SecondMeReplies
from daarion_appservice.city.accounts import AccountProfile, Accounts
from daarion_appservice.city.chat_departures import ChatDepartures
from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.presence import Heartbeat, Status
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.sign_in_nonces import SignInNonces
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    AuthorKind,
    MatrixRoomId,
    Message,
    Room,
    RoomId,
    SubjectId,
    UserId,
    agent_subject,
)
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.config import AgentsCoreSettings
from daarion_appservice.encryption.attachments import EncryptedFile, decrypt_attachment
from daarion_appservice.errors import Forbidden
from daarion_appservice.realtime.presence_memory import MemoryPresence
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.direct_chats import ChatAgentState
from tests.parts.agents_core import ScriptedCore
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, MessagingHarness, messaging_harness
from tests.parts.running_tasks import running_tasks

LATER: Final = 1 << 60
"""A time (ms) after all postponed replies are due."""
GENERAL: Final = RoomId("city_general")
SCRIBE: Final = Agent("scribe", AgentSlug("scribe"), "Писар")
VARTA: Final = Agent("varta", AgentSlug("varta"), "Варта")


async def _no_cache() -> None:
    """Load no links: these parts show nothing to clients."""


class FakeOpenIdTokens:
    """OpenID tokens of a homeserver; the last word of each is the user id of its owner."""

    async def owner_of(self, token: str, server: str) -> UserId:
        if not token.endswith(f":{server}"):
            raise Forbidden("openid_invalid", "no such token")
        return UserId(token.rpartition(" ")[2])

    async def profile_of(self, user: UserId) -> AccountProfile:
        return AccountProfile(user[1:].partition(":")[0])


@dataclass
class AgentReplyHarness:
    database: Database
    messaging: MessagingHarness
    core: ScriptedCore
    presence: MemoryPresence
    published: list[CityEvent] = field(default_factory=list)
    patience_ms: int = 0
    core_kind: Literal["invoke", "openai"] = "invoke"
    core_timeout_s: float = 5
    max_image_bytes: int = 0
    has_core: bool = True
    """Whether an agents core is configured."""
    pictures: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Files that the homeserver has."""

    async def picture(self, mxc: str, max_bytes: int) -> tuple[bytes, str] | None:
        found = self.pictures.get(mxc)
        return found if found and len(found[0]) <= max_bytes else None

    async def decrypted_picture(self, mxc: str, file_key: str, max_bytes: int) -> tuple[bytes, str] | None:
        data = self.pictures[mxc][0]
        decrypted = decrypt_attachment(data, EncryptedFile.parse(json.loads(file_key)))
        return (decrypted, "image/png") if len(decrypted) <= max_bytes else None

    @property
    def accounts(self) -> Accounts:
        nonces = SignInNonces("secret", now_ms, is_required=False)
        return Accounts(
            self.database,
            FakeOpenIdTokens(),
            nonces,
            ChatDepartures(IDENTITIES, new_id),
            now_ms,
            self.published.append,
            _no_cache,
        )

    @cached_property
    def watcher(self) -> RequestWatcher:
        return RequestWatcher(self.database, self.messaging.agent_replies)

    @asynccontextmanager
    async def second_me(self) -> AsyncIterator[SecondMe]:
        settings = AgentsCoreSettings(url=self.core.url, timeout_s=5)
        core = AgentsCore(settings, steady_ms, CoreMetrics(CollectorRegistry()))
        try:
            yield SecondMe(core, self.database, now_ms, new_id, agent_id="second_me")
        finally:
            await core.close()

    async def remembered(self, who: str) -> list[tuple[str, str]]:
        """Return the prompts and responses that Second Me remembers of a citizen or a Matrix user."""
        async with self.second_me() as second_me:
            return [(each.prompt, each.response) for each in await second_me.history(SubjectId(who))]

    @asynccontextmanager
    async def running_worker(self) -> AsyncIterator[None]:
        """Run the reply worker inside the block; its end is that of a crash."""
        url = self.core.url if self.has_core else ""
        settings = AgentsCoreSettings(url=url, timeout_s=self.core_timeout_s, kind=self.core_kind)
        core = AgentsCore(settings, steady_ms, CoreMetrics(CollectorRegistry()))
        images = ImageInputs(self.picture, self.decrypted_picture, max_bytes=self.max_image_bytes)
        second_me = SecondMe(core, self.database, now_ms, new_id, agent_id="second_me")
        reply_worker = ReplyWorker(
            self.database,
            self.messaging.agents,
            self.presence,
            CoreReplies(core, images),
            SecondMeReplies(second_me, self.accounts, images, self.database),
            ReplyPoster(
                self.database,
                self.messaging.messages,
                self.messaging.message_edits,
                self.messaging.agent_replies,
                self.published.append,
                now_ms,
            ),
            self.watcher,
            self.published.append,
            steady_ms,
            patience_ms=self.patience_ms,
        )
        try:
            async with running_tasks(reply_worker.run):
                yield
        finally:
            await core.close()

    async def set_presence(self, *agents: Agent, status: Status = Status.ONLINE) -> None:
        await self.presence.record_heartbeat(
            [Heartbeat(agent_subject(agent.slug), status, "runtime") for agent in agents]
        )

    async def create_direct_chat(self, agent: Agent, *others: Agent, is_group: bool = False) -> Room:
        """Create a direct chat of a Matrix user with these agents."""
        chat_id = f"direct_{new_id()}"
        matrix_room = MatrixRoomId(f"!{chat_id}")
        chat = Room(RoomId(chat_id), chat_id, "", "", False, False, 0, agent=agent.slug, matrix_room_id=matrix_room)
        async with self.database.transaction() as tx:
            await tx.rooms.add(chat, created_by=None)
            for each in (agent, *others):
                await tx.direct_chats.set_agent(chat.id, each.slug, ChatAgentState.JOINED)
            await tx.direct_chats.mark_linked(chat.id, is_group=is_group or bool(others))
            stored = await tx.rooms.get(chat.id)
        assert stored is not None
        return stored

    async def receive_text(self, room: Room, person: str, body: str) -> None:
        """Handle a text message from Matrix."""
        await self.receive(room, "m.room.message", {"msgtype": "m.text", "body": body}, sender=person)

    async def receive(
        self, room: Room, event_type: str, content: Any, *, sender: str, state_key: str | None = None
    ) -> list[CityEvent]:
        """Handle an event of the room's Matrix room; return the events to publish."""
        event: dict[str, Any] = {
            "type": event_type,
            "room_id": room.matrix_room_id,
            "event_id": f"${new_id()}",
            "sender": sender,
        }
        event |= {"origin_server_ts": now_ms(), "content": content}
        event |= {"state_key": state_key} if state_key is not None else {}
        async with self.database.transaction() as tx:
            return await self.messaging.handlers().handle(tx, event)

    async def messages(self, room: RoomId = GENERAL) -> list[Message]:
        async with self.database.read_only() as tx:
            return await tx.messages.before(room, None, limit=99)

    async def replies(self, count: int = 1, *, room: RoomId = GENERAL) -> list[Message]:
        """Return the agents' messages, which must be ``count``, when no reply is pending."""

        async def none_pending() -> bool:
            async with self.database.read_only() as tx:
                return not await tx.agent_replies.due(now_ms=LATER, limit=1)

        await eventually(none_pending)
        by_agents = [message for message in await self.messages(room) if message.author.kind is AuthorKind.AGENT]
        assert len(by_agents) == count, by_agents
        return by_agents


@asynccontextmanager
async def open_agent_replies(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    """Open the room General with three online agents: the scribe, Варта and Second Me."""
    monkeypatch.setattr(reply_worker_module, "_BUSY_RETRY_MS", 10)
    monkeypatch.setattr(reply_worker_module, "_MAX_IDLE_S", 0.05)
    database = Database(database_url)
    await migrate.upgrade(database)
    published: list[CityEvent] = []
    await Rooms(database, published.append, now_ms, new_id).open("General")
    async with ScriptedCore().serving() as core:
        presence = MemoryPresence(published.append, steady_ms, ttl_ms=60_000)
        harness = AgentReplyHarness(database, messaging_harness(database, published.append), core, presence, published)
        harness.messaging.agents.replace([SCRIBE, VARTA, SECOND_ME])
        await harness.set_presence(SCRIBE, VARTA, SECOND_ME)
        yield harness
    await database.close()
