"""The route ``GET /api/v1/people/{person_id}/export``: a person's data, streamed as lines of JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from ...city.data_subjects import DataSubject, find_data_subject
from ...city.identity import Identities
from ...city.ports import NowMs, PresenceStore
from ...errors import NotFound
from ...storage.database import Database
from ...storage.personal_data.export import export_lines, has_data, presence_record
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Access, check
from ..database_errors import translate_database_errors
from ..routing import EndpointDescription, described
from ..validation import check_text

_PATH: Final = "/api/v1/people/{person_id}/export"
_Lines = Annotated[
    str, Field(description="JSON objects, one a line.", examples=['{"type": "export", "schema": 1}\n{"type": "end"}\n'])
]


@dataclass(frozen=True, slots=True)
class PeopleExport:
    database: Database
    identities: Identities
    presence: PresenceStore
    authenticator: CityAuthenticator
    now_ms: NowMs

    def install(self, app: web.Application) -> None:
        app.router.add_get(_PATH, self._export, allow_head=False)

    @described(
        EndpointDescription(
            Access.ADMINS,
            summary="Export a person's data",
            response=_Lines,
            errors=("no_person", "no_such_person"),
            response_type="application/x-ndjson",
        )
    )
    async def _export(self, request: web.Request) -> web.StreamResponse:
        """Returns everything that the city stores about a citizen, a Matrix user or an agent, of a linked person about both
        subjects, as JSON objects, one a line. The first has the `type` `export` and the version of the records, `schema`; the
        last is `{"type": "end", "records": …}`, and is missing if the export was cut short. The records are described in
        docs/reference/personal-data.md.
        """
        check(Access.ADMINS, await self.authenticator.principal(request), anonymous_read=False)
        check_text(dict(request.match_info))
        with translate_database_errors():
            data_subject = await self._data_subject(request.match_info["person_id"])
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/x-ndjson",
                "Content-Disposition": 'attachment; filename="export.ndjson"',
                "Cache-Control": "no-store",
            }
        )
        presence = [presence_record(subject, self.presence.state(subject)) for subject in data_subject.subjects]
        await response.prepare(request)
        async for line in export_lines(self.database, data_subject, presence, now_ms=self.now_ms()):
            await response.write(line)
        await response.write_eof()
        return response

    async def _data_subject(self, name: str) -> DataSubject:
        async with self.database.read_only() as tx:
            data_subject = await find_data_subject(tx.accounts, self.identities, name)
        if not await has_data(self.database, data_subject):
            raise NotFound("no_such_person", f"the city has no data of {name}")
        return data_subject
