"""Index the encrypted events that wait for their key by sender, whose number is limited."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0028"
branch_labels = None
depends_on = None

_INDEX = "ix_encryption_undecrypted_sender"


def upgrade() -> None:
    op.create_index(op.f(_INDEX), "encryption_undecrypted", ["sender"])


def downgrade() -> None:
    op.drop_index(op.f(_INDEX), table_name="encryption_undecrypted")
