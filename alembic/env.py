"""Run by Alembic. The connection comes from ``daarion_appservice.storage.migrate``, inside its transaction."""

from __future__ import annotations

from alembic import context

from daarion_appservice.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
