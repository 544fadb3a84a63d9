"""Agents and their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import Agent, AgentSlug
from .kept import registry_changed
from .tables import agent_tokens, agents


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token that still counts. Only the hash of its secret is known."""

    id: str
    slug: AgentSlug
    secret_sha256: str


class AgentRows:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Agent]:
        rows = await self._connection.execute(select(agents).order_by(agents.c.slug))
        return [_agent(row) for row in rows]

    async def by_slug(self, slug: str) -> Agent | None:
        row = (await self._connection.execute(select(agents).where(agents.c.slug == slug))).first()
        return _agent(row) if row else None

    async def put(self, agent: Agent, *, now_ms: int) -> None:
        """Add an agent, or describe the one with this slug anew."""
        values = {
            "display_name": agent.display_name,
            "title": agent.title,
            "avatar": agent.avatar,
            "node_id": agent.node_id,
            "microdao": agent.microdao,
            "role": agent.role,
            "rooms": orjson.dumps(agent.rooms).decode(),
        }
        # First of all: whoever else adds an agent waits here, and then finds it added.
        await registry_changed(self._connection)
        changed = await self._connection.execute(update(agents).where(agents.c.slug == agent.slug).values(values))
        if changed.rowcount == 0:
            await self._connection.execute(
                insert(agents).values(id=agent.id, slug=agent.slug, created_at_ms=now_ms, **values)
            )

    async def tokens(self) -> list[TokenRow]:
        rows = await self._connection.execute(
            select(agent_tokens.c.id, agents.c.slug, agent_tokens.c.secret_sha256)
            .join(agents, agents.c.id == agent_tokens.c.agent_id)
            .where(agent_tokens.c.revoked_at_ms.is_(None))
        )
        return [TokenRow(row.id, AgentSlug(row.slug), row.secret_sha256) for row in rows]

    async def add_token(self, token_id: str, agent: Agent, secret_sha256: str, *, now_ms: int) -> None:
        await self._connection.execute(
            insert(agent_tokens).values(
                id=token_id, agent_id=agent.id, secret_sha256=secret_sha256, created_at_ms=now_ms
            )
        )
        await registry_changed(self._connection)

    async def revoke_tokens(self, agent: Agent, token_id: str | None, *, now_ms: int) -> int:
        """Revoke one token of an agent, or all of them; returns how many."""
        statement = (
            update(agent_tokens)
            .where(agent_tokens.c.agent_id == agent.id, agent_tokens.c.revoked_at_ms.is_(None))
            .values(revoked_at_ms=now_ms)
        )
        if token_id is not None:
            statement = statement.where(agent_tokens.c.id == token_id)
        await registry_changed(self._connection)
        return (await self._connection.execute(statement)).rowcount


def _agent(row: Row[Any]) -> Agent:
    return Agent(
        id=row.id,
        slug=AgentSlug(row.slug),
        display_name=row.display_name,
        title=row.title,
        avatar=row.avatar,
        node_id=row.node_id,
        microdao=row.microdao,
        role=row.role,
        rooms=tuple(orjson.loads(row.rooms)),
    )
