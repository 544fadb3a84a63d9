"""Store rooms that were removed, until the service has left their Matrix rooms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "removed_rooms",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "matrix_room_id", name=op.f("pk_removed_rooms")),
    )


def downgrade() -> None:
    op.drop_table("removed_rooms")
