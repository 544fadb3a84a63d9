"""The route ``/city/people/{subject}``: a person or agent as profile cards show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...city.agents import AgentDirectory
from ...city.history_visibility import PUBLIC, may_subscribe
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.person_presence import PersonPresence
from ...city.ports import NowMs
from ...city.reader_memberships import ReaderMemberships
from ...city.types import (
    AgentSlug,
    Author,
    AuthorKind,
    CitizenId,
    Member,
    Room,
    SubjectId,
    UserId,
    author_key,
)
from ...errors import NotFound
from ...storage.database import Database, Transaction
from .. import schemas
from ..auth.principals import Access, Citizen, Principal, author_of
from ..known_citizens import knows_by_id
from ..media_urls import MediaUrls
from ..presence_views import presence_fields
from ..routing import Call, NoBody, NoQuery, endpoint

_MAX_ROOMS: Final = 100
"""The number of rooms of a person that are listed."""


@dataclass(frozen=True, slots=True)
class ProfileCardRoutes:
    database: Database
    agents: AgentDirectory
    identities: Identities
    online_members: OnlineMembers
    person_presence: PersonPresence
    readers: ReaderMemberships
    now_ms: NowMs

    @endpoint(
        "GET",
        "/city/people/{subject}",
        access=Access.READERS,
        summary="Get a person or agent",
        response=schemas.ProfileCard,
        errors=("no_such_person",),
    )
    async def get_person(self, call: Call[NoBody, NoQuery]) -> schemas.ProfileCard:
        """Returns the name, avatar, presence and rooms of a citizen, a Matrix user or an agent. A Matrix user is known to the
        client by a room whose new messages the client may read. So is a citizen to clients without a token, or by a
        message that everyone may read, or while online; citizens and agents know all citizens.
        """
        named = SubjectId(call.path["subject"])
        person = self.identities.accounts.canonical_subject(named)
        async with self.database.read_only() as tx:
            rooms = await self._rooms(tx, call.principal, person)
            author = await self._author(
                tx, person, rooms, knows_citizens=knows_by_id(call.principal, person, self.person_presence)
            )
            if author is None:
                raise NotFound("no_such_person", f"there is nobody with the id {named!r}")
            blocked = await self._blocked(tx, call.principal)
        citizen = self._citizen(person)
        return {
            **presence_fields(self.person_presence.state(person), self.now_ms()),
            "subject": person,
            "kind": author.kind,
            "id": author.id,
            "display_name": author.display_name,
            "avatar_url": MediaUrls(self.identities.media_links).url(author.avatar_url),
            "matrix_user_id": self.identities.author(author),
            "citizen_id": citizen,
            "agent_slug": author.id if author.kind is AuthorKind.AGENT else None,
            "rooms": [{"id": room.id, "slug": room.slug, "name": room.name} for room in rooms[:_MAX_ROOMS]],
            "may_message": (author.kind is AuthorKind.AGENT and isinstance(call.principal, Citizen))
            or self._may_message(call.principal, citizen, blocked),
            "blocked": citizen in blocked,
        }

    async def _rooms(self, tx: Transaction, principal: Principal, person: SubjectId) -> list[Room]:
        """Return the rooms of a person whose members the principal may know."""
        ranges_by_room = await self.readers.ranges_by_room(tx, author_of(principal))
        found = await tx.rooms.by_ids(self.online_members.rooms_of_person(person))
        known = [
            room
            for room in found
            if not room.archived and not room.is_direct and may_subscribe(room, ranges_by_room.get(room.id, PUBLIC))
        ]
        return sorted(known, key=lambda room: room.name.casefold())

    async def _author(
        self, tx: Transaction, person: SubjectId, rooms: list[Room], *, knows_citizens: bool
    ) -> Author | None:
        """Return a person with name and avatar; None for an unknown one."""
        kind, name = author_key(person)
        if kind is AuthorKind.AGENT:
            agent = self.agents.get(AgentSlug(name))
            if agent is None:
                return None
            ghost = await tx.ghosts.get(self.identities.agent(agent.slug))
            return Author(kind, agent.slug, agent.display_name, ghost.own_avatar if ghost else None)
        member = await self._member(tx, self.identities.user(person), rooms)
        citizen = self._citizen(person)
        names = await tx.citizens.names([citizen]) if citizen is not None else {}
        is_citizen = citizen in names or self._is_linked(person)
        if member is None and is_citizen and not knows_citizens and citizen is not None:
            knows_citizens = citizen in await tx.citizens.public_authors([citizen])
        if member is None and not (is_citizen and knows_citizens):
            return None
        own_name = names.get(citizen) if citizen is not None and kind is AuthorKind.CITIZEN else None
        display_name = own_name or (member and member.display_name) or name
        author = Author(kind, name, display_name, member.avatar_url if member else None)
        return self.identities.accounts.with_profile(author)

    async def _member(self, tx: Transaction, user: UserId, rooms: list[Room]) -> Member | None:
        for room in rooms:
            if (member := await tx.members.get(room.id, user)) is not None:
                return member
        return None

    def _citizen(self, person: SubjectId) -> CitizenId | None:
        subjects = self.identities.accounts.subjects_of(person)
        found = [CitizenId(each) for each in subjects if author_key(each)[0] is AuthorKind.CITIZEN]
        return found[0] if found else None

    def _is_linked(self, person: SubjectId) -> bool:
        return len(self.identities.accounts.subjects_of(person)) > 1

    async def _blocked(self, tx: Transaction, principal: Principal) -> set[CitizenId]:
        return await tx.citizen_chats.blocked_by(principal.id) if isinstance(principal, Citizen) else set()

    def _may_message(self, principal: Principal, citizen: CitizenId | None, blocked: set[CitizenId]) -> bool:
        if not isinstance(principal, Citizen) or citizen is None:
            return False
        return citizen != principal.id and citizen not in blocked
