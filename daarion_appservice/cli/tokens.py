"""The commands ``token …``: the tokens of all agents, without their secrets."""

from __future__ import annotations

from typing import Annotated

import typer

from ..city.timestamps import optional_timestamp, timestamp
from ..city.types import AgentSlug
from ..errors import NotFound
from ..storage.agents import TokenOfAgent
from ..storage.database import Database
from .context import with_migrated_database
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, show_table

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """List the tokens of agents."""


@app.command("list")
def list_(
    agent: Annotated[str | None, typer.Argument(help="The slug of an agent. [default: all agents]")] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """List the tokens of agents, valid and revoked, without their secrets."""

    async def read(database: Database) -> list[tuple[AgentSlug, TokenOfAgent]]:
        async with database.read_only() as tx:
            if agent is not None and await tx.agents.by_slug(agent) is None:
                raise NotFound("no_such_agent", f"there is no agent {agent!r}; see `daarion-appservice agent list`")
            return await tx.agents.all_tokens(AgentSlug(agent) if agent is not None else None)

    rows = [
        {
            "id": token.id,
            "agent": slug,
            "created_at": timestamp(token.created_at_ms),
            "revoked_at": optional_timestamp(token.revoked_at_ms),
        }
        for slug, token in with_migrated_database(config, read)
    ]
    if as_json:
        print_json(rows)
        return
    columns = ("id", "agent", "created", "revoked")
    show_table(columns, [tuple(value or "" for value in row.values()) for row in rows])
