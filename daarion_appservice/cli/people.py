"""The commands ``person …``: export what the city stores about a person, and erase it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ..city.identity import Identities
from ..city.people import Person, find_person
from ..clock import now_ms
from ..config import loading as config_file
from ..errors import ExitCode, NotFound, StartError
from ..private_file import OWNER_ONLY
from ..storage.database import Database
from ..storage.people.export import export_lines, has_data
from .context import with_migrated_database
from .terminal import DEFAULT_CONFIG, ConfigPath, note

app = typer.Typer(rich_markup_mode=None)

PersonId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A citizen's id, agent:<slug>, or a Matrix user id; of a linked person either id.",
    ),
]


@app.callback()
def _group() -> None:
    """Keep the group's commands as commands, also while there is only one."""


@app.command("export")
def export(
    person_id: PersonId,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A new file, which only its owner may read. [default: standard output]",
        ),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Print everything that the city stores about a person, as JSON objects, one a line."""
    settings = config_file.load(config)
    identities = Identities(settings.homeserver.domain, settings.appservice.bot)

    async def write(database: Database) -> int:
        person = await _person(database, identities, person_id)
        with _opened(output) as file:
            return await _write_lines(file, export_lines(database, person, now_ms=now_ms()))

    lines = with_migrated_database(config, write)
    if output is not None:
        note(f"Wrote {lines - 2} records to {output}.")


async def _person(database: Database, identities: Identities, person_id: str) -> Person:
    async with database.read_only() as tx:
        person = await find_person(tx.accounts, identities, person_id)
    if not await has_data(database, person):
        raise NotFound("no_such_person", f"the city has no data of {person_id}")
    return person


async def _write_lines(file: BinaryIO, lines: AsyncIterator[bytes]) -> int:
    count = 0
    async for line in lines:
        file.write(line)
        count += 1
    file.flush()
    return count


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except OSError as error:
        raise StartError(
            f"{path} cannot be created: {error.strerror}", "Name a new file in a writable directory.", ExitCode.FAILED
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        yield file
