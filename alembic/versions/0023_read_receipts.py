"""Store the read receipts of rooms and threads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "read_receipts",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("thread_root", sa.String(length=26), nullable=False),
        sa.Column("reader", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_read_receipts_message_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_read_receipts_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("room_id", "thread_root", "reader", name=op.f("pk_read_receipts")),
    )
    op.create_index(op.f("ix_read_receipts_message_id"), "read_receipts", ["message_id"])


def downgrade() -> None:
    op.drop_table("read_receipts")
