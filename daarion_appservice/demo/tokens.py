"""Creates the tokens of the demo's agents and the places of the registry before the service starts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..city.tokens import new_token
from ..clock import new_id, now_ms
from ..config import loading as config_file
from ..config.registry_file import agent_of
from ..storage import migrate
from ..storage.database import Database
from .sample_data import PLACES


async def make(config: Path, slugs: Collection[str]) -> dict[str, str]:
    """Migrate the database, store the places, and create a token for each of these agents; return them by slug."""
    settings = config_file.load(config, environ={})
    tokens: dict[str, str] = {}
    database = Database(settings.database.url)
    try:
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            await tx.places.put_all(PLACES)
            for agent in map(agent_of, settings.agents):
                if agent.slug in slugs:
                    await tx.agents.put(agent, now_ms=now_ms())
                    token = new_token(new_id())
                    await tx.agents.add_token(token.id, agent, token.secret_sha256, now_ms=now_ms())
                    tokens[agent.slug] = token.text
    finally:
        await database.close()
    return tokens
