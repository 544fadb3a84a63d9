"""The routes ``/city/direct`` and ``/city/me/blocks``: direct chats of citizens with each other and with agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.agents import AgentDirectory
from ...city.citizen_chats import CitizenChats
from ...city.citizen_pairs import agent_slug_of
from ...city.erased_people import DELETED_ACCOUNT, DELETED_CITIZEN
from ...city.history_visibility import PUBLIC, room_as_seen
from ...city.identity import Identities, is_citizen_id
from ...city.permissions import RoomPermissions
from ...city.reader_memberships import ReaderMemberships
from ...city.timestamps import optional_timestamp, timestamp
from ...city.types import (
    AgentSlug,
    Author,
    AuthorKind,
    CitizenId,
    Room,
    RoomId,
    SubjectId,
    agent_subject,
    citizen_subject,
)
from ...city.unread import RoomUnread
from ...errors import InvalidInput, NotFound
from ...realtime.read_mark_writer import ReadMarkWriter
from ...realtime.unread_counts import count_unread
from ...storage.database import Database, Transaction
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.principals import Access, Principal
from ..author_views import author_view
from ..routing import Body, Call, NoBody, NoContent, NoQuery, Query, ResponseSpec, endpoint
from ..unread_views import optional_last_message_view, unread_view

_BLOCK: Final = "/city/me/blocks/{citizen_id}"
_MAX_OFFSET: Final = 1_000_000
_MAX_WITH_AGENT: Final = 100
"""Chats of one account with one agent that are looked at for one in which the citizen may write."""
_KINDS: Final = (AuthorKind.CITIZEN, AuthorKind.AGENT)


class NewDirectChat(Body):
    """A direct chat to open."""

    with_: str = Field(
        alias="with",
        min_length=1,
        max_length=255,
        description="`citizen:<citizen id>`, or `agent:<slug>`.",
        examples=["citizen:u_124"],
    )

    def other(self) -> tuple[AuthorKind, str]:
        """Return the kind and the id of the other one. Raises InvalidInput."""
        kind, colon, name = self.with_.partition(":")
        if kind not in _KINDS or not colon:
            raise InvalidInput("invalid", "with: must be `citizen:<citizen id>` or `agent:<slug>`", status=422)
        return AuthorKind(kind), name


class DirectChatListQuery(Query):
    limit: int = Field(100, ge=1, le=500, description="The maximum number of chats.", examples=[100])
    offset: int = Field(0, ge=0, le=_MAX_OFFSET, description="The number of chats to skip.", examples=[0])


@dataclass(frozen=True, slots=True)
class _Chat:
    """A direct chat with the other one."""

    room: Room
    other: SubjectId


def _age(chat: _Chat) -> tuple[int, RoomId]:
    """Return a value that is higher for a chat with a newer event, as in ``storage.room_columns.NEWEST_FIRST``."""
    last_event_ms = chat.room.last_event_ms
    return chat.room.created_at_ms if last_event_ms is None else last_event_ms, chat.room.id


@dataclass(frozen=True, slots=True)
class DirectChatRoutes:
    database: Database
    chats: CitizenChats
    agents: AgentDirectory
    actors: ActorDirectory
    identities: Identities
    readers: ReaderMemberships
    read_marks: ReadMarkWriter
    permissions: RoomPermissions

    @endpoint(
        "GET",
        "/city/direct",
        access=Access.CITIZENS_ONLY,
        query=DirectChatListQuery,
        summary="List direct chats",
        response=list[schemas.DirectChat],
    )
    async def list_direct_chats(self, call: Call[NoBody, DirectChatListQuery]) -> list[schemas.DirectChat]:
        """Returns the client's direct chats with other citizens and with agents, the one with the newest event first. The chat
        with a citizen who was erased stays, read-only and with a deleted account; a citizen who comes back has a new chat.

        The next page has a higher `offset`; an empty list is the end.

        Chats with one agent that the client's linked Matrix account has from a Matrix client are among them, as long as the link
        lasts and the account is joined. Of an encrypted one nothing is shown (`read_only`). A message to such a chat goes to the
        same Matrix room: the agent invites the client's ghost there.
        """
        citizen, limit, offset = self.actors.of(call.principal), call.query.limit, call.query.offset
        await self.read_marks.flush(CitizenId(citizen.id))
        async with self.database.read_only() as tx:
            newest = await self._newest(tx, citizen, offset + limit)
            return await self._read(tx, citizen, newest[offset:])

    @endpoint(
        "POST",
        "/city/direct",
        access=Access.CITIZENS_ONLY,
        body=NewDirectChat,
        status=201,
        summary="Open a direct chat",
        response=schemas.DirectChat,
        other_statuses={200: "The existing chat with this citizen or agent."},
        errors=("no_such_citizen", "no_such_agent", "same_person", "blocked"),
    )
    async def open_direct_chat(self, call: Call[NewDirectChat, NoQuery]) -> ResponseSpec:
        """Two citizens have one direct chat, and so have a citizen and an agent. It is a private room of both, also on Matrix,
        and is not encrypted; it is in no list of rooms. Messages, reactions, typing and read marks use the routes and the
        WebSocket of rooms.

        An agent replies to each message. The citizen's linked Matrix account is invited to the Matrix room of a new chat with an
        agent: the chat goes on there with the same history. Where the account has a chat with the agent from a Matrix client, in
        which the client may write, and the client has none with the agent in the city, that one is returned.
        """
        citizen = self.actors.of(call.principal)
        kind, name = call.body.other()
        await self.read_marks.flush(CitizenId(citizen.id))
        if kind is AuthorKind.AGENT:
            if (known := await self._matrix_chat_with(citizen, AgentSlug(name))) is not None:
                return ResponseSpec(known, status=200)
            opened = await self.chats.open_with_agent(citizen, AgentSlug(name))
        else:
            opened = await self.chats.open(citizen, CitizenId(name))
        async with self.database.read_only() as tx:
            room = await tx.rooms.get(opened.room.id) or opened.room
            other = agent_subject(AgentSlug(name)) if kind is AuthorKind.AGENT else citizen_subject(CitizenId(name))
            (view,) = await self._read(tx, citizen, [_Chat(room, other)])
        return ResponseSpec(view, status=201 if opened.is_new else 200)

    async def _matrix_chat_with(self, citizen: Author, slug: AgentSlug) -> schemas.DirectChat | None:
        """Return the newest chat with an agent that was opened on Matrix, unless there is one that was opened in the city."""
        name, other = CitizenId(citizen.id), agent_subject(slug)
        async with self.database.read_only() as tx:
            account = await tx.accounts.of(name)
            if account is None or await tx.citizen_chats.of(name, limit=1, other=other):
                return None
            on_matrix = await tx.direct_chats.of_account(account, limit=_MAX_WITH_AGENT, agent=slug)
            for room in on_matrix:
                if await self._reason_of_read_only(tx, room, citizen) is None:
                    (view,) = await self._read(tx, citizen, [_Chat(room, other)])
                    return view
        return None

    @endpoint(
        "GET",
        "/city/me/blocks",
        access=Access.CITIZENS_ONLY,
        summary="List blocked citizens",
        response=schemas.BlockedCitizens,
    )
    async def list_blocks(self, call: Call[NoBody, NoQuery]) -> schemas.BlockedCitizens:
        """Returns the citizens whom the client blocks."""
        async with self.database.read_only() as tx:
            return {"blocked": sorted(await tx.citizen_chats.blocked_by(self._id(call.principal)))}

    @endpoint(
        "PUT",
        _BLOCK,
        access=Access.CITIZENS_ONLY,
        status=204,
        summary="Block direct messages of a citizen",
        response=NoContent,
        errors=("no_such_citizen",),
    )
    async def block_citizen(self, call: Call[NoBody, NoQuery]) -> None:
        """Neither of the two can write in their direct chat then; what was written stays. Rooms are not affected."""
        blocked = CitizenId(call.path["citizen_id"])
        if not is_citizen_id(blocked):
            raise NotFound("no_such_citizen", f"there is no citizen {blocked!r}")
        ghost = self.identities.citizen(blocked)
        async with self.database.transaction() as tx:
            if not await tx.citizen_chats.is_known(blocked, ghost):
                raise NotFound("no_such_citizen", f"there is no citizen {blocked!r}")
            await tx.citizen_chats.block(self._id(call.principal), blocked)

    @endpoint(
        "DELETE",
        _BLOCK,
        access=Access.CITIZENS_ONLY,
        status=204,
        summary="Unblock a citizen",
        response=NoContent,
    )
    async def unblock_citizen(self, call: Call[NoBody, NoQuery]) -> None:
        """Unblocking a citizen who is not blocked changes nothing."""
        async with self.database.transaction() as tx:
            await tx.citizen_chats.unblock(self._id(call.principal), CitizenId(call.path["citizen_id"]))

    def _id(self, principal: Principal) -> CitizenId:
        return CitizenId(self.actors.of(principal).id)

    async def _newest(self, tx: Transaction, citizen: Author, count: int) -> list[_Chat]:
        """Return up to ``count`` chats of a citizen, the one with the newest event first."""
        name = CitizenId(citizen.id)
        chats = [_Chat(room, chat.other(name)) for chat, room in await tx.citizen_chats.of(name, limit=count)]
        if (account := await tx.accounts.of(name)) is not None:
            for room in await tx.direct_chats.of_account(account, limit=count):
                assert room.agent is not None
                chats.append(_Chat(room, agent_subject(room.agent)))
        return sorted(chats, key=_age, reverse=True)[:count]

    async def _reason_of_read_only(self, tx: Transaction, room: Room, citizen: Author) -> schemas.ReadOnlyReason | None:
        """Return why a citizen cannot write in a chat that was opened on Matrix; None otherwise."""
        if room.agent is None:
            return None
        if room.encrypted:
            return schemas.ReadOnlyReason.ENCRYPTED
        may_write = await self.permissions.may_write_in_chat(tx, room, citizen)
        return None if may_write else schemas.ReadOnlyReason.NOT_INVITED

    async def _read(self, tx: Transaction, citizen: Author, chats: list[_Chat]) -> list[schemas.DirectChat]:
        name = CitizenId(citizen.id)
        ranges_by_room = await self.readers.ranges_by_room(tx, citizen)
        ids = [chat.room.id for chat in chats if chat.room.agent is None or not chat.room.encrypted]
        last = await tx.last_messages.of(ids, ranges_by_room)
        counted = await count_unread(tx, self.readers, citizen, among=ids)
        others = await self._others(tx, chats)
        blocked = await tx.citizen_chats.blocked_by(name)
        views: list[schemas.DirectChat] = []
        for chat in chats:
            room, other = chat.room, chat.other
            if room.agent is None:
                room = room_as_seen(room, ranges_by_room.get(room.id, PUBLIC))
            views.append(
                {
                    **unread_view(counted.rooms.get(room.id, RoomUnread(room.id))),
                    "id": room.id,
                    "citizen": author_view(others[other], self.identities),
                    "subject": self.identities.accounts.canonical_subject(other),
                    "last_message": optional_last_message_view(last.get(room.id), self.identities),
                    "last_event": optional_timestamp(room.last_event_ms),
                    "last_seq": room.last_seq,
                    "blocked": CitizenId(other) in blocked,
                    "encrypted": room.encrypted,
                    "matrix_room_id": room.matrix_room_id,
                    "matrix_status": room.matrix_status,
                    "opened_on_matrix": room.agent is not None,
                    "read_only": await self._reason_of_read_only(tx, room, citizen),
                    "created_at": timestamp(room.created_at_ms),
                }
            )
        return views

    async def _others(self, tx: Transaction, chats: list[_Chat]) -> dict[SubjectId, Author]:
        """Return the others of chats as authors: citizens, also erased ones, and agents."""
        subjects = [chat.other for chat in chats]
        slugs = [slug for subject in subjects if (slug := agent_slug_of(subject)) is not None]
        avatars = await tx.ghosts.own_avatars([self.identities.agent(slug) for slug in slugs])
        names = await self._citizen_names(tx, [chat for chat in chats if agent_slug_of(chat.other) is None])
        authors = {}
        for subject in subjects:
            if (slug := agent_slug_of(subject)) is not None:
                agent = self.agents.get(slug)
                name = agent.display_name if agent is not None else slug
                authors[subject] = Author(AuthorKind.AGENT, slug, name, avatars.get(self.identities.agent(slug)))
            else:
                is_deleted = subject.startswith(DELETED_CITIZEN)
                name = DELETED_ACCOUNT if is_deleted else names.get(CitizenId(subject), subject)
                authors[subject] = Author(AuthorKind.CITIZEN, subject, name)
        return authors

    async def _citizen_names(self, tx: Transaction, chats: list[_Chat]) -> dict[CitizenId, str]:
        """Return the names of citizens as messages show them; of one who uses the API alone, the name as a member.

        Only heartbeats store the name of a token.
        """
        names = await tx.citizens.names([CitizenId(chat.other) for chat in chats])
        ghosts = {chat: self.identities.user(chat.other) for chat in chats if CitizenId(chat.other) not in names}
        public = await tx.members.public_profiles(ghosts.values())
        for chat, ghost in ghosts.items():
            member = await tx.members.get(chat.room.id, ghost)
            for name in (member.display_name if member is not None else None, public.get(ghost, (None, None))[0]):
                if name and name != chat.other:
                    names.setdefault(CitizenId(chat.other), name)
        return names
