"""Add `messages.delivery_error`; mark pending messages without an outbox row as failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("delivery_error", sa.String(32)))
    # A message that was deleted before it was sent lost its row in the outbox and stayed pending.
    op.execute(
        "UPDATE messages SET delivery = 'failed', delivery_error = CASE WHEN deleted THEN 'deleted' ELSE 'refused' END "
        "WHERE delivery = 'pending' AND matrix_event_id IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM outbox WHERE outbox.message_id = messages.id AND outbox.kind = 'message')"
    )


def downgrade() -> None:
    op.drop_column("messages", "delivery_error")
