"""Copies SQLite databases by SQLite's online backup API, and restores the copies."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from ..errors import ExitCode, StartError

_COMPANIONS: Final = ("-wal", "-shm")
"""Suffixes of the files that SQLite keeps beside a database."""


def copy(source: Path, target: Path) -> None:
    """Copy a database that others write to: every transaction that was committed before, and no part of a later one.

    Raises:
        StartError: the source cannot be read, or the disk is full.
    """
    try:
        with closing(_read_only(source)) as original, closing(sqlite3.connect(target)) as copied:
            # All pages in one step: SQLite would begin again after each write of another process.
            original.backup(copied, pages=-1)
            copied.execute("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log beside it
    except sqlite3.Error as error:
        raise StartError(
            f"{source} cannot be copied: {error}",
            "Check that this user may read it, and that the disk of the backup has space.",
            ExitCode.DATABASE,
        ) from error


def check(file: Path) -> None:
    """Check the integrity of a database.

    Raises:
        StartError: SQLite finds errors in the file.
    """
    try:
        with closing(sqlite3.connect(file)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise StartError(
            f"The copy of the database is damaged: {found}", "Restore an earlier backup.", ExitCode.DATABASE
        )


def has_tables(file: Path) -> bool:
    """Return whether a file exists and is anything but an empty database; a damaged one counts."""
    if not file.exists() or not file.stat().st_size:
        return False
    try:
        with closing(_read_only(file)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return True
    return bool(count)


def put_in_place(fresh: Path, target: Path, aside: Path) -> None:
    """Replace ``target`` by ``fresh``, and keep it as ``aside``. A crash leaves the former database or the new one.

    Without a file at ``target`` the next start of the service would make an empty database, and a write-ahead log of
    the former database would be applied to the new one.
    """
    if target.exists():
        _write_log_into(target)
        with suppress(OSError):  # a file system without hard links
            aside.hardlink_to(target)
        for suffix in _COMPANIONS:
            left = target.with_name(target.name + suffix)
            if left.exists():
                left.rename(aside.with_name(aside.name + suffix))
        if not aside.exists():
            target.rename(aside)
    fresh.replace(target)


def _write_log_into(file: Path) -> None:
    """Write a write-ahead log into its database and remove it; leave both as they are if the database is damaged."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
