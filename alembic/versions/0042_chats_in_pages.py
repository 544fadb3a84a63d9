"""List the files of direct chats that Matrix users opened, for those who read the chats in the pages."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_PORTION = 1000


def upgrade() -> None:
    connection = op.get_bind()
    last = ""
    while rows := connection.execute(_FILES, {"last": last, "limit": _PORTION}).all():
        last = rows[-1].id
        shown = [{"mxc": mxc, "message_id": row.id} for row in rows for mxc in _addresses(row.media)]
        if shown:
            connection.execute(_ADD, shown)


def downgrade() -> None:
    op.get_bind().execute(
        sa.text(
            "DELETE FROM media_shown WHERE message_id IN (SELECT messages.id FROM messages"
            " JOIN rooms ON rooms.id = messages.room_id WHERE rooms.agent IS NOT NULL)"
        )
    )


_FILES = sa.text(
    "SELECT messages.id, messages.media FROM messages JOIN rooms ON rooms.id = messages.room_id"
    " WHERE rooms.agent IS NOT NULL AND messages.media IS NOT NULL AND messages.id > :last"
    " ORDER BY messages.id LIMIT :limit"
)
_ADD = sa.text("INSERT INTO media_shown (mxc, message_id) VALUES (:mxc, :message_id) ON CONFLICT DO NOTHING")


def _addresses(media: str) -> list[str]:
    """Return the addresses of a file in clear and of its thumbnail."""
    stored = json.loads(media)
    found = [] if stored.get("encrypted_file") else [stored.get("mxc"), stored.get("thumbnail_mxc")]
    return [mxc for mxc in dict.fromkeys(found) if mxc]
