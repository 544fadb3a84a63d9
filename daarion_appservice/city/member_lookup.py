"""Who is a member of a room now: rooms have members in memory, direct chats that were opened on Matrix in the database only.

room, direct chat of the city ─► `OnlineMembers`
direct chat of Matrix ─────────► membership periods of its people; its agents
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .citizen_pairs import is_chat_id
from .identity import Identities
from .online_members import OnlineMembers
from .ports import CityTransaction
from .types import RoomId, SubjectId, UserId, agent_subject, user_subject


@dataclass(frozen=True, slots=True)
class MemberLookup:
    """Finds members of rooms and of direct chats of either origin."""

    online_members: OnlineMembers
    identities: Identities

    def may_be_member(self, room: RoomId, subject: SubjectId) -> bool:
        """Return False if the person is no member, without a look into the database; True for any person in a direct chat."""
        return self.online_members.has_person(room, subject) or is_chat_id(room)

    async def is_joined(self, tx: CityTransaction, room: RoomId, user: UserId) -> bool:
        """Return whether a Matrix user, who is no ghost, is a member."""
        return self.online_members.is_member(room, user_subject(user)) or (
            is_chat_id(room) and await tx.membership_periods.is_joined(room, user)
        )

    async def persons_in(self, tx: CityTransaction, room: RoomId, subjects: Iterable[SubjectId]) -> set[SubjectId]:
        """Return those of the subjects whose persons are members, by any subject."""
        asked = set(subjects)
        found = {subject for subject in asked if self.online_members.has_person(room, subject)}
        if found != asked and is_chat_id(room):
            joined = await tx.membership_periods.joined_users(room)
            agents = {agent_subject(agent) for agent in await tx.direct_chats.agents(room)}
            found |= {each for each in asked if each in agents or not joined.isdisjoint(self._users(each))}
        return found

    def _users(self, subject: SubjectId) -> list[UserId]:
        return [self.identities.user(each) for each in self.identities.accounts.subjects_of(subject)]
