"""The archive of a backup: a compressed tar file with a manifest, readable by its owner only."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import ExitCode, StartError
from ..private_file import OWNER_ONLY

MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.yaml"
REGISTRATION: Final = "registration.yaml"
_COMPRESSION: Final = 3
"""Level of gzip. Higher ones take twice the time for a few percent."""


class DatabaseKind(StrEnum):
    """The kind of database; the value is the name of its copy in the archive."""

    SQLITE = "database.sqlite3"
    POSTGRESQL = "database.pgdump"

    @property
    def product(self) -> str:
        return "SQLite" if self is DatabaseKind.SQLITE else "PostgreSQL"


class Manifest(BaseModel):
    """The content of an archive."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    kind: DatabaseKind
    revision: str
    """The revision of the database schema."""
    version: str
    """The version of the software that made the backup."""
    created_at: str
    """The time at which the backup began, in UTC."""
    domain: str
    """``homeserver.domain``."""
    environment: tuple[str, ...] = ()
    """Names of the environment variables whose settings are in no file of the archive."""
    sha256: dict[str, str]
    """The checksum of each other file."""


def write(target: Path, manifest: Manifest, files: Mapping[str, Path], scratch: Path) -> None:
    """Write an archive with mode 600. It has its name only when it is complete.

    Args:
        target: the archive, which does not exist.
        manifest: its content; the checksums are added.
        files: the files by their names in the archive.
        scratch: a directory on the disk of the target that other users cannot read: in a shared one like /tmp they
            could prepare a file or a link with the name of the incomplete archive, which contains every secret.

    Raises:
        StartError: the archive cannot be written.
    """
    content = manifest.model_copy(update={"sha256": {name: _checksum(path) for name, path in files.items()}})
    partial = scratch / "archive"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_COMPRESSION) as archive:
                encoded = content.model_dump_json(indent=2).encode()
                member = tarfile.TarInfo(MANIFEST)
                member.size, member.mode = len(encoded), OWNER_ONLY
                archive.addfile(member, io.BytesIO(encoded))
                for name, path in files.items():
                    archive.add(path, name, filter=_anonymous)
            os.fsync(file.fileno())
        _publish(partial, target)
    except OSError as error:
        raise StartError(
            f"{target} cannot be written: {error.strerror}",
            "Check that its directory exists, that this user may write to it, and that the disk has space.",
            ExitCode.FAILED,
        ) from error


def _publish(complete: Path, target: Path) -> None:
    """Give a file its name, unless a file with this name was made meanwhile."""
    try:
        target.hardlink_to(complete)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        complete.rename(target)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = OWNER_ONLY
    return member


def extract(path: Path, directory: Path) -> tuple[Manifest, dict[str, Path]]:
    """Extract an archive and verify its checksums.

    Args:
        path: the archive.
        directory: an empty directory that others cannot read.

    Returns:
        The manifest, and the other files by their names in the archive.

    Raises:
        StartError: the file is not a backup of this service, or is damaged.
    """
    try:
        with tarfile.open(path, mode="r:*") as archive:
            manifest = Manifest.model_validate_json(_read(archive, MANIFEST))
            # Only these names are read, so that no member of a foreign archive is written elsewhere.
            names = [name for name in (manifest.kind, CONFIG, REGISTRATION) if name in manifest.sha256]
            files = {str(name): _extract(archive, name, directory) for name in names}
    except ValidationError:
        raise _unusable(path, "has a manifest that this version does not know") from None
    except (tarfile.TarError, EOFError, KeyError, zlib.error) as error:
        # tarfile's message has one line for each compression format that it tried; the first one is enough.
        reason = str(error).partition("\n")[0].rstrip(":")
        raise _unusable(path, f"is not a complete backup ({reason})") from error
    except OSError as error:
        raise StartError(
            f"{path} cannot be read: {error.strerror or error}", "Check the name and the disk.", ExitCode.FAILED
        ) from error
    for name, file in files.items():
        if _checksum(file) != manifest.sha256[name]:
            raise _unusable(path, f"is damaged: {name} has another checksum")
    if manifest.kind not in files:
        raise _unusable(path, "has no database")
    return manifest, files


def _unusable(path: Path, reason: str) -> StartError:
    return StartError(
        f"{path} {reason}.", "Use another backup; `daarion-appservice backup` makes them.", ExitCode.FAILED
    )


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()


def _extract(archive: tarfile.TarFile, name: str, directory: Path) -> Path:
    member, target = archive.extractfile(name), directory / name
    if member is None:
        raise KeyError(name)
    with member, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as file:
        shutil.copyfileobj(member, file)
    return target


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
