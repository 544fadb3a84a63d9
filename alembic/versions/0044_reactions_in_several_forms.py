"""Allow several reactions of one person with the same key: Matrix has one event for each form of an emoji."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_INDEX = "ix_reactions_active"
_COLUMNS = ["message_id", "author_kind", "author_id", "key"]
_IS_ACTIVE = sa.text("NOT removed")


def upgrade() -> None:
    _replace_index(unique=False)


def downgrade() -> None:
    op.execute(
        sa.text(
            "DELETE FROM reactions WHERE NOT removed AND EXISTS (SELECT 1 FROM reactions AS other WHERE NOT other.removed"
            " AND other.message_id = reactions.message_id AND other.author_kind = reactions.author_kind"
            " AND other.author_id = reactions.author_id AND other.key = reactions.key AND other.id < reactions.id)"
        )
    )
    _replace_index(unique=True)


def _replace_index(*, unique: bool) -> None:
    op.drop_index(_INDEX, "reactions")
    op.create_index(_INDEX, "reactions", _COLUMNS, unique=unique, sqlite_where=_IS_ACTIVE, postgresql_where=_IS_ACTIVE)
