"""Starts a real Synapse for tests, from a database that is prepared once in a test run."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.synapse_config import SynapseSetup
from tests.parts import shared_files
from tests.parts.ports import free_port

SERVER_NAME = "city.localhost"

CHEAP_PASSWORDS: Final = {"bcrypt_rounds": 4}
"""Synapse's default is 12 rounds: 0.25 s of a processor for each registration and each sign-in with a password."""


class BootSynapse(Protocol):
    """The type of the fixture ``synapse``: boots one more homeserver, stopped when the test ends."""

    async def __call__(
        self,
        *,
        registration: Path | None = None,
        server_name: str = SERVER_NAME,
        port: int | None = None,
        overrides: Mapping[str, object] | None = None,
        log_level: str = "WARNING",
        files: Path | None = None,
    ) -> LocalSynapse: ...


async def boot(
    directory: Path,
    *,
    registration: Path | None = None,
    server_name: str = SERVER_NAME,
    port: int | None = None,
    overrides: Mapping[str, object] | None = None,
    log_level: str = "WARNING",
    files: Path | None = None,
) -> LocalSynapse:
    """Boot a homeserver whose files are in ``directory``, at first a copy of ``files``; the caller stops it."""
    if files is not None:
        shutil.copytree(files, directory)
    setup = SynapseSetup(
        directory=directory,
        server_name=server_name,
        port=port or free_port(),
        registrations=[registration] if registration else [],
        overrides=CHEAP_PASSWORDS | dict(overrides or {}),
        log_level=log_level,
    )
    database = directory / "homeserver.db"
    if not database.exists():
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(await _empty_database(), database)
    synapse = LocalSynapse(setup)
    await synapse.start()
    return synapse


async def _empty_database() -> Path:
    """Return the database of an unused Synapse; made once in a test run.

    To make one takes Synapse half a second of a processor at its start, and a minute of small steps behind what is tested.
    """
    return await shared_files.made_once("synapse", _make_empty_database) / "homeserver.db"


async def _make_empty_database(directory: Path) -> None:
    at_once = {"background_updates": {"sleep_enabled": False}}
    async with LocalSynapse(SynapseSetup(directory, SERVER_NAME, free_port(), overrides=at_once)):
        while _steps_left(directory / "homeserver.db"):
            await asyncio.sleep(0.05)


def _steps_left(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM background_updates").fetchone()
    return int(count)
