"""Erasures of data subjects, the digests of erased ids, and the Matrix events that are to be redacted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson
from sqlalchemy import delete, select, update
from sqlalchemy.engine import Row

from ...city.data_subjects import DataSubject
from ...city.erased_people import ErasedId, digest_of
from ...city.types import AgentSlug, CitizenId, EventId, MatrixRoomId, SubjectId, UserId
from ..key_values import accounts_changed
from ..repository import Repository
from ..tables import erased_ids, erasure_redactions, erasures
from ..upsert import insert

_MAX_REMAINS: Final = 1_000
"""The number of things that an erasure names as not deleted; it counts the others."""


class ErasureState(StrEnum):
    """The states of an erasure, in their order."""

    CITY = "city"
    """The data in the database is being deleted, and nothing that the data subject does is accepted."""
    MATRIX = "matrix"
    """The city has no data any more; the homeserver's is being deleted."""
    DONE = "done"


RemainsKind: TypeAlias = Literal["file", "event", "chat", "membership", "account"]


class Remains(NamedTuple):
    """Something of the data subject that the service cannot delete."""

    kind: RemainsKind
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure still has to do on Matrix."""

    rooms: tuple[MatrixRoomId, ...] = ()
    """Matrix rooms in which the data subject may have sent events."""
    chats: tuple[tuple[MatrixRoomId, UserId], ...] = ()
    """Direct chats with the data subject, and the users of the service that leave them."""


@dataclass(frozen=True, slots=True)
class StoredErasure:
    """One row of ``erasures``."""

    id: str
    data_subject: DataSubject | None
    """None when the erasure is done."""
    state: ErasureState
    requested_at_ms: int
    finished_at_ms: int | None = None
    retry_at_ms: int = 0
    error: str | None = None
    plan: Plan = field(default_factory=Plan)
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was deleted: rows by table, and ``redactions``."""
    remains: tuple[Remains, ...] = ()


@dataclass(frozen=True, slots=True)
class PendingRedaction:
    """A Matrix event that is to be redacted."""

    event: EventId
    room: MatrixRoomId
    sender: UserId


