"""Store the former contents of edited messages, for redactions of edits, and edits that arrive before their message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revisions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("formatted_body", sa.Text(), nullable=True),
        sa.Column("msgtype", sa.String(length=64), nullable=False),
        sa.Column("media", sa.Text(), nullable=True),
        sa.Column("mentions", sa.Text(), server_default="[]", nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("visibility", sa.String(length=16), server_default="world_readable", nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_revisions_message_id_messages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("event_id", name=op.f("uq_revisions_event_id")),
    )
    op.create_index(op.f("ix_revisions_message_id"), "revisions", ["message_id"])
    op.create_table(
        "early_edits",
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("original_event_id", sa.String(length=255), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_early_edits_room_id_rooms"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_early_edits")),
    )
    op.create_index(op.f("ix_early_edits_original_event_id"), "early_edits", ["original_event_id"])
    op.create_index(op.f("ix_early_edits_received_at_ms"), "early_edits", ["received_at_ms"])


def downgrade() -> None:
    op.drop_table("early_edits")
    op.drop_table("revisions")
