"""The commands ``db …``: migrations of the database."""

from __future__ import annotations

from pathlib import Path

import typer

from ..config import loading as config_file
from ..storage import migrate
from ..storage.database_url import driver_url, sqlite_path
from ..storage.sqlite_file import check_exists
from .context import with_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, report

app = typer.Typer(rich_markup_mode=None)


@app.command("upgrade")
def upgrade(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Migrate the database to the revision that this version expects. `run` does the same at its start.

    A missing SQLite file is made.
    """
    file, is_new = _sqlite_file(config)
    before, now = with_database(config, migrate.upgrade)
    report(
        as_json,
        {"revision": now, "before": before, "created": str(file) if is_new else None},
        f"Made the database {file} at revision {now}." if is_new else _migrated(before, now),
    )


def _migrated(before: str | None, now: str) -> str:
    if before == now:
        return f"The database is at revision {now}."
    return f"Migrated the database from revision {before or '(empty)'} to {now}."


def _sqlite_file(config: Path) -> tuple[Path | None, bool]:
    """Return the file of a SQLite database, and whether it is missing."""
    file = sqlite_path(driver_url(config_file.load(config).database.url))
    return file, file is not None and not file.exists()


@app.command("current")
def current(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show the revision of the database and the one that this version expects."""
    check_exists(_sqlite_file(config)[0], config)
    found = with_database(config, migrate.current)
    if as_json:
        print_json({"revision": found, "expected": migrate.head()})
        return
    print_line(f"The database is at revision {found or '(empty)'}; this version expects {migrate.head()}.")
