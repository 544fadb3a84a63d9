"""The commands ``outbox …``, aliases of ``message list --failed`` and ``message retry``, which share its functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..city.redelivery import redeliver_all
from ..city.types import MessageId
from ..clock import now_ms
from ..errors import NotFound
from ..storage.database import Database
from ..storage.key_values import registry_changed
from ..storage.outbox import UndeliveredRow
from .context import with_migrated_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, report, show_table

if TYPE_CHECKING:
    from ..http import schemas

app = typer.Typer(rich_markup_mode=None)


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List messages, edits, deletions and reactions that were given up, with the error of the homeserver."""
    failed = undelivered(config, is_failed=True)
    if as_json:
        print_json([fields(row) for row in failed])
        return
    if not failed:
        print_line("There are no failed deliveries.", "green")
        return
    show_table(
        ("message", "kind", "room", "error"),
        [(row.message_id, row.kind, row.room_id, row.error) for row in failed],
    )


def undelivered(config: Path, *, is_failed: bool) -> list[UndeliveredRow]:
    """Read the changes that are not on Matrix, or only those that were given up."""

    async def read(database: Database) -> list[UndeliveredRow]:
        async with database.read_only() as tx:
            return await tx.outbox.undelivered(is_failed=is_failed)

    return with_migrated_database(config, read)


def fields(row: UndeliveredRow) -> schemas.UndeliveredChange:
    """Return the fields of a change for JSON."""
    # Imported here: the HTTP server takes longer to import than the rest of these commands.
    from ..http.routes.undelivered import delivery_view  # noqa: PLC0415

    return delivery_view(row)


@app.command("retry")
def retry(
    message: Annotated[list[str] | None, typer.Argument(help="Message ids. [default: all failed deliveries]")] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Make the running service send failed deliveries again. Correct the cause first."""

    async def retry_all(database: Database) -> int:
        async with database.transaction() as tx:
            count = await redeliver_all(tx, [MessageId(each) for each in message] if message else None, now_ms())
            await registry_changed(tx.connection)
            return count

    count = with_migrated_database(config, retry_all)
    if message and not count:
        raise NotFound(
            "no_such_message",
            "there is no failed delivery of such a message; see `daarion-appservice message list --failed`",
        )
    report(as_json, {"retried": count}, f"{count} change(s) will be sent again.")
