"""Store the name, picture and status text that citizens choose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0037"
branch_labels = None
depends_on = None

_COLUMNS = ("own_name", "avatar_url", "status_text", "profile_version")


def upgrade() -> None:
    op.add_column("citizens", sa.Column("own_name", sa.String(length=255), nullable=True))
    op.add_column("citizens", sa.Column("avatar_url", sa.Text(), nullable=True))
    op.add_column("citizens", sa.Column("status_text", sa.Text(), nullable=True))
    op.add_column("citizens", sa.Column("profile_version", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_citizens_profile_version"), "citizens", ["profile_version"])


def downgrade() -> None:
    op.drop_index(op.f("ix_citizens_profile_version"), "citizens")
    for column in _COLUMNS:
        op.drop_column("citizens", column)