class ErasureRepository(Repository):
    """The tables ``erasures``, ``erased_ids`` and ``erasure_redactions``."""

    async def add(self, erasure: str, data_subject: DataSubject, *, now_ms: int) -> None:
        """Store a new erasure, and the digests of all ids of the data subject."""
        await self._connection.execute(
            insert(self._connection, erasures).values(
                id=erasure,
                data_subject=_data_subject_text(data_subject),
                state=ErasureState.CITY,
                requested_at_ms=now_ms,
            )
        )
        statement = insert(self._connection, erased_ids)
        again = {"erasure_id": erasure, "erased_at_ms": None, "generation": erased_ids.c.generation + 1}
        for subject in data_subject.subjects:
            await self._connection.execute(
                statement.values(digest=digest_of(subject), erasure_id=erasure, generation=1).on_conflict_do_update(
                    index_elements=[erased_ids.c.digest], set_=again
                )
            )
        for ghost in data_subject.ghosts:
            await self._connection.execute(
                statement.values(digest=digest_of(ghost), erasure_id=erasure, generation=0).on_conflict_do_nothing()
            )
        await accounts_changed(self._connection)

    async def get(self, erasure: str) -> StoredErasure | None:
        return await self._one(erasures.c.id == erasure)

    async def latest_of(self, subject: SubjectId) -> StoredErasure | None:
        """Return the newest erasure of a subject; None if it was never erased."""
        newest = select(erased_ids.c.erasure_id).where(erased_ids.c.digest == digest_of(subject)).scalar_subquery()
        return await self._one(erasures.c.id == newest)

    async def all(self, *, limit: int) -> list[StoredErasure]:
        """Return the newest erasures, newest first."""
        rows = await self._connection.execute(select(erasures).order_by(erasures.c.id.desc()).limit(limit))
        return list(map(_stored, rows))

    async def unfinished(self) -> list[StoredErasure]:
        """Return the erasures that are not done, and those that are and have events to redact, oldest first."""
        late = select(erasure_redactions.c.erasure_id)
        rows = await self._connection.execute(
            select(erasures)
            .where((erasures.c.state != ErasureState.DONE) | erasures.c.id.in_(late))
            .order_by(erasures.c.id)
        )
        return list(map(_stored, rows))

    async def update(self, erasure: str, **values: Any) -> None:
        """Change columns of an erasure."""
        await self._connection.execute(update(erasures).where(erasures.c.id == erasure).values(**values))

    async def set_plan(self, erasure: str, plan: Plan) -> None:
        await self.update(erasure, plan=orjson.dumps(asdict(plan)).decode())

    async def add_counts(self, erasure: str, more: Mapping[str, int]) -> None:
        """Increase the numbers of what was deleted. The row is locked first, so that no increase is lost."""
        stored = await self._locked(erasure)
        if stored is not None and any(more.values()):
            names = dict.fromkeys((*stored.counts, *(name for name, number in more.items() if number)))
            counts = {name: stored.counts.get(name, 0) + more.get(name, 0) for name in names}
            await self.update(erasure, counts=orjson.dumps(counts).decode())

    async def add_remains(self, erasure: str, more: Iterable[Remains]) -> None:
        """Add what the service cannot delete, each thing once."""
        stored = await self._locked(erasure)
        if stored is not None:
            known = dict.fromkeys(stored.remains)
            remains = list(dict.fromkeys((*known, *more)))[:_MAX_REMAINS]
            await self.update(erasure, remains=orjson.dumps(list(map(list, remains))).decode())

    async def close_city(self, erasure: str, *, now_ms: int) -> None:
        """Note that the city has no data of the data subject any more: from now on the data subject may come back."""
        await self.update(erasure, state=ErasureState.MATRIX, retry_at_ms=0, error=None)
        await self._connection.execute(
            update(erased_ids).where(erased_ids.c.erasure_id == erasure).values(erased_at_ms=now_ms)
        )
        await accounts_changed(self._connection)

    async def finish(self, erasure: str, *, now_ms: int) -> None:
        """Note that nothing is left to do, and delete the data subject's ids."""
        await self.update(
            erasure,
            state=ErasureState.DONE,
            data_subject="",
            plan="{}",
            finished_at_ms=now_ms,
            error=None,
            retry_at_ms=0,
        )
        await accounts_changed(self._connection)

    # --- erased ids -----------------------------------------------------------------------------------

    async def erased_ids(self) -> dict[str, ErasedId]:
        """Return all erased ids by digest."""
        return {row.digest: _erased(row) for row in await self._connection.execute(select(erased_ids))}

    async def erased(self, name: str) -> ErasedId | None:
        """Return the erasure of a subject or Matrix user."""
        found = await self._connection.execute(select(erased_ids).where(erased_ids.c.digest == digest_of(name)))
        row = found.first()
        return _erased(row) if row else None

    # --- redactions -----------------------------------------------------------------------------------

    async def add_redactions(self, erasure: str, redactions: Collection[PendingRedaction]) -> None:
        """Store events that are to be redacted, each once."""
        if redactions:
            await self._connection.execute(
                insert(self._connection, erasure_redactions).on_conflict_do_nothing(),
                [
                    {
                        "event_id": each.event,
                        "erasure_id": erasure,
                        "matrix_room_id": each.room,
                        "sender": each.sender,
                    }
                    for each in redactions
                ],
            )

    async def redactions(self, erasure: str, *, limit: int) -> list[PendingRedaction]:
        rows = await self._connection.execute(
            select(erasure_redactions)
            .where(erasure_redactions.c.erasure_id == erasure)
            .order_by(erasure_redactions.c.event_id)
            .limit(limit)
        )
        return [
            PendingRedaction(EventId(row.event_id), MatrixRoomId(row.matrix_room_id), UserId(row.sender))
            for row in rows
        ]

    async def delete_redaction(self, event: EventId) -> None:
        await self._connection.execute(delete(erasure_redactions).where(erasure_redactions.c.event_id == event))

    async def _locked(self, erasure: str) -> StoredErasure | None:
        row = (
            await self._connection.execute(select(erasures).where(erasures.c.id == erasure).with_for_update())
        ).first()
        return _stored(row) if row else None

    async def _one(self, condition: Any) -> StoredErasure | None:
        row = (await self._connection.execute(select(erasures).where(condition))).first()
        return _stored(row) if row else None


def _erased(row: Row[Any]) -> ErasedId:
    return ErasedId(row.erasure_id, row.erased_at_ms, row.generation)


def _stored(row: Row[Any]) -> StoredErasure:
    plan = orjson.loads(row.plan)
    return StoredErasure(
        row.id,
        _data_subject(orjson.loads(row.data_subject)) if row.data_subject else None,
        ErasureState(row.state),
        row.requested_at_ms,
        row.finished_at_ms,
        row.retry_at_ms,
        row.error,
        Plan(tuple(plan.get("rooms", ())), tuple((room, user) for room, user in plan.get("chats", ()))),
        orjson.loads(row.counts),
        tuple(Remains(*each) for each in orjson.loads(row.remains)),
    )


def _data_subject_text(data_subject: DataSubject) -> str:
    return orjson.dumps(asdict(data_subject)).decode()


def _data_subject(stored: dict[str, Any]) -> DataSubject:
    citizen, user, agent = stored["citizen"], stored["user"], stored["agent"]
    return DataSubject(
        CitizenId(citizen) if citizen else None,
        UserId(user) if user else None,
        AgentSlug(agent) if agent else None,
        tuple(map(UserId, stored["ghosts"])),
    )
