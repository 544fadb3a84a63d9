"""The file of a SQLite database: readable by its owner only, and served by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import ExitCode, StartError
from ..private_file import OWNER_ONLY

_OTHERS: Final = stat.S_IRWXO
_COMPANIONS: Final = ("-wal", "-shm")
"""Files that SQLite creates beside the database in WAL mode, with the mode of the database."""


def create_private(file: Path) -> None:
    """Create a missing file with mode 600. Failures are ignored, as SQLite then reports a better error."""
    # An existing file must not be opened here: closing it would drop all locks that SQLite has on it in this process
    # (POSIX), and the next process that closes its own connection would remove the write-ahead log while this one
    # writes to it.
    with suppress(OSError):
        os.close(os.open(linked_file(file), os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))


def make_private(file: Path) -> None:
    """Remove all permissions of other users from a database and its companions.

    The caller has opened the database: a path that is set by mistake may be that of a directory or of a file of another
    program, whose permissions must not change. The group keeps its permissions, as a backup job may depend on them. Failures are
    ignored.
    """
    file = linked_file(file)
    for each in (file, *(file.with_name(file.name + end) for end in _COMPANIONS)):
        with suppress(OSError):
            mode = each.stat().st_mode
            if stat.S_ISREG(mode) and mode & _OTHERS:
                each.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def check_exists(file: Path | None, config: Path) -> None:
    """Raise StartError if ``file`` is not None and does not exist; for commands that create no database.

    SQLite would create a new file, and a command would report success for a city without a service: the service's
    ``database.url`` may come from its unit's environment file, which a shell does not read.
    """
    if file is not None and not file.exists():
        raise StartError(
            f"There is no database {file}.",
            "If the service gets its settings from an environment file, name it: daarion-appservice --env-file FILE …. "
            f"If the city is new, make the database first: daarion-appservice db upgrade -c {config}",
            ExitCode.DATABASE,
        )


def linked_file(file: Path) -> Path:
    """Return the file to which symbolic links lead, also if it does not exist, or if the links form a loop."""
    return Path(os.path.realpath(file))  # Path.resolve() raises an error for a loop


class ServiceLock:
    """An advisory lock (flock) beside the file, held by the one service that uses it; it ends with the process.

    Two services on one file would each have their own presence and streams in memory, and both would talk to the
    homeserver. Commands do not take the lock.
    """

    def __init__(self, file: Path) -> None:
        # Beside the database itself, as services may open it by different symbolic links.
        self._database = linked_file(file)
        self._file = self._database.with_name(f"{self._database.name}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raise StartError if another process holds it."""
        if self._database.exists() and not self._database.is_file():
            return  # a directory or device by mistake: the database reports it, and no file of ours stays beside it
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
        except OSError:
            return  # the directory is not writable: the database reports that with a better error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StartError(
                f"Another daarion-appservice runs on {self._file.with_suffix('')}.",
                "End it first. SQLite serves one process: several need PostgreSQL (database.url) and Redis (redis.url).",
                ExitCode.DATABASE,
            ) from None
        except OSError:
            os.close(descriptor)  # a file system without locks
            return
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
