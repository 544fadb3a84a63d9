"""The commands ``person …``: export what the city stores about a person, and erase it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from ..city.data_subjects import DataSubject, find_data_subject
from ..city.identity import Identities
from ..clock import new_id, now_ms
from ..config import loading as config_file
from ..errors import ExitCode, NotFound, StartError
from ..private_file import OWNER_ONLY
from ..storage.database import Database
from ..storage.personal_data.erasures import StoredErasure
from ..storage.personal_data.export import count_rows, export_lines, has_data
from ..storage.personal_data.requests import request_erasure
from .context import with_migrated_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, confirm, note, print_json, report, show_table

_LISTED: Final = 100

app = typer.Typer(rich_markup_mode=None)

PersonId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A citizen's id, agent:<slug>, or a Matrix user id; of a linked person either id.",
    ),
]


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
    identities = _identities(config)

    async def write(database: Database) -> int:
        data_subject = await _data_subject(database, identities, person_id)
        with _opened(output) as file:
            return await _write_lines(file, export_lines(database, data_subject, now_ms=now_ms()))

    lines = with_migrated_database(config, write)
    if output is not None:
        note(f"Wrote {lines - 2} records to {output}.")


@app.command("erase")
def erase(
    person_id: PersonId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Erase everything that the city and the homeserver store about a person. It cannot be undone.

    The running service does it, or the service at its next start.
    """
    identities = _identities(config)

    async def count(database: Database) -> tuple[DataSubject, dict[str, int]]:
        data_subject = await _data_subject(database, identities, person_id)
        return data_subject, await count_rows(database, data_subject)

    data_subject, counts = with_migrated_database(config, count)
    if dry_run:
        _show_counts(counts, as_json=as_json)
        return
    names = ", ".join((*data_subject.subjects, *data_subject.ghosts))
    confirm(f"Erase {names}: {sum(counts.values())} rows, and their events on Matrix?", yes=yes)

    async def request(database: Database) -> StoredErasure:
        return await request_erasure(database, data_subject, new_id, now_ms)

    erasure = with_migrated_database(config, request)
    report(
        as_json,
        _fields(erasure),
        f"The erasure {erasure.id} is stored; the running service carries it out.",
        f"How far it is: daarion-appservice person erasures -c {config}",
    )


@app.command("erasures")
def erasures(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List the newest 100 erasures, newest first, with what remains and why."""

    async def read(database: Database) -> list[StoredErasure]:
        async with database.read_only() as tx:
            return await tx.erasures.all(limit=_LISTED)

    found = with_migrated_database(config, read)
    if as_json:
        print_json([_fields(each) for each in found])
        return
    show_table(
        ("erasure", "state", "requested", "finished", "redactions", "remains", "error"),
        [_row(each) for each in found],
    )
    for erasure in found:
        for each in erasure.remains:
            note(f"{erasure.id}: the {each.kind} {each.name} remains: {each.reason}")


async def _data_subject(database: Database, identities: Identities, person_id: str) -> DataSubject:
    async with database.read_only() as tx:
        # A citizen who came back after an erasure has another ghost.
        identities.erased.replace(await tx.erasures.erased_ids())
        data_subject = await find_data_subject(tx.accounts, identities, person_id)
    if not await has_data(database, data_subject):
        raise NotFound("no_such_person", f"the city has no data of {person_id}")
    return data_subject


def _identities(config: Path) -> Identities:
    settings = config_file.load(config)
    return Identities(settings.homeserver.domain, settings.appservice.bot)


def _show_counts(counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print_json(counts)
    else:
        show_table(("table", "rows"), [(name, str(count)) for name, count in counts.items()])


def _fields(erasure: StoredErasure) -> dict[str, Any]:
    # Imported here: the views of the API take long to import.
    from ..http.routes.people import erasure_view  # noqa: PLC0415

    return dict(erasure_view(erasure))


def _row(erasure: StoredErasure) -> tuple[str, ...]:
    fields = _fields(erasure)
    times = (fields["requested_at"], fields["finished_at"] or "")
    numbers = (str(erasure.counts.get("redactions", 0)), str(len(erasure.remains)))
    return erasure.id, erasure.state, *times, *numbers, erasure.error or ""


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
