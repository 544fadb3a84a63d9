"""Store the invitations that are to be declined."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("inviter", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "matrix_room_id", name=op.f("pk_invitations")),
    )
    op.create_index(op.f("ix_invitations_due_at_ms"), "invitations", ["due_at_ms"])


def downgrade() -> None:
    op.drop_table("invitations")
