"""Add `inbox.swept`: whether the position of an event in the homeserver's stream is known; index what it is read by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("swept", sa.Boolean(), server_default=sa.false(), nullable=False))
    # What is there by now is older than all that the next look will see, or part of that.
    op.execute("UPDATE inbox SET swept = true")
    op.create_index(
        "ix_inbox_unswept",
        "inbox",
        ["matrix_room_id"],
        # SQLite uses a partial index only for the very term of the query, which SQLAlchemy writes `swept = 0` there.
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
