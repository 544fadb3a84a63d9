"""Files that are expensive to make: one worker of a test run makes them, and all workers read them."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_root = Path()


def use_directory(root: Path) -> None:
    """Keep the files in a directory that all workers of this test run have in common."""
    global _root  # noqa: PLW0603
    _root = root


async def made_once(name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
    """Return a directory with files that no test changes.

    Args:
        name: of the directory.
        make: fills an empty directory, which is moved afterwards; called by the first worker only.
    """
    directory = _root / name
    async with _locked(_root / f"{name}.lock"):
        if not directory.exists():
            unfinished = _root / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that failed
            unfinished.mkdir()
            await make(unfinished)
            unfinished.rename(directory)
    return directory


@asynccontextmanager
async def _locked(file: Path) -> AsyncIterator[None]:
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)
        yield
