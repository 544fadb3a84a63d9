"""The canonical subject of an author in SQL: both subjects of a linked person count as one (`city.linked_accounts`)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, case, func, literal, select

from ..city.types import AGENT_SUBJECT, AuthorKind, CitizenId, UserId
from .tables import accounts


def with_account(table: Table) -> FromClause:
    """Return a table with author columns, joined with the account of each author who is a linked citizen."""
    return table.outerjoin(
        accounts, and_(table.c.author_kind == AuthorKind.CITIZEN, accounts.c.citizen_id == table.c.author_id)
    )


def canonical_subject(table: Table) -> ColumnElement[str]:
    """Return the canonical subject of the author of each row of ``with_account(table)``."""
    agent = literal(AGENT_SUBJECT).concat(table.c.author_id)
    return case(
        (table.c.author_kind == AuthorKind.AGENT, agent),
        else_=func.coalesce(accounts.c.matrix_user_id, table.c.author_id),
    )


def both_acted_on(table: Table, citizen: CitizenId, user: UserId) -> Select[str]:
    """Return a query for the messages of ``table`` with rows of both a citizen and a Matrix user."""
    own = table.c.author_kind == AuthorKind.CITIZEN, table.c.author_id == citizen
    others = select(table.c.message_id).where(table.c.author_kind == AuthorKind.MATRIX, table.c.author_id == user)
    return select(table.c.message_id).where(*own, table.c.message_id.in_(others)).distinct()
