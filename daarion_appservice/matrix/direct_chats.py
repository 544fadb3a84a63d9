"""Direct chats: somebody on Matrix invites an agent's ghost, it comes, and whatever is said there is said to it.

    invitation ─► a room that nobody else sees, pending ─► the ghost joins ─► what was said since the invitation ─► linked
                                                                └─ encrypted: it says that it cannot read there

To the rest of the city such a chat is a room like any other: messages come in, and answers go out, the same way. Where somebody
else is in it, too, the agent answers whoever turns to it, as it does in the city's rooms. Real
end-to-end encryption would take the place of the notice and of nothing else: events are read in ``event_handlers`` and
written in ``letters``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..city.agents import AgentDirectory
from ..city.events import CityEvent, DirectChatsChanged, InboxFilled
from ..city.messages import Draft, Messages
from ..city.ports import NewId, NowMs, Publish
from ..city.types import (
    AgentSlug,
    Author,
    AuthorKind,
    MatrixRoomId,
    Room,
    RoomId,
    UserId,
)
from ..errors import HomeserverAway, HomeserverRefused
from ..storage.database import Database, Transaction
from ..storage.inbox import ReceivedEvent
from .events import SAID, Event, content_of, room_of, sender_of, text, type_of
from .ghosts import Ghosts, profile_of
from .homeserver import Homeserver
from .homeserver_watch import HomeserverWatch
from .namespace import Namespace, is_user_id
from .receiver import received
from .room_rules import is_encryption

_PAGE: Final = 50
"""So much of what was said before the ghost came is read."""
_RETRY_S: Final = 30.0
_AWAY_PAUSE_S: Final = 1.0
_MAX_ID_CHARS: Final = 255
_GONE: Final = frozenset({403, 404})
_NOTICE: Final = "unreadable"
"""The ``client_id`` of what an agent says in an encrypted chat: so it is said once."""
_UNREADABLE: Final = (
    "Я не можу читати зашифровані чати. Щоб поговорити зі мною, створіть кімнату без шифрування (в Element: «Нова кімната», "
    "приватна, вимкніть наскрізне шифрування) і запросіть мене туди, або згадайте мене в кімнаті міста.\n\n"
    "I cannot read encrypted chats. To talk with me, create a room without encryption (in Element: New room, private, turn "
    "off end-to-end encryption) and invite me there, or mention me in a room of the city."
)

log = structlog.get_logger()


class DirectChatEvents:
    """What happens in such chats, other than what is said. Each call is part of the transaction that marks its event done."""

    def __init__(self, namespace: Namespace, agents: AgentDirectory, now_ms: NowMs, new_id: NewId) -> None:
        self._namespace = namespace
        self._agents = agents
        self._now_ms = now_ms
        self._new_id = new_id

    async def invited(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Somebody invites one of ours into a room that is not the city's; only agents come."""
        agent, matrix_room = self._invited_agent(event), room_of(event)
        if agent is None or not matrix_room.startswith("!") or len(matrix_room) > _MAX_ID_CHARS:
            return []
        chat_id = f"direct_{self._new_id()}"
        chat = Room(
            id=RoomId(chat_id),
            slug=chat_id,
            name=sender_of(event),
            description="",
            is_default=False,
            archived=False,
            created_at_ms=self._now_ms(),
            agent=agent,
            matrix_room_id=matrix_room,
        )
        await tx.rooms.add(chat, created_by=None)
        return [DirectChatsChanged()]

    async def member(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        """Who comes and goes decides whether the chat goes on, and in whose company the agent is."""
        membership = text(content_of(event), "membership")
        is_about_agent = text(event, "state_key") == self._namespace.keeper(chat)
        if membership == ("join" if is_about_agent else "invite"):
            return []
        if is_about_agent and membership != "invite":
            await tx.rooms.close_chat(chat.id)
            return []
        await tx.rooms.doubt_chat(chat.id)
        return [DirectChatsChanged()]

    async def encryption(self, tx: Transaction, chat: Room, _event: Event) -> list[CityEvent]:
        """It was turned on, or something came that is encrypted."""
        assert chat.agent is not None
        if await tx.messages.by_client_id(_author(chat.agent), chat.id, _NOTICE):
            return []
        await tx.rooms.doubt_chat(chat.id)
        return [DirectChatsChanged()]

    def _invited_agent(self, event: Event) -> AgentSlug | None:
        user = UserId(text(event, "state_key"))
        is_invitation = text(content_of(event), "membership") == "invite"
        if not is_invitation or not is_user_id(user) or self._namespace.is_ours(sender_of(event)):
            return None
        match self._namespace.who(user):
            case (AuthorKind.AGENT, slug):
                agent = self._agents.get(AgentSlug(slug))
                return agent.slug if agent else None
        return None


class DirectChats:
    """Has the ghosts come to the chats that they are invited to, and leave those that are over."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        watch: HomeserverWatch,
        ghosts: Ghosts,
        agents: AgentDirectory,
        messages: Messages,
        namespace: Namespace,
        turn: asyncio.Lock,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._watch = watch
        self._ghosts = ghosts
        self._agents = agents
        self._messages = messages
        self._namespace = namespace
        self._turn = turn
        self._publish = publish
        self._now_ms = now_ms
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Somebody invited an agent, left it, or turned on encryption."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the chats, until cancelled. Can be run again."""
        while True:
            self._wake.clear()
            await self._watch.wait_up()
            try:
                await self._keep_all()
            except HomeserverAway as error:
                self._watch.lost(error)
                await asyncio.sleep(_AWAY_PAUSE_S)
                continue
            except (SQLAlchemyError, OSError) as error:
                log.error("chats_unavailable", error=str(error), help="the database does not answer; trying again")
                await asyncio.sleep(_AWAY_PAUSE_S)
                continue
            try:
                async with asyncio.timeout(_RETRY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _keep_all(self) -> None:
        async with self._database.reading() as tx:
            chats = await tx.rooms.direct_chats(waiting=True)
        for chat in chats:
            try:
                await self._keep(chat)
            except HomeserverRefused as error:
                if error.status not in _GONE:
                    log.warning(
                        "chat_not_right", agent=chat.agent, error=str(error), help=f"trying again in {_RETRY_S:.0f} s"
                    )
                    continue
                # Not invited any more, or put out: whoever wants it back invites it again.
                log.info("chat_closed", agent=chat.agent, room=chat.matrix_room_id, error=str(error))
                await self._close(chat)

    async def _keep(self, chat: Room) -> None:
        """Raises HomeserverRefused when the agent may not be there, HomeserverAway."""
        agent = self._agents.get(chat.agent) if chat.agent else None
        assert chat.matrix_room_id is not None
        ghost = self._namespace.keeper(chat)
        if agent is None:
            await self._close(chat)
            return
        await self._ghosts.ensure(ghost, profile_of(agent))
        await self._ghosts.ensure_device(ghost)
        await self._homeserver.join(chat.matrix_room_id, as_user=ghost)
        there = await self._homeserver.joined_members(chat.matrix_room_id, as_user=ghost)
        if len(there) < 2:
            await self._homeserver.leave(chat.matrix_room_id, as_user=ghost)
            await self._close(chat)
            return
        encryption = await self._homeserver.state(chat.matrix_room_id, "m.room.encryption", as_user=ghost)
        # Nothing is handled between the look at what was said and putting it in its place.
        async with self._turn:
            said = await self._said_since_invitation(chat.matrix_room_id, ghost)
            async with self._database.transaction() as tx:
                await tx.inbox.put_in_order(chat.matrix_room_id, said, now_ms=self._now_ms())
                await tx.rooms.keep_chat(chat.id, in_company=len(there) > 2)
        self._publish(InboxFilled())
        if is_encryption(encryption or {}):
            draft = Draft(_UNREADABLE, msgtype="m.notice", client_id=_NOTICE)
            await self._messages.post(_author(agent.slug, agent.display_name), chat.id, draft)

    async def _said_since_invitation(self, matrix_room: MatrixRoomId, ghost: UserId) -> list[ReceivedEvent]:
        """What was said before the ghost was there to hear it, oldest first."""
        page, _ = await self._homeserver.messages_before(matrix_room, None, limit=_PAGE, as_user=ghost)
        said: list[Any] = []
        for event in page:
            if type_of(event) == "m.room.member" and _invites(event, ghost):
                break
            if type_of(event) in SAID:
                said.append(event)
        return [received(event) for event in reversed(said)]

    async def _close(self, chat: Room) -> None:
        async with self._database.transaction() as tx:
            await tx.rooms.close_chat(chat.id)


def _author(agent: AgentSlug, display_name: str = "") -> Author:
    return Author(AuthorKind.AGENT, agent, display_name)


def _invites(event: Event, ghost: UserId) -> bool:
    return text(event, "state_key") == ghost and text(content_of(event), "membership") == "invite"
