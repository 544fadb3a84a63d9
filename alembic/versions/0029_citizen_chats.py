"""Store private rooms of two citizens, and whom citizens block."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("is_direct", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "citizen_chats",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("first", sa.String(length=255), nullable=False),
        sa.Column("second", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_citizen_chats_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("room_id", name=op.f("pk_citizen_chats")),
        sa.UniqueConstraint("first", "second", name=op.f("uq_citizen_chats_first_second")),
    )
    op.create_index(op.f("ix_citizen_chats_second"), "citizen_chats", ["second"])
    op.create_table(
        "citizen_blocks",
        sa.Column("citizen_id", sa.String(length=255), nullable=False),
        sa.Column("blocked", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("citizen_id", "blocked", name=op.f("pk_citizen_blocks")),
    )


def downgrade() -> None:
    op.drop_table("citizen_blocks")
    op.drop_table("citizen_chats")
    op.drop_column("rooms", "is_direct")
