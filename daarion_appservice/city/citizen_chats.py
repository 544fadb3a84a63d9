"""Direct chats of a citizen with another citizen or an agent: private rooms that no list of rooms has.

    POST /city/direct ─► the room with both as members, once for a pair ─► outbox: both ghosts join
                                                                     └─► citizen_chats of the leader: the Matrix room

The rules of private rooms apply: only the two read and write. The Matrix room belongs to the bot, which invites both ghosts;
it is not encrypted, and has no alias. A citizen may block another one, who then cannot write in the chat of both.

An agent replies to each message of its citizen, whose linked Matrix account is invited to the Matrix room, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidInput, NotFound
from .agents import AgentDirectory
from .citizen_pairs import CitizenChat, chat_of
from .events import CityEvent, OutboxChanged, RoomCheckRequested
from .identity import Identities, is_citizen_id
from .member_log import MemberLog
from .permissions import check_not_blocked
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .room_entry import enter_room
from .types import AgentSlug, Author, AuthorKind, CitizenId, HistoryVisibility, Room, citizen_subject


@dataclass(frozen=True, slots=True)
class OpenedChat:
    """The result of opening a chat."""

    chat: CitizenChat
    room: Room
    is_new: bool


class CitizenChats:
    """Opens direct chats of citizens."""

    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        member_log: MemberLog,
        agents: AgentDirectory,
        identities: Identities,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._member_log = member_log
        self._agents = agents
        self._identities = identities
        self._now_ms = now_ms
        self._new_id = new_id

    async def open(self, citizen: Author, other: CitizenId) -> OpenedChat:
        """Open the direct chat with another citizen, or return the existing one; a participant who left joins it again.

        Raises:
            NotFound: No citizen has this id.
            InvalidInput: The other citizen is the same person.
            Forbidden: One of the two blocks the other.
        """
        if citizen_subject(other) in self._identities.accounts.subjects_of(citizen.subject):
            raise InvalidInput("same_person", "a direct chat needs another citizen", status=422)
        async with self._store.transaction() as tx:
            if not await self._is_known(tx, other):
                raise NotFound("no_such_citizen", f"there is no citizen {other!r}")
            names = await tx.citizens.names([other])
        return await self._open(citizen, Author(AuthorKind.CITIZEN, other, names.get(other, other)))

    async def open_with_agent(self, citizen: Author, slug: AgentSlug) -> OpenedChat:
        """Open the direct chat with an agent, or return the existing one; a participant who left joins it again.

        Raises:
            NotFound: No agent has this slug.
        """
        agent = self._agents.find(slug)
        return await self._open(citizen, Author(AuthorKind.AGENT, agent.slug, agent.display_name))

    async def _open(self, citizen: Author, other: Author) -> OpenedChat:
        chat = chat_of(CitizenId(citizen.id), other.subject, self._identities.erased.generation)
        async with self._store.transaction() as tx:
            await check_not_blocked(tx, chat)
            new_room = _room(chat, self._now_ms())
            is_new = await tx.rooms.add(new_room, created_by=citizen.id)
            if is_new:
                await tx.citizen_chats.add(chat)
            room = await tx.rooms.lock(chat.room) or new_room
            if await tx.citizen_chats.of_room(chat.room) != chat:
                # One of the two was erased, of which this process does not know yet.
                raise NotFound(f"no_such_{other.kind}", f"there is no {other.kind} {other.id!r}")
            events = await self._enter(tx, room, citizen)
            events += await self._enter(tx, room, other)
        publish_all(self._publish, [*events, RoomCheckRequested(room.id), OutboxChanged()])
        return OpenedChat(chat, room, is_new)

    async def _is_known(self, tx: CityTransaction, citizen: CitizenId) -> bool:
        """Return whether a citizen has been in the city, and is not being erased."""
        if not is_citizen_id(citizen) or self._identities.erased.is_closed(citizen):
            return False
        return await tx.citizen_chats.is_known(citizen, self._identities.citizen(citizen))

    async def _enter(self, tx: CityTransaction, room: Room, who: Author) -> list[CityEvent]:
        """Make a citizen or agent a member, unless it is one."""
        member = self._member_log.member(room.id, who)
        if await tx.members.get(room.id, member.user_id) is not None:
            return []
        return await enter_room(tx, self._member_log, member, txn_id=self._new_id())


def _room(chat: CitizenChat, now_ms: int) -> Room:
    return Room(
        chat.room,
        chat.room,
        name="",
        description="",
        is_default=False,
        archived=False,
        created_at_ms=now_ms,
        join_rule="invite",
        history_visibility=HistoryVisibility.SHARED,
        was_public=False,
        was_private=True,
        is_direct=True,
    )
