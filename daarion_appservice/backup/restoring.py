"""Restores a backup into an empty place, or in place of the present database.

archive ── checksums, revision ──► configuration (if there is none) ──► database ── migrated ──► sequence numbers raised

The restored state is older than the homeserver's. The service reads from the homeserver what happened since, as after any
absence. Clients of the city know later sequence numbers than the restored ones; the numbers of every room continue so far
above that each client loads the room again.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from .. import private_file
from ..config import loading as config_file
from ..config.settings import Settings
from ..errors import DatabaseError, ExitCode, StartError
from ..matrix.encryption.stored_keys import StoredKeys, examine_stored_keys
from ..storage import migrate
from ..storage.database import Database
from ..storage.database_url import cannot_use
from ..storage.leader_lock import is_led
from ..storage.sqlite_file import ServiceLock, linked_file
from . import archive, postgres_programs, sqlite_copy
from .archive import DatabaseKind, Manifest

_SKIPPED_NUMBERS: Final = 1_000_000
"""How far the sequence numbers of a room are raised: more than a room counts between a backup and its restore."""
_MAX_LINKS: Final = 40
"""The maximum number of symbolic links that lead to the database, as in Linux."""
_REVISIONS: Final = "alembic_version"


@dataclass(frozen=True, slots=True)
class RestoredBackup:
    """A restored backup.

    Attributes:
        manifest: the content of the archive.
        database: the URL of the database, without password.
        revision: the revision of the database after its migration.
        written: files that did not exist and were written.
        kept: files that existed and were not replaced.
        aside: where the former SQLite database is now; None if there was none.
        keys: whether the configured pickle key reads the restored encryption keys.
    """

    manifest: Manifest
    database: str
    revision: str
    written: list[Path]
    kept: list[Path]
    aside: Path | None
    keys: StoredKeys


@dataclass(slots=True)
class _Files:
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def restore_backup(path: Path, config: Path, *, force: bool = False) -> RestoredBackup:
    """Restore a backup into the database that the configuration names, and migrate it.

    Args:
        path: the archive.
        config: the configuration file. If it does not exist, it is written from the archive, the registration too.
        force: whether to replace a database that has tables. A SQLite file is renamed, tables of PostgreSQL are dropped.

    Raises:
        StartError: the archive is damaged, from a newer version, or of another kind of database; the service runs; or
            the database is not empty. The database is unchanged.
    """
    _check_directory(config.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=".daarion-restore-", dir=_scratch_directory(config)) as directory:
        manifest, files = archive.extract(path, Path(directory))
        migrate.check_known(manifest.revision)
        with _files(config, files) as (settings, placed):
            copy = files[manifest.kind]
            aside, keys = asyncio.run(_restore(settings, manifest, copy, force=force))
    database = Database(settings.database.url)
    return RestoredBackup(manifest, database.described, migrate.head(), placed.written, placed.kept, aside, keys)


def _check_directory(directory: Path) -> None:
    """Raise StartError if there is no such directory, or if this user may not search it."""
    try:
        if directory.is_dir():
            return
    except OSError as error:
        raise StartError(
            f"{directory} cannot be read: {error.strerror}",
            f"Check that it is a directory which the user id {os.geteuid()} may read.",
            ExitCode.FAILED,
        ) from None
    raise StartError(f"There is no directory {directory}.", f"Make it: mkdir -p {directory}", ExitCode.FAILED)


def _scratch_directory(config: Path) -> Path | None:
    """Return the directory of the configuration: /tmp is in memory on many machines. None if it is not writable."""
    parent = config.absolute().parent
    return parent if os.access(parent, os.W_OK | os.X_OK) else None


@contextmanager
def _files(config: Path, files: dict[str, Path]) -> Iterator[tuple[Settings, _Files]]:
    """Write the configuration and registration that do not exist; remove them again if the restore fails."""
    placed = _Files()
    try:
        _place(files.get(archive.CONFIG), config, placed)
        settings = _settings(config)
        _place(files.get(archive.REGISTRATION), settings.appservice.registration, placed)
        yield settings, placed
    except BaseException:
        for path in placed.written:
            path.unlink(missing_ok=True)
        raise


def _settings(config: Path) -> Settings:
    if not config.exists():
        raise StartError(
            f"The backup contains no configuration, and there is no {config}.",
            "Put the configuration there first: it names the database.",
            ExitCode.CONFIG,
        )
    return config_file.load(config)


def _place(source: Path | None, target: Path, placed: _Files) -> None:
    if source is None:
        return
    if target.exists():
        placed.kept.append(target)
        return
    private_file.create(target, source.read_text("utf-8"), ExitCode.FAILED)
    _give_to_owner_of_directory(target)
    placed.written.append(target)


def _give_to_owner_of_directory(path: Path) -> None:
    """Let the service's user own what root restores into the service's directory."""
    if os.geteuid() == 0:
        owner = path.absolute().parent.stat()
        with suppress(OSError):
            os.chown(path, owner.st_uid, owner.st_gid)


async def _restore(
    settings: Settings, manifest: Manifest, copy: Path, *, force: bool
) -> tuple[Path | None, StoredKeys]:
    database = Database(settings.database.url)
    try:
        if database.is_sqlite != (manifest.kind is DatabaseKind.SQLITE):
            raise StartError(
                f"The backup is of {manifest.kind.product}, and database.url names {database.described}.",
                f"Name a database of {manifest.kind.product} in database.url.",
                ExitCode.CONFIG,
            )
        if database.is_sqlite:
            return await _restore_sqlite(database, settings, copy, force=force)
        return None, await _restore_postgres(database, settings, copy, force=force)
    finally:
        await database.close()


async def _restore_sqlite(
    database: Database, settings: Settings, copy: Path, *, force: bool
) -> tuple[Path | None, StoredKeys]:
    target = database.file
    if target is None:
        raise StartError("database.url names no file.", "Name one: sqlite:///daarion.db", ExitCode.CONFIG)
    # Of a symbolic link, the file that it names is replaced.
    link, target = target, linked_file(target)
    if not target.parent.is_dir():
        raise StartError(f"There is no directory {target.parent}.", "Make it first.", ExitCode.DATABASE)
    _check_links(link)
    fresh = target.with_name(f".{target.name}.restored")
    lock = ServiceLock(target)
    lock.acquire()
    try:
        has_tables = sqlite_copy.has_tables(target)
        if has_tables and not force:
            raise _not_empty(database)
        sqlite_copy.check(copy)
        # Migrated beside its place: a crash leaves the former database or the complete new one.
        fresh.unlink(missing_ok=True)
        sqlite_copy.copy(copy, fresh)
        fresh.chmod(private_file.OWNER_ONLY)
        keys = await _bring_up_to_date(f"sqlite:///{fresh.absolute()}", settings)
        aside = target.with_name(f"{target.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        sqlite_copy.put_in_place(fresh, target, aside)
        for path in (target, target.with_name(f"{target.name}.lock")):
            _give_to_owner_of_directory(path)
        return (aside if has_tables else None), keys
    finally:
        fresh.unlink(missing_ok=True)
        lock.release()


def _check_links(file: Path) -> None:
    """Refuse a symbolic link by which another user would have this user, often root, write into the directory of another user.

    Raises:
        StartError: the owner of a link is neither this user nor root, and does not own the directory to which it leads; or
            the links form a loop.
    """
    for _ in range(_MAX_LINKS):
        if not file.is_symlink():
            return
        led = file.parent / file.readlink()
        owner = file.lstat().st_uid
        if owner not in {0, os.geteuid(), led.parent.stat().st_uid}:
            raise StartError(
                f"{file} is a symbolic link of another user to {led}.",
                "Check where it leads, and name that file in database.url.",
                ExitCode.DATABASE,
            )
        file = led
    raise StartError(f"{file} is a symbolic link that leads to itself.", "Remove it.", ExitCode.DATABASE)


async def _restore_postgres(database: Database, settings: Settings, copy: Path, *, force: bool) -> StoredKeys:
    await database.check()
    async with database.read_only() as tx:
        if await is_led(tx.connection):
            raise StartError(f"A daarion-appservice runs on {database.described}.", "End it first.", ExitCode.DATABASE)
        tables = await tx.connection.run_sync(_table_names)
    if tables and _REVISIONS not in tables:
        raise StartError(
            f"The database {database.described} has tables of another program.",
            "Name a database of the city's own in database.url.",
            ExitCode.DATABASE,
        )
    if tables and not force:
        raise _not_empty(database)
    # Not in a thread: the end of this command must end psql, and nothing else is to be done meanwhile.
    postgres_programs.restore(database.url, copy, drop=sorted(tables))
    return await _bring_up_to_date(settings.database.url, settings)


def _table_names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _not_empty(database: Database) -> StartError:
    return StartError(
        f"The database {database.described} is not empty.",
        "To replace what it holds, add --force. A backup of it first: `daarion-appservice backup`.",
        ExitCode.DATABASE,
    )


async def _bring_up_to_date(url: str, settings: Settings) -> StoredKeys:
    """Migrate a restored database, raise its sequence numbers, and examine its encryption keys."""
    database = Database(url)
    try:
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            await tx.rooms.skip_seqs(_SKIPPED_NUMBERS)
        return await examine_stored_keys(database, settings.encryption)
    except DatabaseError as error:
        raise cannot_use(database.url, error) from error
    finally:
        await database.close()
