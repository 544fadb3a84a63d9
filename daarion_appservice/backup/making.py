"""Makes a backup of the database, the configuration and the registration, while the service runs or not."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .. import __version__
from ..config import environment
from ..config import loading as config_file
from ..errors import ExitCode, StartError
from ..storage import migrate
from ..storage.database import Database
from ..storage.sqlite_file import check_exists
from . import archive, postgres_programs, sqlite_copy
from .archive import DatabaseKind, Manifest

_PICKLE_KEY: Final = ("encryption", "pickle_key")


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """A new archive.

    Attributes:
        path: its file.
        manifest: its content.
        missing_secrets: environment variables with settings that the archive does not contain.
        has_pickle_key: whether a restore needs no other copy of ``encryption.pickle_key``.
    """

    path: Path
    manifest: Manifest
    missing_secrets: tuple[str, ...]
    has_pickle_key: bool

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def default_name(now: datetime) -> str:
    """Return the file name of a backup that begins at ``now``."""
    return f"daarion-{now:%Y%m%dT%H%M%SZ}.tar.gz"


def make_backup(
    config: Path, target: Path, *, with_secrets: bool = True, environ: Mapping[str, str] = os.environ
) -> MadeBackup:
    """Make a backup.

    Args:
        config: the configuration file.
        target: the archive to write, or an existing directory for an archive whose name is the time.
        with_secrets: whether the archive contains the configuration and the registration.
        environ: the environment, which may overlay the configuration.

    Raises:
        StartError: the database cannot be read, or the archive cannot be written.
    """
    settings = config_file.load(config, environ)
    now = datetime.now(UTC)
    path = _new_file(target, now)
    variables = environment.read(environ, config).variables
    with tempfile.TemporaryDirectory(prefix=".daarion-backup-", dir=_writable(path.parent)) as directory:
        kind, revision = asyncio.run(_identify(settings.database.url, config))
        files = {str(kind): _copy(Database(settings.database.url), Path(directory) / kind)}
        if with_secrets:
            files[archive.CONFIG] = config
            if settings.appservice.registration.is_file():
                files[archive.REGISTRATION] = settings.appservice.registration
        manifest = Manifest(
            kind=kind,
            revision=revision,
            version=__version__,
            created_at=now.isoformat(timespec="seconds"),
            domain=settings.homeserver.domain,
            environment=tuple(sorted(variables.values())),
            sha256={},
        )
        archive.write(path, manifest, files, Path(directory))
    has_pickle_key = not settings.encryption.is_on or (with_secrets and _PICKLE_KEY not in variables)
    return MadeBackup(path, manifest, manifest.environment, has_pickle_key)


def _new_file(target: Path, now: datetime) -> Path:
    """Return the archive to write for an argument of ``backup``."""
    try:
        path = target / default_name(now) if target.is_dir() else target
        if path.exists():
            raise StartError(f"{path} exists already", "Choose another name.", ExitCode.FAILED)
        if not path.parent.is_dir():
            raise StartError(
                f"There is no directory {path.parent}.", f"Make it: mkdir -p {path.parent}", ExitCode.FAILED
            )
    except OSError as error:  # a directory above it may not be searched, or the name is too long
        raise StartError(
            f"{target} cannot be written: {error.strerror}",
            "Name another directory, or run this as a user with write access.",
            ExitCode.FAILED,
        ) from None
    return path


def _writable(directory: Path) -> Path:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StartError(
            f"The directory {directory} is not writable for the user id {os.geteuid()}.",
            "Name another directory, or run this as a user with write access.",
            ExitCode.FAILED,
        )
    return directory


async def _identify(url: str, config: Path) -> tuple[DatabaseKind, str]:
    """Return the kind of a database and its revision."""
    database = Database(url)
    try:
        if database.is_sqlite and database.file is None:
            raise StartError("A database in memory has no backup.", "Name a file in database.url.", ExitCode.DATABASE)
        check_exists(database.file, config)
        revision = await migrate.current(database)
    finally:
        await database.close()
    if revision is None:
        raise StartError(
            f"The database {database.described} has no tables.",
            "There is nothing to back up before the first start of the service. Is database.url right?",
            ExitCode.DATABASE,
        )
    return (DatabaseKind.SQLITE if database.is_sqlite else DatabaseKind.POSTGRESQL), revision


def _copy(database: Database, target: Path) -> Path:
    if database.file is None:
        postgres_programs.dump(database.url, target)
    else:
        sqlite_copy.copy(database.file, target)
        sqlite_copy.check(target)
    return target
