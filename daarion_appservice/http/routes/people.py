"""The routes ``/api/v1/people/{person_id}`` and ``/api/v1/erasures``, by which admins erase persons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import Field

from ...city.data_subjects import DataSubject, find_data_subject
from ...city.events import AccountsChanged
from ...city.identity import Identities
from ...city.ports import NewId, NowMs, Publish
from ...city.timestamps import optional_timestamp, timestamp
from ...errors import NotFound
from ...storage.database import Database
from ...storage.personal_data.erasures import StoredErasure
from ...storage.personal_data.export import count_rows
from ...storage.personal_data.requests import find_erasure, request_erasure
from .. import schemas
from ..auth.principals import Access
from ..routing import Call, NoBody, NoQuery, Query, ResponseSpec, endpoint

_LISTED = 100


class ErasureQuery(Query):
    dry_run: bool = Field(False, description="Whether to return only how many rows would be deleted.", examples=[False])


@dataclass(frozen=True, slots=True)
class PeopleRoutes:
    database: Database
    identities: Identities
    publish: Publish
    reload: Callable[[], Awaitable[None]]
    now_ms: NowMs
    new_id: NewId

    @endpoint(
        "DELETE",
        "/api/v1/people/{person_id}",
        access=Access.ADMINS,
        query=ErasureQuery,
        status=202,
        summary="Erase a person",
        response=schemas.Erasure,
        other_statuses={200: "A dry run."},
        errors=("no_person", "no_such_person"),
    )
    async def erase(self, call: Call[NoBody, ErasureQuery]) -> ResponseSpec:
        """Erases everything that the city and the homeserver store about a citizen, a Matrix user or an agent, of a linked person
        about both subjects. It cannot be undone. The leader carries it out, also while the homeserver is unavailable; a
        repeated request returns the same erasure until it is done. From the response on, the person's tokens are refused, in
        other processes within two seconds. How messages are shown afterwards, and what remains: docs/how-to/people-data.md.
        """
        data_subject = await self._data_subject(call.path["person_id"])
        known = await find_erasure(self.database, data_subject)
        counts = await count_rows(self.database, data_subject)
        if call.query.dry_run and counts:
            return ResponseSpec(_dry_run(data_subject, counts), 200)
        if not counts:
            if known is None:
                raise _unknown(call.path["person_id"])
            return ResponseSpec(erasure_view(known), 202)
        erasure = await request_erasure(self.database, data_subject, self.new_id, self.now_ms)
        await self.reload()
        self.publish(AccountsChanged())
        return ResponseSpec(erasure_view(erasure), 202)

    @endpoint(
        "GET",
        "/api/v1/people/{person_id}/erasure",
        access=Access.ADMINS,
        summary="Get the newest erasure of a person",
        response=schemas.Erasure,
        errors=("no_person", "no_such_person"),
    )
    async def get_erasure(self, call: Call[NoBody, NoQuery]) -> schemas.Erasure:
        """Finds the erasure by a digest of the person's id, also after the erasure is done."""
        found = await find_erasure(self.database, await self._data_subject(call.path["person_id"]))
        if found is None:
            raise _unknown(call.path["person_id"])
        return erasure_view(found)

    @endpoint(
        "GET",
        "/api/v1/erasures",
        access=Access.ADMINS,
        summary="List erasures",
        response=list[schemas.Erasure],
    )
    async def list_erasures(self, call: Call[NoBody, NoQuery]) -> list[schemas.Erasure]:
        """Returns the newest 100 erasures, newest first."""
        async with self.database.read_only() as tx:
            return [erasure_view(each) for each in await tx.erasures.all(limit=_LISTED)]

    async def _data_subject(self, name: str) -> DataSubject:
        async with self.database.read_only() as tx:
            return await find_data_subject(tx.accounts, self.identities, name)


def erasure_view(erasure: StoredErasure) -> schemas.Erasure:
    """Return an erasure as the API and the command line show it."""
    return {
        "id": erasure.id,
        "state": erasure.state,
        "subjects": [] if erasure.data_subject is None else list(erasure.data_subject.subjects),
        "requested_at": timestamp(erasure.requested_at_ms),
        "finished_at": optional_timestamp(erasure.finished_at_ms),
        "error": erasure.error,
        "counts": dict(erasure.counts),
        "remains": [{"kind": each.kind, "name": each.name, "reason": each.reason} for each in erasure.remains],
    }


def _dry_run(data_subject: DataSubject, counts: dict[str, int]) -> schemas.Erasure:
    return {
        "id": None,
        "state": None,
        "subjects": list(data_subject.subjects),
        "requested_at": None,
        "finished_at": None,
        "error": None,
        "counts": counts,
        "remains": [],
    }


def _unknown(name: str) -> NotFound:
    return NotFound("no_such_person", f"the city has no data of {name}")
