"""Store the nonces and OpenID tokens that were used to sign in: each is accepted once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sign_in_uses",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_in_uses")),
    )
    op.create_index(op.f("ix_sign_in_uses_until_ms"), "sign_in_uses", ["until_ms"])


def downgrade() -> None:
    op.drop_table("sign_in_uses")
