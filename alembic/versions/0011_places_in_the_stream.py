"""Add `inbox.swept`: whether the position of an event in the homeserver's stream is known; index events without one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("swept", sa.Boolean(), server_default=sa.false(), nullable=False))
    # Stored events are older than the events that the next sweep returns, or among them.
    op.execute("UPDATE inbox SET swept = true")
    op.create_index(
        "ix_inbox_unswept",
        "inbox",
        ["matrix_room_id"],
        # SQLite uses a partial index only if the query has the same term; SQLAlchemy renders it as `swept = 0`.
        sqlite_where=sa.text("swept = 0"),
        postgresql_where=sa.text("NOT swept"),
    )
    from_matrix = sa.text("author_kind = 'matrix'")
    op.create_index(
        "ix_messages_from_matrix",
        "messages",
        ["room_id", "seq"],
        sqlite_where=from_matrix,
        postgresql_where=from_matrix,
    )


def downgrade() -> None:
    op.drop_index("ix_messages_from_matrix", "messages")
    op.drop_index("ix_inbox_unswept", "inbox")
    op.drop_column("inbox", "swept")
