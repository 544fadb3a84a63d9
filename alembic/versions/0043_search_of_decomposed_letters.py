"""Index messages with combining characters again: their words were divided at these. The service does it when it runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

_COMBINING = "[\u0300-\u036f]"
_MATCHES = {"sqlite": ("GLOB", f"*{_COMBINING}*"), "postgresql": ("~", _COMBINING)}

_MESSAGES = sa.table("messages", sa.column("id"), sa.column("body"), sa.column("formatted_body"))
_ENTRIES = sa.table("search_entries", sa.column("message_id"))


def upgrade() -> None:
    connection = op.get_bind()
    operator, pattern = _MATCHES[connection.dialect.name]
    columns = _MESSAGES.c
    decomposed = sa.select(columns.id).where(
        sa.or_(*(each.bool_op(operator)(pattern) for each in (columns.body, columns.formatted_body)))
    )
    removed = connection.execute(sa.delete(_ENTRIES).where(_ENTRIES.c.message_id.in_(decomposed)))
    if removed.rowcount:
        connection.execute(sa.text("DELETE FROM key_values WHERE key = 'search_position'"))


def downgrade() -> None:
    pass
