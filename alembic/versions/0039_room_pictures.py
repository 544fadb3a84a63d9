"""Store the pictures of rooms that were chosen on Matrix or in the city."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

_INDEX = "ix_rooms_avatar_url"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("avatar_url", sa.Text()))
    op.create_index(_INDEX, "rooms", ["avatar_url"])


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="rooms")
    op.drop_column("rooms", "avatar_url")
