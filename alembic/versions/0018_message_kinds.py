"""Store polls with their votes, and what else a message has besides text and file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("details", sa.Text()))
    op.add_column("messages", sa.Column("poll_results", sa.Text()))
    op.add_column("revisions", sa.Column("details", sa.Text()))
    op.create_table(
        "poll_responses",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("message_id", sa.String(26), nullable=False),
        sa.Column("author_kind", sa.String(16), nullable=False),
        sa.Column("author_id", sa.String(255), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("author_avatar", sa.Text()),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("selections", sa.Text(), server_default="[]", nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("matrix_event_id", sa.String(255)),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_poll_responses_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_poll_responses")),
        sa.UniqueConstraint("matrix_event_id", name=op.f("uq_poll_responses_matrix_event_id")),
    )
    op.create_index(
        op.f("ix_poll_responses_message_id_author_kind_author_id"),
        "poll_responses",
        ["message_id", "author_kind", "author_id"],
    )


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE kind IN ('vote', 'end_poll')")
    op.drop_table("poll_responses")
    op.drop_column("revisions", "details")
    op.drop_column("messages", "poll_results")
    op.drop_column("messages", "details")
