"""Store erasures of persons, digests of the erased ids, and events that are to be redacted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("retry_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("plan", sa.Text(), server_default="{}", nullable=False),
        sa.Column("counts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("remains", sa.Text(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_state"), "erasures", ["state"])
    op.create_table(
        "erased_ids",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("erasure_id", sa.String(length=26), nullable=False),
        sa.Column("erased_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_erased_ids")),
    )
    op.create_index(op.f("ix_erased_ids_erasure_id"), "erased_ids", ["erasure_id"])
    op.create_table(
        "erasure_redactions",
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("erasure_id", sa.String(length=26), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("sender", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_erasure_redactions")),
    )
    op.create_index(op.f("ix_erasure_redactions_erasure_id_event_id"), "erasure_redactions", ["erasure_id", "event_id"])


def downgrade() -> None:
    op.drop_table("erasure_redactions")
    op.drop_table("erased_ids")
    op.drop_table("erasures")
