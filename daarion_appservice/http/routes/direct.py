"""The routes ``/city/direct`` and ``/city/me/blocks``: direct chats of citizens with each other and with agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.agents import AgentDirectory
from ...city.citizen_chats import CitizenChats
from ...city.citizen_pairs import agent_slug_of
from ...city.erased_people import DELETED_ACCOUNT, DELETED_CITIZEN
from ...city.history_visibility import PUBLIC, ReadableRanges, room_as_seen
from ...city.identity import Identities, is_citizen_id
from ...city.permissions import RoomPermissions
from ...city.reader_memberships import ReaderMemberships
from ...city.types import AgentSlug, Author, AuthorKind, CitizenId, Room, RoomId, SubjectId, agent_subject
from ...city.unread import RoomUnread
from ...errors import InvalidInput, NotFound
from ...realtime.read_mark_writer import ReadMarkWriter
from ...realtime.unread_counts import count_unread
from ...storage.database import Database, Transaction
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.principals import Access, Principal
from ..routing import Body, Call, NoBody, NoContent, NoQuery, ResponseSpec, endpoint
from ..unread_views import optional_last_message_view, unread_view
from ..views import author_view, optional_timestamp, timestamp

_BLOCK: Final = "/city/me/blocks/{citizen_id}"
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


@dataclass(frozen=True, slots=True)
class _Chat:
    """A direct chat with the other one, and why the reader cannot write in it."""

    room: Room
    other: SubjectId
    read_only: schemas.ReadOnlyReason | None = None


def _last_event_ms(chat: _Chat) -> int:
    return chat.room.last_event_ms or chat.room.created_at_ms


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
        summary="List direct chats",
        response=list[schemas.DirectChat],
    )
    async def list_direct_chats(self, call: Call[NoBody, NoQuery]) -> list[schemas.DirectChat]:
        """Returns the client's direct chats with other citizens and with agents, the one with the newest event first. The chat
        with a citizen who was erased stays, read-only and with a deleted account; a citizen who comes back has a new chat.

        Chats with one agent that the client's linked Matrix account has from a Matrix client are among them, as long as the link
        lasts and the account is joined. Of an encrypted one nothing is shown (`read_only`). A message to such a chat goes to the
        same Matrix room: the agent invites the client's ghost there.
        """
        return await self._views(self.actors.of(call.principal))

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
        if kind is AuthorKind.AGENT:
            if (known := await self._matrix_chat_with(citizen, AgentSlug(name))) is not None:
                return ResponseSpec(known, status=200)
            opened = await self.chats.open_with_agent(citizen, AgentSlug(name))
        else:
            opened = await self.chats.open(citizen, CitizenId(name))
        (view,) = await self._views(citizen, opened.room.id)
        return ResponseSpec(view, status=201 if opened.is_new else 200)

    async def _matrix_chat_with(self, citizen: Author, slug: AgentSlug) -> schemas.DirectChat | None:
        """Return the newest chat with an agent that was opened on Matrix, unless there is one that was opened in the city."""
        of_agent = [each for each in await self._views(citizen) if each["subject"] == agent_subject(slug)]
        if not all(each["opened_on_matrix"] for each in of_agent):
            return None
        return next((each for each in of_agent if each["read_only"] is None), None)

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

    async def _views(self, citizen: Author, only: RoomId | None = None) -> list[schemas.DirectChat]:
        name = CitizenId(citizen.id)
        await self.read_marks.flush(name)
        async with self.database.read_only() as tx:
            ranges_by_room = await self.readers.ranges_by_room(tx, citizen)
            chats = [
                _Chat(room_as_seen(room, ranges_by_room.get(room.id, PUBLIC)), chat.other(name))
                for chat, room in await tx.citizen_chats.of(name)
            ]
            if (account := await tx.accounts.of(name)) is not None:
                chats += [
                    await self._chat_on_matrix(tx, room, citizen) for room in await tx.direct_chats.of_account(account)
                ]
            chats.sort(key=_last_event_ms, reverse=True)
            shown = [chat for chat in chats if only in {None, chat.room.id}]
            return await self._read(tx, citizen, shown, ranges_by_room)

    async def _chat_on_matrix(self, tx: Transaction, room: Room, citizen: Author) -> _Chat:
        assert room.agent is not None
        reason = None
        if room.encrypted:
            reason = schemas.ReadOnlyReason.ENCRYPTED
        elif not await self.permissions.may_write_in_chat(tx, room, citizen):
            reason = schemas.ReadOnlyReason.NOT_INVITED
        return _Chat(room, agent_subject(room.agent), reason)

    async def _read(
        self, tx: Transaction, citizen: Author, chats: list[_Chat], ranges_by_room: Mapping[RoomId, ReadableRanges]
    ) -> list[schemas.DirectChat]:
        name = CitizenId(citizen.id)
        ids = [chat.room.id for chat in chats if chat.read_only is not schemas.ReadOnlyReason.ENCRYPTED]
        last = await tx.last_messages.of(ids, ranges_by_room)
        counted = await count_unread(tx, self.readers, citizen, among=ids)
        others = await self._others(tx, [chat.other for chat in chats])
        blocked = await tx.citizen_chats.blocked_by(name)
        views: list[schemas.DirectChat] = []
        for chat in chats:
            room, other = chat.room, chat.other
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
                    "read_only": chat.read_only,
                    "created_at": timestamp(room.created_at_ms),
                }
            )
        return views

    async def _others(self, tx: Transaction, subjects: list[SubjectId]) -> dict[SubjectId, Author]:
        """Return the others of chats as authors: citizens, also erased ones, and agents."""
        slugs = [slug for subject in subjects if (slug := agent_slug_of(subject)) is not None]
        avatars = await tx.ghosts.own_avatars([self.identities.agent(slug) for slug in slugs])
        names = await tx.citizens.names([CitizenId(each) for each in subjects if agent_slug_of(each) is None])
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
