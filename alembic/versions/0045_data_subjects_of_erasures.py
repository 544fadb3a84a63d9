"""Rename a column to the term of `docs/glossary.md`: an erasure is of a data subject, which need not be a person."""

from __future__ import annotations

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE erasures RENAME COLUMN person TO data_subject")


def downgrade() -> None:
    op.execute("ALTER TABLE erasures RENAME COLUMN data_subject TO person")
