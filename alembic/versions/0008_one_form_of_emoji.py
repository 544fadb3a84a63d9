"""Store reaction keys in one form of Unicode, with the key on Matrix beside it; name the pictures used as reactions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

from daarion_appservice.city.emoji import normal_form

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAMED = 20

_REACTIONS = sa.table(
    "reactions",
    *map(sa.column, ("id", "message_id", "author_kind", "author_id", "key", "matrix_key", "at_ms")),
    sa.column("removed", sa.Boolean()),
)
_MESSAGES = sa.table("messages", sa.column("id"), sa.column("reactions"))
_ROOM_EVENTS = sa.table("room_events", sa.column("key"))


def upgrade() -> None:
    op.add_column("reactions", sa.Column("shortcode", sa.String(length=64), nullable=True))
    op.add_column("reactions", sa.Column("matrix_key", sa.String(length=255), nullable=True))
    op.create_index(op.f("ix_reactions_key"), "reactions", ["key"])
    connection = op.get_bind()
    for table in (_REACTIONS, _ROOM_EVENTS):
        keys = connection.execute(sa.select(table.c.key).where(table.c.key.is_not(None)).distinct()).scalars().all()
        changed = {key: form[:255] for key in keys if (form := normal_form(key)) != key and form}
        if table is _REACTIONS:
            _change(connection, changed)
        else:
            for key, form in changed.items():
                connection.execute(table.update().where(table.c.key == key).values(key=form))


def downgrade() -> None:
    op.drop_index(op.f("ix_reactions_key"), "reactions")
    op.drop_column("reactions", "matrix_key")
    op.drop_column("reactions", "shortcode")


def _change(connection: sa.Connection, changed: dict[str, str]) -> None:
    of_both = _REACTIONS.c.key.in_([*changed, *changed.values()])
    rows = connection.execute(sa.select(_REACTIONS).where(of_both).order_by(_REACTIONS.c.at_ms, _REACTIONS.c.id)).all()
    given: set[tuple[Any, ...]] = set()
    touched: set[str] = set()
    for row in rows:
        form = changed.get(row.key, row.key)
        whose = (row.message_id, row.author_kind, row.author_id, form)
        # An author with both forms has one reaction; the second is marked as removed, and waits for its redaction.
        is_second = not row.removed and whose in given
        if not row.removed:
            given.add(whose)
        if is_second:
            connection.execute(_REACTIONS.update().where(_REACTIONS.c.id == row.id).values(removed=True))
        if is_second or form != row.key:
            touched.add(row.message_id)
    for key, form in changed.items():
        connection.execute(_REACTIONS.update().where(_REACTIONS.c.key == key).values(key=form, matrix_key=key))
    for message in touched:
        _count(connection, message)


def _count(connection: sa.Connection, message: str) -> None:
    """Store the counts of a message's reactions, in the form of ``storage.reactions.tallies``."""
    rows = connection.execute(
        sa.select(_REACTIONS)
        .where(_REACTIONS.c.message_id == message, sa.not_(_REACTIONS.c.removed))
        .order_by(_REACTIONS.c.at_ms, _REACTIONS.c.id)
    )
    by: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        by[row.key].append(f"agent:{row.author_id}" if row.author_kind == "agent" else row.author_id)
    tallies = [(key, len(givers), givers[:_NAMED]) for key, givers in by.items()]
    connection.execute(
        _MESSAGES.update().where(_MESSAGES.c.id == message).values(reactions=orjson.dumps(tallies).decode())
    )
