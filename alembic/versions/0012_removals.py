"""Add `room_events.removal`: who kicked or banned a member, and the reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("room_events", sa.Column("removal", sa.Text()))


def downgrade() -> None:
    op.drop_column("room_events", "removal")
