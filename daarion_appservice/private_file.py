"""Files that hold secrets: made for their owner's eyes only, and replaced whole or not at all."""

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
    """Writes a new file with mode 600. Raises StartError when it is there already or cannot be written."""
    with _explained(path, exit_code):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())


def replace(path: Path, text: str, exit_code: ExitCode, *, but: int = 0) -> None:
    """Puts ``text`` in the place of an existing file. A crash leaves the old one or the new one, never half of it.

    Its owner stays, and its mode without the permissions in ``but``.
    """
    with _explained(path, exit_code):
        target = path.resolve()  # a link stays a link
        before = target.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                # Only root may give a file away; without that the owner is whoever could write it before, too.
                with suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode) & ~but)
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def read(path: Path, missing: StartError) -> bytes:
    """What is in it. Raises ``missing`` when there is no such file, another StartError when it cannot be read."""
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
    """Whether we see it; in a directory that is closed to us there is nothing that we see."""
    try:
        return path.exists()
    except PermissionError:
        return False


def open_to_everybody(path: Path) -> bool:
    """Whether any user of this machine may read it. Its group may: that is how one file serves two services."""
    return bool(path.stat().st_mode & stat.S_IROTH)


@contextmanager
def _explained(path: Path, exit_code: ExitCode) -> Iterator[None]:
    """What the operating system refused to write, as a sentence with a way out."""
    try:
        yield
    except FileExistsError:
        raise StartError(f"{path} is there already", "Choose another name, or move it away first.", exit_code) from None
    except FileNotFoundError:
        raise StartError(
            f"{path} cannot be written: there is no directory {path.parent}",
            f"Make it first: mkdir -p {path.parent}",
            exit_code,
        ) from None
    except PermissionError:
        raise StartError(
            f"{path} cannot be written: the directory {path.parent} is not writable for the user id {os.geteuid()}",
            "Run this as another user, or let that one in with chown or chmod.",
            exit_code,
        ) from None
    except OSError as error:
        raise StartError(
            f"{path} cannot be written: {error.strerror}", "Check the path, the disk and its mount.", exit_code
        ) from None
