"""Index the orders of the list of rooms, and the rooms that are not listed for all readers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_ORDERS = {
    "ix_rooms_by_popularity": "popularity DESC",
    "ix_rooms_by_last_event": "coalesce(last_event_ms, created_at_ms) DESC",
    "ix_rooms_by_name": "lower(name)",
}
_IN_LISTS_SQLITE = sa.text("archived = 0 AND agent IS NULL AND is_direct = 0")
_IN_LISTS_POSTGRESQL = sa.text("NOT archived AND agent IS NULL AND NOT is_direct")
_UNLISTED = "ix_rooms_unlisted"
_UNLISTED_ROOMS = sa.text(
    "agent IS NULL AND NOT (join_rule IN ('public', 'knock', 'knock_restricted') OR history_visibility = 'world_readable')"
)


def upgrade() -> None:
    for name, order in _ORDERS.items():
        op.create_index(
            name,
            "rooms",
            [sa.text(order), "slug"],
            sqlite_where=_IN_LISTS_SQLITE,
            postgresql_where=_IN_LISTS_POSTGRESQL,
        )
    op.create_index(_UNLISTED, "rooms", ["is_direct"], sqlite_where=_UNLISTED_ROOMS, postgresql_where=_UNLISTED_ROOMS)


def downgrade() -> None:
    for name in (*_ORDERS, _UNLISTED):
        op.drop_index(name, table_name="rooms")
