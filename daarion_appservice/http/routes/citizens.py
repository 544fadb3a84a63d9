"""The route ``/city/citizens``: the names of citizens, for pages that know ids from presence events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.history_visibility import is_readable_by_all
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.person_presence import PersonPresence
from ...city.types import CitizenId, citizen_subject
from ...errors import InvalidInput
from ...realtime.citizen_names import CitizenNames
from ...storage.database import Database
from .. import schemas
from ..auth.principals import Access, Principal
from ..id_lists import MAX_CHARS, split_ids
from ..known_citizens import knows_by_id
from ..routing import Call, NoBody, Query, endpoint

_MAX_IDS: Final = 200


class CitizenQuery(Query):
    ids: str = Field(
        max_length=MAX_CHARS, description="1 to 200 citizen ids, separated by commas.", examples=["u_123,u_124"]
    )


@dataclass(frozen=True, slots=True)
class CitizenRoutes:
    names: CitizenNames
    database: Database
    identities: Identities
    online_members: OnlineMembers
    person_presence: PersonPresence

    @endpoint(
        "GET",
        "/city/citizens",
        access=Access.READERS,
        query=CitizenQuery,
        summary="Get the names of citizens",
        response=schemas.CitizenNames,
    )
    async def get_citizen_names(self, call: Call[NoBody, CitizenQuery]) -> schemas.CitizenNames:
        """Returns the name that each citizen has chosen, else that of the last token, for clients that know ids from presence
        events. Citizens who have joined no room have a name as well; clients without a token get
        it only of those who are online, in a room that everyone may read, or authors of a message there.
        """
        ids = [CitizenId(each) for each in split_ids(call.query.ids)]
        if not ids or len(ids) > _MAX_IDS:
            raise InvalidInput("invalid", f"ids: must be 1 to {_MAX_IDS} ids of citizens", status=422)
        names = await self.names.of(await self._known(call.principal, ids))
        return {"citizens": [{"id": each, "display_name": names.get(each)} for each in ids]}

    async def _known(self, principal: Principal, ids: list[CitizenId]) -> list[CitizenId]:
        """Return those of the citizens whom the principal may know: by the id alone, or from public rooms."""
        persons = {each: self.identities.accounts.canonical_subject(citizen_subject(each)) for each in ids}
        unknown = [each for each, person in persons.items() if not knows_by_id(principal, person, self.person_presence)]
        if not unknown:
            return ids
        rooms_of = {each: self.online_members.rooms_of_person(persons[each]) for each in unknown}
        async with self.database.read_only() as tx:
            rooms = await tx.rooms.by_ids({room for rooms in rooms_of.values() for room in rooms})
            authors = await tx.citizens.public_authors(unknown)
        public = {room.id for room in rooms if is_readable_by_all(room) and not room.archived}
        hidden = {each for each in unknown if each not in authors and public.isdisjoint(rooms_of[each])}
        return [each for each in ids if each not in hidden]
