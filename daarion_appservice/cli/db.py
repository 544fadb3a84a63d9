"""The commands ``db …``: migrations of the database."""

from __future__ import annotations

import typer

from ..storage import migrate
from .context import with_database
from .terminal import DEFAULT_CONFIG, ConfigPath, print_line

app = typer.Typer(rich_markup_mode=None)


@app.command("upgrade")
def upgrade(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Bring the database to what this version expects; `run` does so by itself."""
    before, now = with_database(config, migrate.upgrade)
    print_line(
        f"The database is at {now}." if before == now else f"The database went from {before or 'nothing'} to {now}.",
        "green",
    )


@app.command("current")
def current(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show the database's revision, and the one that this version expects."""
    found = with_database(config, migrate.current)
    print_line(f"The database is at {found or 'nothing'}; this version expects {migrate.head()}.")
