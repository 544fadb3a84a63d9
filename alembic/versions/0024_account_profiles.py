"""Store the display names and avatars of linked Matrix accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("display_name", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("avatar_url", sa.Text(), nullable=True))
    # The profile that the account has in a room is the best known one until the next sign-in. A name from a room that not
    # everyone may read stays in that room.
    for column in ("display_name", "avatar_url"):
        op.execute(
            f"UPDATE accounts SET {column} = (SELECT members.{column} FROM members "  # noqa: S608 - constants
            "JOIN rooms ON rooms.id = members.room_id WHERE members.user_id = accounts.matrix_user_id "
            "AND rooms.history_visibility = 'world_readable' ORDER BY rooms.id LIMIT 1)"
        )


def downgrade() -> None:
    for column in ("avatar_url", "display_name"):
        op.drop_column("accounts", column)
