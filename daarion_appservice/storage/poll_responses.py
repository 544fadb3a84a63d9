"""Votes in polls and ends of polls, one row each. The results are stored with the message."""

from __future__ import annotations

from typing import Any, Final

import orjson
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Row

from ..city.message_kinds import Poll, PollResults, count_votes
from ..city.poll_responses import PollResponse, PollResponseKind
from ..city.types import Author, CitizenId, EventId, MessageId, UserId
from .author_columns import author_in_row, author_values
from .canonical_subjects import both_acted_on, canonical_subject, with_account
from .repository import Repository
from .row_mapper import RowMapper
from .tables import poll_responses

_MOST: Final = 20
"""Maximum number of votes of one voter in one poll that are stored, the newest first; a redaction reverts to the one before."""


def _selections(row: Row[Any]) -> tuple[str, ...]:
    return tuple(orjson.loads(row.selections))


_response: Final = RowMapper(PollResponse, author=author_in_row, selections=_selections)


class PollResponseRepository(Repository):
    """The table ``poll_responses``."""

    async def add(self, response: PollResponse) -> None:
        """Store a response. Of more than 20 votes of one voter, or ends by one author, the oldest are deleted."""
        await self._connection.execute(
            insert(poll_responses).values(
                id=response.id,
                message_id=response.message_id,
                kind=response.kind,
                selections=orjson.dumps(response.selections).decode(),
                at_ms=response.at_ms,
                matrix_event_id=response.matrix_event_id,
                **author_values(response.author),
            )
        )
        too_old = (
            select(poll_responses.c.id)
            .where(*_of(response.message_id, response.author), poll_responses.c.kind == response.kind)
            .order_by(poll_responses.c.at_ms.desc(), poll_responses.c.id.desc())
            .offset(_MOST)
            .limit(_MOST)
        )
        await self._connection.execute(delete(poll_responses).where(poll_responses.c.id.in_(too_old)))

    async def get(self, response: str) -> PollResponse | None:
        return await self._one(poll_responses.c.id == response)

    async def by_event_id(self, event: EventId) -> PollResponse | None:
        return await self._one(poll_responses.c.matrix_event_id == event)

    async def vote_of(self, message: MessageId, author: Author) -> PollResponse | None:
        """Return the author's newest vote."""
        return await self._one(*_of(message, author), poll_responses.c.kind == PollResponseKind.VOTE)

    async def count(self, message: MessageId, poll: Poll) -> PollResults:
        """Count the newest vote of each person before the first end of the poll."""
        table = poll_responses.c
        ended_at_ms = await self._connection.scalar(
            select(func.min(table.at_ms)).where(table.message_id == message, table.kind == PollResponseKind.END)
        )
        newest_first = (table.at_ms.desc(), table.id.desc())
        place = (
            func.row_number().over(partition_by=canonical_subject(poll_responses), order_by=newest_first).label("place")
        )
        votes = (
            select(table.selections, place)
            .select_from(with_account(poll_responses))
            .where(table.message_id == message, table.kind == PollResponseKind.VOTE)
        )
        if ended_at_ms is not None:
            votes = votes.where(table.at_ms <= ended_at_ms)
        newest = votes.subquery()
        rows = await self._connection.scalars(select(newest.c.selections).where(newest.c.place == 1))
        return count_votes(poll, map(orjson.loads, rows), ended_at_ms=ended_at_ms)

    async def messages_of_both(self, citizen: CitizenId, user: UserId) -> list[MessageId]:
        """Return the messages in whose polls both a citizen and a Matrix user voted."""
        found = await self._connection.scalars(both_acted_on(poll_responses, citizen, user))
        return [MessageId(message) for message in found]

    async def set_event(self, response: str, event: EventId) -> None:
        """Store the Matrix event of a response."""
        await self._connection.execute(
            update(poll_responses).where(poll_responses.c.id == response).values(matrix_event_id=event)
        )

    async def delete(self, response: str) -> None:
        await self._connection.execute(delete(poll_responses).where(poll_responses.c.id == response))

    async def delete_all_of(self, message: MessageId) -> None:
        await self._connection.execute(delete(poll_responses).where(poll_responses.c.message_id == message))

    async def _one(self, *conditions: Any) -> PollResponse | None:
        newest_first = (poll_responses.c.at_ms.desc(), poll_responses.c.id.desc())
        statement = select(poll_responses).where(*conditions).order_by(*newest_first).limit(1)
        row = (await self._connection.execute(statement)).first()
        return _response(row) if row else None


def _of(message: MessageId, author: Author) -> tuple[Any, ...]:
    table = poll_responses.c
    return table.message_id == message, table.author_kind == author.kind, table.author_id == author.id
