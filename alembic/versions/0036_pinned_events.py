"""Store the pinned events of Matrix rooms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("pinned_events", sa.Text()))


def downgrade() -> None:
    op.drop_column("rooms", "pinned_events")
