"""Store the chats of the bot, and the commands that it has yet to answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bot_chats",
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("inviter", sa.String(length=255), nullable=False),
        sa.Column("is_checked", sa.Boolean(), nullable=False),
        sa.Column("is_group", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("matrix_room_id", name=op.f("pk_bot_chats")),
    )
    op.create_index(op.f("ix_bot_chats_inviter"), "bot_chats", ["inviter"])
    op.create_table(
        "bot_requests",
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("sender", sa.String(length=255), nullable=False),
        sa.Column("command", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("retry_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_bot_requests")),
    )
    for column in ("matrix_room_id", "sender", "is_done"):
        op.create_index(op.f(f"ix_bot_requests_{column}"), "bot_requests", [column])


def downgrade() -> None:
    op.drop_table("bot_requests")
    op.drop_table("bot_chats")
