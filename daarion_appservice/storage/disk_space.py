"""The free space of the file system that holds a SQLite database."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
LITTLE_BYTES: Final = 1024 * MIB
NONE_BYTES: Final = 64 * MIB
"""SQLite's write-ahead log alone may grow by this much before its next checkpoint."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The file system of a database file; ``free_bytes`` is None if the file's directory cannot be read."""

    directory: Path
    free_bytes: int | None
    is_writable: bool

    @classmethod
    def of(cls, file: Path) -> DiskSpace:
        directory = file.parent
        try:
            free: int | None = shutil.disk_usage(directory).free
        except OSError:
            free = None
        return cls(directory, free, os.access(directory, os.W_OK))

    @property
    def problem(self) -> str | None:
        """Why the database takes no writes; None if it does."""
        if self.free_bytes is None:
            return f"{self.directory} cannot be read"
        if not self.is_writable:
            return f"{self.directory} is not writable for this user"
        return self.described if self.free_bytes < NONE_BYTES else None

    @property
    def is_low(self) -> bool:
        """Whether the disk will soon be full."""
        return self.free_bytes is not None and self.free_bytes < LITTLE_BYTES

    @property
    def described(self) -> str:
        return f"{(self.free_bytes or 0) // MIB} MiB are free in {self.directory}"
