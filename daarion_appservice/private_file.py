"""Reads and writes files with secrets: with mode 600, and replaced atomically."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ExitCode, StartError

OWNER_ONLY = 0o600


def create(path: Path, text: str, exit_code: ExitCode) -> None:
    """Write a new file with mode 600.

    Args:
        path: the file, which must not exist.
        text: its content.
        exit_code: the exit code of the StartError.

    Raises:
        StartError: the file exists or cannot be written.
    """
    with _translated_errors(path, exit_code):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())


def replace(path: Path, text: str, exit_code: ExitCode, *, remove_mode: int = 0) -> None:
    """Replace an existing file atomically: a crash leaves either the old content or the new one. The owner does not change.

    Args:
        path: the file, or a symbolic link to it.
        text: the new content.
        exit_code: the exit code of the StartError.
        remove_mode: the mode bits to remove from the file's mode.

    Raises:
        StartError: the file does not exist or cannot be written.
    """
    with _translated_errors(path, exit_code):
        target = path.resolve()  # a symbolic link is not replaced itself
        before = target.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                # Only root may change the owner. Otherwise the owner becomes the user of this process, who may write here.
                with suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode) & ~remove_mode)
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def read(path: Path, missing: StartError) -> bytes:
    """Return the content of a file.

    Raises:
        StartError: ``missing`` itself if the file does not exist, another one if it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise missing from None
    except OSError as error:
        raise StartError(
            f"{path} cannot be read: {error.strerror}",
            f"Check that it is a file which the user id {os.geteuid()} may read.",
            missing.exit_code,
        ) from None


def exists(path: Path) -> bool:
    """Return whether a file exists; False if its directory may not be searched."""
    try:
        return path.exists()
    except PermissionError:
        return False


def is_world_readable(path: Path) -> bool:
    """Return whether every user of the machine may read a file. Its group may: so one file can serve two services."""
    return bool(path.stat().st_mode & stat.S_IROTH)


@contextmanager
def _translated_errors(path: Path, exit_code: ExitCode) -> Iterator[None]:
    """Translate the OSError of a write into a StartError with an advice."""
    try:
        yield
    except FileExistsError:
        raise StartError(f"{path} exists already", "Choose another name, or move it away first.", exit_code) from None
    except FileNotFoundError:
        raise StartError(
            f"{path} cannot be written: there is no directory {path.parent}",
            f"Make it first: mkdir -p {path.parent}",
            exit_code,
        ) from None
    except PermissionError:
        raise StartError(
            f"{path} cannot be written: the directory {path.parent} is not writable for the user id {os.geteuid()}",
            "Run this as a user with write access, or grant access with chown or chmod.",
            exit_code,
        ) from None
    except OSError as error:
        raise StartError(
            f"{path} cannot be written: {error.strerror}", "Check the path, the disk and its mount.", exit_code
        ) from None
