"""Reactions, one row each. The counts by key are stored with the message."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update

from ..city.types import Author, CitizenId, EventId, MessageId, Reaction, ReactionCount, ReactionId, SubjectId, UserId
from .author_columns import author_in_row, author_values
from .canonical_subjects import both_acted_on, canonical_subject, with_account
from .repository import Repository
from .row_mapper import RowMapper
from .tables import reactions

_NAMED: Final = 20
"""Maximum number of authors that are listed with each key."""


_reaction: Final = RowMapper(Reaction, author=author_in_row)


class ReactionRepository(Repository):
    """The table ``reactions``."""

    async def add(self, reaction: Reaction) -> None:
        await self._connection.execute(
            insert(reactions).values(
                id=reaction.id,
                message_id=reaction.message_id,
                key=reaction.key,
                shortcode=reaction.shortcode,
                matrix_key=reaction.matrix_key,
                at_ms=reaction.at_ms,
                matrix_event_id=reaction.matrix_event_id,
                **author_values(reaction.author),
            )
        )

    async def get(self, reaction: ReactionId) -> Reaction | None:
        return await self._one(reactions.c.id == reaction)

    async def given(self, message: MessageId, author: Author, key: str) -> list[Reaction]:
        """Return the author's reactions with this key that were not removed: on Matrix, each form of an emoji is one."""
        rows = await self._connection.execute(
            select(reactions)
            .where(
                reactions.c.message_id == message,
                reactions.c.author_kind == author.kind,
                reactions.c.author_id == author.id,
                reactions.c.key == key,
                ~reactions.c.removed,
            )
            .order_by(reactions.c.at_ms, reactions.c.id)
        )
        return [_reaction(row) for row in rows]

    async def first(self, message: MessageId, key: str) -> Reaction | None:
        """Return the first reaction with this key that was not removed."""
        row = (
            await self._connection.execute(
                select(reactions)
                .where(reactions.c.message_id == message, reactions.c.key == key, ~reactions.c.removed)
                .order_by(reactions.c.at_ms, reactions.c.id)
                .limit(1)
            )
        ).first()
        return _reaction(row) if row else None

    async def by_event_id(self, event: EventId) -> Reaction | None:
        return await self._one(reactions.c.matrix_event_id == event)

    async def counts(self, message: MessageId) -> tuple[ReactionCount, ...]:
        """Return the counts of all keys of a message, ordered by their first reactions."""
        # A person who reacted with both subjects counts once.
        nth = func.row_number().over(
            partition_by=(reactions.c.key, canonical_subject(reactions)), order_by=(reactions.c.at_ms, reactions.c.id)
        )
        all_given = (
            select(reactions, nth.label("nth"))
            .select_from(with_account(reactions))
            .where(reactions.c.message_id == message, ~reactions.c.removed)
            .subquery()
        )
        # Of thousands of reactions, only those are read whose authors are listed.
        key, in_order = all_given.c.key, (all_given.c.at_ms, all_given.c.id)
        place = func.row_number().over(partition_by=key, order_by=in_order).label("place")
        given = (
            select(all_given, place, func.count().over(partition_by=key).label("of_all"))
            .where(all_given.c.nth == 1)
            .subquery()
        )
        rows = await self._connection.execute(
            select(given).where(given.c.place <= _NAMED).order_by(given.c.at_ms, given.c.id)
        )
        named: dict[str, list[SubjectId]] = {}
        counts: dict[str, int] = {}
        shortcodes: dict[str, str | None] = {}
        for row in rows:
            named.setdefault(row.key, []).append(author_in_row(row).subject)
            counts[row.key] = row.of_all
            shortcodes[row.key] = shortcodes.get(row.key) or row.shortcode
        return tuple(ReactionCount(key, counts[key], tuple(by), shortcodes[key]) for key, by in named.items())

    async def messages_of_both(self, citizen: CitizenId, user: UserId) -> list[MessageId]:
        """Return the messages to which both a citizen and a Matrix user reacted."""
        found = await self._connection.scalars(both_acted_on(reactions, citizen, user))
        return [MessageId(message) for message in found]

    async def set_event(self, reaction: ReactionId, event: EventId) -> None:
        """Store the Matrix event of a reaction."""
        await self._connection.execute(
            update(reactions).where(reactions.c.id == reaction).values(matrix_event_id=event)
        )

    async def mark_removed(self, reaction: ReactionId) -> None:
        await self._connection.execute(update(reactions).where(reactions.c.id == reaction).values(removed=True))

    async def delete(self, reaction: ReactionId) -> None:
        await self._connection.execute(delete(reactions).where(reactions.c.id == reaction))

    async def delete_given(self, message: MessageId) -> None:
        """Delete the reactions to a message, but not those that were removed and whose redaction is pending."""
        given = delete(reactions).where(reactions.c.message_id == message, ~reactions.c.removed)
        await self._connection.execute(given)

    async def _one(self, *conditions: Any) -> Reaction | None:
        row = (await self._connection.execute(select(reactions).where(*conditions))).first()
        return _reaction(row) if row else None
