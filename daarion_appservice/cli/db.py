"""The commands ``db …``: migrations of the database."""

from __future__ import annotations

import typer

from ..storage import migrate
from .context import with_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line

app = typer.Typer(rich_markup_mode=None)


@app.command("upgrade")
def upgrade(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Migrate the database to the revision that this version expects. `run` does the same at its start."""
    before, now = with_database(config, migrate.upgrade)
    print_line(
        f"The database is at revision {now}."
        if before == now
        else f"Migrated the database from revision {before or '(empty)'} to {now}.",
        "green",
    )


@app.command("current")
def current(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show the revision of the database and the one that this version expects."""
    found = with_database(config, migrate.current)
    if as_json:
        print_json({"revision": found, "expected": migrate.head()})
        return
    print_line(f"The database is at revision {found or '(empty)'}; this version expects {migrate.head()}.")
