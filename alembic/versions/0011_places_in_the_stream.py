"""Which events' places in the homeserver's stream are known."""

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
        sqlite_where=sa.text("NOT swept"),
        postgresql_where=sa.text("NOT swept"),
    )


def downgrade() -> None:
    op.drop_index("ix_inbox_unswept", "inbox")
    op.drop_column("inbox", "swept")
