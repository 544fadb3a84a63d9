"""Migrates a database to the revision that this software expects, under a lock and never backwards."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from ..errors import DatabaseError, ExitCode, StartError
from .database import Database
from .database_url import cannot_use

_LOCK = 0x6461_6172
"""Key of PostgreSQL's advisory lock for migrations ("daar")."""


def migrations_directory() -> Path:
    """Return the directory of the migrations: inside the installed package, or at the top of the source tree."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "migrations", package.parent / "alembic"):
        if (candidate / "env.py").is_file():
            return candidate
    raise StartError(
        "The database migrations are missing from this installation.",
        "Install daarion-appservice again.",
        ExitCode.DATABASE,
    )


def head() -> str:
    """Return the revision that this software expects."""
    revision = _scripts().get_current_head()
    assert revision is not None
    return revision


@cache
def _scripts() -> ScriptDirectory:
    # Alembic executes every migration script to learn the order of revisions: once for each process.
    return ScriptDirectory.from_config(_config())


async def upgrade(database: Database, to: str = "head") -> tuple[str | None, str]:
    """Migrate the database up to a revision, in one transaction.

    Args:
        to: an Alembic revision, by default the newest.

    Returns:
        The revision before (None: the database was empty), and the newest one that this software knows.

    Raises:
        StartError: a newer version wrote the database, or it cannot be used.
    """
    await database.check()
    try:
        async with database.transaction() as transaction:
            if not database.is_sqlite:
                # A second process waits here and then finds nothing to migrate. SQLite's write lock does the same.
                await transaction.connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            return await transaction.connection.run_sync(_upgrade, to)
    except DatabaseError as error:
        raise cannot_use(database.url, error) from error


async def current(database: Database) -> str | None:
    """Return the database's revision; None for an empty one."""
    try:
        async with database.read_only() as transaction:
            return await transaction.connection.run_sync(_revision)
    except DatabaseError as error:
        raise cannot_use(database.url, error) from error


def check_known(revision: str | None) -> None:
    """Raise StartError if a database has a revision that this software does not know."""
    if revision is not None and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise StartError(
            f"The database was written by a newer daarion-appservice: its revision is {revision}, "
            f"the newest that this one knows is {head()}.",
            "Install the newer version again, or restore the backup that was made before the upgrade.",
            ExitCode.DATABASE,
        )


def _upgrade(connection: Connection, to: str) -> tuple[str | None, str]:
    before = _revision(connection)
    if before == head() and to == "head":
        return before, before
    check_known(before)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
    return before, head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
