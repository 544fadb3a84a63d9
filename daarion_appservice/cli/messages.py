"""The commands ``message …``: messages that are not on Matrix, those that wait and those that the homeserver rejected."""

from __future__ import annotations

from typing import Annotated

import typer

from .outbox import fields, retry, undelivered
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, show_table

app = typer.Typer(rich_markup_mode=None)
app.command("retry")(retry)


@app.command("list")
def list_(
    failed: Annotated[
        bool, typer.Option("--failed", help="Only those that were given up, with the error of the homeserver.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """List messages, edits, deletions and reactions that are not on Matrix, oldest first, at most 1000."""
    rows = [fields(row) for row in undelivered(config, is_failed=failed)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_line("There are no failed deliveries." if failed else "Everything is delivered.", "green")
        return
    show_table(
        ("message", "kind", "room", "delivery", "attempts", "error"),
        [tuple(str(value) for value in row.values()) for row in rows],
    )
