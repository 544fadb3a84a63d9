"""Add `drawn_avatars`: the avatars that the service drew and uploaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drawn_avatars",
        sa.Column("mxc", sa.String(512), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("is_lost", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("mxc", name=op.f("pk_drawn_avatars")),
    )
    where = sa.text("NOT is_lost")
    op.create_index(
        "ix_drawn_avatars_current", "drawn_avatars", ["key"], unique=True, sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    # Without the table, the service removes the drawn avatars from the ghosts, which have an `avatar_source`.
    op.drop_index("ix_drawn_avatars_current", "drawn_avatars")
    op.drop_table("drawn_avatars")
