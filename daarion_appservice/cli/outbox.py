"""The commands ``outbox …``: messages that the homeserver rejected."""

from __future__ import annotations

from typing import Annotated

import typer

from ..city.redelivery import redeliver_all
from ..city.types import MessageId
from ..clock import now_ms
from ..errors import NotFound
from ..storage.database import Database
from ..storage.key_values import registry_changed
from ..storage.outbox import FailedRow
from .context import with_migrated_database
from .terminal import DEFAULT_CONFIG, ConfigPath, print_line, show_table

app = typer.Typer(rich_markup_mode=None)


@app.command("list")
def list_(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List messages, edits, deletions and reactions that were given up, with the error of the homeserver."""

    async def read(database: Database) -> list[FailedRow]:
        async with database.read_only() as tx:
            return await tx.outbox.failed_rows()

    failed = with_migrated_database(config, read)
    if not failed:
        print_line("There are no failed deliveries.", "green")
        return
    show_table(
        ("message", "kind", "room", "error"),
        [(row.message_id, row.kind, row.room_id, row.error) for row in failed],
    )


@app.command("retry")
def retry(
    message: Annotated[list[str] | None, typer.Argument(help="Message ids. [default: all failed deliveries]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Make the running service send failed deliveries again. Correct the cause first."""

    async def again(database: Database) -> int:
        async with database.transaction() as tx:
            count = await redeliver_all(tx, [MessageId(each) for each in message] if message else None, now_ms())
            await registry_changed(tx.connection)
            return count

    count = with_migrated_database(config, again)
    if message and not count:
        raise NotFound(
            "no_such_message", "there is no failed delivery of such a message; see `daarion-appservice outbox list`"
        )
    print_line(f"{count} change(s) will be sent again.", "green")
