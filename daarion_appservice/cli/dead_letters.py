"""The commands ``dead-letter …``: Matrix events that could not be processed."""

from __future__ import annotations

from typing import Annotated

import typer

from ..city.timestamps import timestamp
from ..errors import NotFound
from ..storage.database import Database
from ..storage.inbox import InboxRow
from .context import with_migrated_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, report, show_table

app = typer.Typer(rich_markup_mode=None)


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List the events whose processing failed repeatedly and was given up (dead letters)."""

    async def read(database: Database) -> list[InboxRow]:
        async with database.read_only() as tx:
            return await tx.inbox.dead_letters()

    dead = with_migrated_database(config, read)
    if as_json:
        # Imported here: the HTTP server takes longer to import than the rest of these commands.
        from ..http.routes.undelivered import dead_letter_view  # noqa: PLC0415

        print_json([dead_letter_view(row) for row in dead])
        return
    if not dead:
        print_line("There are no dead letters.", "green")
        return
    show_table(
        ("event", "room", "received", "error"),
        [(row.event_id, row.matrix_room_id, timestamp(row.received_at_ms), row.error or "") for row in dead],
    )


@app.command("retry")
def retry(
    event: Annotated[list[str] | None, typer.Argument(help="Event ids. [default: all dead letters]")] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Make the running service process dead letters again."""

    async def retry_all(database: Database) -> int:
        async with database.transaction() as tx:
            return await tx.inbox.retry(event or None)

    count = with_migrated_database(config, retry_all)
    if event and not count:
        raise NotFound(
            "no_such_event", "there is no dead letter with such an id; see `daarion-appservice dead-letter list`"
        )
    report(as_json, {"retried": count}, f"{count} event(s) will be processed again.")
