"""Interactions of citizens with Second Me, and the turns that serialise them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from ..city.second_me import MAX_INTERACTIONS, Interaction
from ..city.types import SubjectId
from . import upsert
from .repository import Repository
from .row_mapper import RowMapper
from .tables import interactions, secondme_turns

_interaction: Final = RowMapper(Interaction)


class InteractionRepository(Repository):
    """The tables ``interactions`` and ``secondme_turns``."""

    async def last(self, who: SubjectId, count: int) -> list[Interaction]:
        """Return the last interactions, oldest first."""
        found = await self._connection.execute(
            select(interactions)
            .where(interactions.c.user_id == who)
            .order_by(interactions.c.number.desc())
            .limit(count)
        )
        return [_interaction(row) for row in reversed(found.all())]

    async def add(self, interaction: Interaction) -> None:
        """Store an interaction and delete all but the newest ``MAX_INTERACTIONS`` of the subject."""
        await self._connection.execute(insert(interactions).values(_interaction.values(interaction)))
        mine = interactions.c.user_id == interaction.user_id
        kept = select(interactions.c.number).where(mine).order_by(interactions.c.number.desc()).limit(MAX_INTERACTIONS)
        await self._connection.execute(delete(interactions).where(mine, interactions.c.number.not_in(kept)))

    async def get(self, interaction: str) -> Interaction | None:
        found = await self._connection.execute(select(interactions).where(interactions.c.id == interaction))
        row = found.first()
        return _interaction(row) if row else None

    async def delete_all(self, who: SubjectId) -> None:
        """Delete all interactions of the subject."""
        await self._connection.execute(delete(interactions).where(interactions.c.user_id == who))

    # --- turns ----------------------------------------------------------------------------------------

    async def take_turn(self, who: SubjectId, turn: str, *, now_ms: int, until_ms: int) -> bool:
        """Take the subject's turn; return False while another turn has neither ended nor expired."""
        statement = upsert.insert(self._connection, secondme_turns).values(user_id=who, turn=turn, until_ms=until_ms)
        taken = await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[secondme_turns.c.user_id],
                set_={"turn": turn, "until_ms": until_ms},
                where=secondme_turns.c.until_ms <= now_ms,
            ).returning(secondme_turns.c.turn)
        )
        return taken.first() is not None

    async def extend_turn(self, who: SubjectId, turn: str, *, until_ms: int) -> bool:
        """Extend the turn; return False if it was lost."""
        held = await self._connection.execute(update(secondme_turns).where(_is(who, turn)).values(until_ms=until_ms))
        return bool(held.rowcount)

    async def end_turn(self, who: SubjectId, turn: str) -> bool:
        """End the turn; return False if it was lost."""
        ended = await self._connection.execute(delete(secondme_turns).where(_is(who, turn)))
        return bool(ended.rowcount)


def _is(who: SubjectId, turn: str) -> Any:
    return (secondme_turns.c.user_id == who) & (secondme_turns.c.turn == turn)
