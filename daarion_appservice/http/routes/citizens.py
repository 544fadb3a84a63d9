"""The route ``/city/citizens``: the names of citizens, for pages that know ids from presence events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.types import CitizenId
from ...errors import InvalidInput
from ...realtime.citizen_names import CitizenNames
from .. import schemas
from ..auth.principals import Access
from ..id_lists import MAX_CHARS, split_ids
from ..routing import Call, NoBody, Query, endpoint

_MAX_IDS: Final = 200


class CitizenQuery(Query):
    ids: str = Field(
        max_length=MAX_CHARS, description="1 to 200 citizen ids, separated by commas.", examples=["u_123,u_124"]
    )


@dataclass(frozen=True, slots=True)
class CitizenRoutes:
    names: CitizenNames

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
        events. Citizens who have joined no room have a name as well.
        """
        ids = [CitizenId(each) for each in split_ids(call.query.ids)]
        if not ids or len(ids) > _MAX_IDS:
            raise InvalidInput("invalid", f"ids: must be 1 to {_MAX_IDS} ids of citizens", status=422)
        names = await self.names.of(ids)
        return {"citizens": [{"id": each, "display_name": names.get(each)} for each in ids]}
