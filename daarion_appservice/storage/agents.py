"""Agents and their tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy import bindparam, delete, select, update

from ..city.erased_people import digest_of
from ..city.places import PlaceKind
from ..city.types import Agent, AgentSlug, agent_subject
from ..errors import Conflict
from .key_values import agents_removed, registry_changed
from .parameter_lists import parts
from .repository import Repository
from .row_mapper import RowMapper
from .tables import agent_tokens, agents, erased_ids, removed_agents
from .upsert import insert

_DESCRIPTION: Final = (
    "display_name",
    "title",
    "avatar",
    "node_id",
    "microdao",
    "role",
    "rooms",
    "kind",
    "color",
    "district",
    "node_role",
    "microdao_role",
)
"""Columns that a description of an agent sets."""


PAGE: Final = 500
"""Agents or tokens in one page: few enough that reading them holds the event loop for about 10 ms."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token that is not revoked. Only the hash of its secret is stored."""

    id: str
    slug: AgentSlug
    secret_sha256: str


@dataclass(frozen=True, slots=True)
class ChangedToken:
    """A token that was added or revoked."""

    token: TokenRow
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class TokenOfAgent:
    """Public data of a token, without its secret."""

    id: str
    created_at_ms: int
    revoked_at_ms: int | None
    """None while the token is valid."""


_agent: Final = RowMapper(Agent, rooms=lambda row: tuple(orjson.loads(row.rooms)))


_HOMES: Final = {
    PlaceKind.NODE: agents.c.node_id,
    PlaceKind.MICRODAO: agents.c.microdao,
    PlaceKind.DISTRICT: agents.c.district,
}
"""The column with the place of each kind."""


class AgentRepository(Repository):
    """The tables ``agents`` and ``agent_tokens``."""

    async def all(self) -> list[Agent]:
        rows = await self._connection.execute(select(agents).order_by(agents.c.slug))
        return [_agent(row) for row in rows]

    async def by_slugs(self, slugs: Collection[str]) -> list[Agent]:
        """Return those of the agents that exist, in no order."""
        found: list[Agent] = []
        for part in parts(list(slugs)):
            rows = await self._connection.execute(select(agents).where(agents.c.slug.in_(part)))
            found += map(_agent, rows)
        return found

    async def all_slugs(self) -> set[AgentSlug]:
        return {AgentSlug(slug) for slug in await self._connection.scalars(select(agents.c.slug))}

    async def of_places(self, places: Mapping[PlaceKind, Collection[str]]) -> list[Agent]:
        """Return the agents of any of these places, which are ids by kind."""
        found: dict[str, Agent] = {}
        for kind, ids in places.items():
            for part in parts(list(ids)):
                rows = await self._connection.execute(select(agents).where(_HOMES[kind].in_(part)))
                found |= {agent.slug: agent for agent in map(_agent, rows)}
        return list(found.values())

    async def slug_of_id(self, agent_id: str) -> AgentSlug | None:
        """Return the slug of the agent with an id; None if there is none."""
        slug = await self._connection.scalar(select(agents.c.slug).where(agents.c.id == agent_id))
        return AgentSlug(slug) if slug is not None else None

    async def by_slug(self, slug: str) -> Agent | None:
        row = (await self._connection.execute(select(agents).where(agents.c.slug == slug))).first()
        return _agent(row) if row else None

    async def lock(self, slug: str) -> Agent | None:
        """Return the agent, and lock the registry against other changes until the transaction ends."""
        await registry_changed(self._connection)
        return await self.by_slug(slug)

    async def put(self, agent: Agent, *, now_ms: int) -> None:
        """Add an agent, or replace the description of the one with this slug."""
        await self.put_all([agent], now_ms=now_ms)

    async def put_all(self, described: Collection[Agent], *, now_ms: int) -> None:
        """Add or replace several agents in one change of the registry.

        Raises:
            Conflict: one of them was erased: its ghost is deactivated for good.
        """
        if not described:
            return
        # This statement must be the first: a concurrent change of the registry waits here and then sees the new state.
        version = await registry_changed(self._connection)
        await self._check_not_erased([agent.slug for agent in described])
        statement = insert(self._connection, agents)
        columns = {name: statement.excluded[name] for name in (*_DESCRIPTION, "changed")}
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=[agents.c.slug], set_=columns),
            [
                {
                    "id": agent.id,
                    "slug": agent.slug,
                    "created_at_ms": now_ms,
                    "changed": version,
                    **_description(agent),
                }
                for agent in described
            ],
        )
        await self._connection.execute(
            delete(removed_agents).where(removed_agents.c.slug == bindparam("back")),
            [{"back": agent.slug} for agent in described],
        )

    async def erased(self, slugs: Collection[AgentSlug]) -> list[AgentSlug]:
        """Return which slugs belong to erased agents."""
        digests = {digest_of(agent_subject(slug)): slug for slug in slugs}
        found: list[AgentSlug] = []
        for part in parts(digests):
            rows = await self._connection.scalars(select(erased_ids.c.digest).where(erased_ids.c.digest.in_(part)))
            found += [digests[digest] for digest in rows]
        return sorted(found)

    async def _check_not_erased(self, slugs: Collection[AgentSlug]) -> None:
        if erased := await self.erased(slugs):
            raise Conflict("agent_erased", f"the agent {erased[0]} was erased, and its slug cannot be used again")

    async def remove(self, slugs: Collection[AgentSlug], *, now_ms: int) -> None:
        """Remove agents with their tokens, and store them for the removal of their ghosts."""
        if not slugs:
            return
        await agents_removed(self._connection, await registry_changed(self._connection))
        await self._connection.execute(
            delete(agents).where(agents.c.slug == bindparam("gone")), [{"gone": slug} for slug in slugs]
        )
        statement = insert(self._connection, removed_agents)
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[removed_agents.c.slug], set_={"removed_at_ms": statement.excluded.removed_at_ms}
            ),
            [{"slug": slug, "removed_at_ms": now_ms} for slug in slugs],
        )

    async def display_names(self, slugs: Collection[AgentSlug]) -> dict[AgentSlug, str]:
        """Return the display names of the agents that are in the registry."""
        names: dict[AgentSlug, str] = {}
        for part in parts(slugs):
            rows = await self._connection.execute(
                select(agents.c.slug, agents.c.display_name).where(agents.c.slug.in_(part))
            )
            names |= {AgentSlug(slug): name for slug, name in rows}
        return names

    async def changed_since(self, version: int, after: str = "") -> list[Agent]:
        """Return up to ``PAGE`` agents that were changed after a version of the registry, by slug, from ``after`` on.

        Args:
            version: the version of the registry; -1 for all agents.
            after: the slug of the last agent of the page before; empty for the first page.
        """
        changed = select(agents).where(agents.c.changed > version, agents.c.slug > after)
        rows = await self._connection.execute(changed.order_by(agents.c.slug).limit(PAGE))
        return [_agent(row) for row in rows]

    async def slugs(self, after: str = "") -> list[AgentSlug]:
        """Return up to ``PAGE`` slugs of agents in their order, from ``after`` on."""
        rows = await self._connection.scalars(
            select(agents.c.slug).where(agents.c.slug > after).order_by(agents.c.slug).limit(PAGE)
        )
        return [AgentSlug(slug) for slug in rows]

    async def tokens_changed_since(self, version: int, after: str = "") -> list[ChangedToken]:
        """Return up to ``PAGE`` tokens that were added or revoked after a version of the registry, by id.

        Args:
            version: the version of the registry; -1 for all tokens.
            after: the id of the last token of the page before; empty for the first page.
        """
        rows = await self._connection.execute(
            select(agent_tokens.c.id, agents.c.slug, agent_tokens.c.secret_sha256, agent_tokens.c.revoked_at_ms)
            .join(agents, agents.c.id == agent_tokens.c.agent_id)
            .where(agent_tokens.c.changed > version, agent_tokens.c.id > after)
            .order_by(agent_tokens.c.id)
            .limit(PAGE)
        )
        return [
            ChangedToken(TokenRow(row.id, AgentSlug(row.slug), row.secret_sha256), row.revoked_at_ms is not None)
            for row in rows
        ]

    async def tokens_of(self, agent: Agent) -> list[TokenOfAgent]:
        """Return the valid and the revoked tokens, oldest first."""
        rows = await self._connection.execute(
            select(agent_tokens.c.id, agent_tokens.c.created_at_ms, agent_tokens.c.revoked_at_ms)
            .where(agent_tokens.c.agent_id == agent.id)
            .order_by(agent_tokens.c.created_at_ms, agent_tokens.c.id)
        )
        return [TokenOfAgent(row.id, row.created_at_ms, row.revoked_at_ms) for row in rows]

    async def all_tokens(self, slug: AgentSlug | None = None) -> list[tuple[AgentSlug, TokenOfAgent]]:
        """Return the valid and the revoked tokens of one agent or of all, by slug, then oldest first."""
        statement = (
            select(agents.c.slug, agent_tokens.c.id, agent_tokens.c.created_at_ms, agent_tokens.c.revoked_at_ms)
            .join(agents, agents.c.id == agent_tokens.c.agent_id)
            .order_by(agents.c.slug, agent_tokens.c.created_at_ms, agent_tokens.c.id)
        )
        if slug is not None:
            statement = statement.where(agents.c.slug == slug)
        rows = await self._connection.execute(statement)
        return [(AgentSlug(row.slug), TokenOfAgent(row.id, row.created_at_ms, row.revoked_at_ms)) for row in rows]

    async def add_token(self, token_id: str, agent: Agent, secret_sha256: str, *, now_ms: int) -> None:
        version = await registry_changed(self._connection)
        await self._connection.execute(
            insert(self._connection, agent_tokens).values(
                id=token_id, agent_id=agent.id, secret_sha256=secret_sha256, created_at_ms=now_ms, changed=version
            )
        )

    async def revoke_tokens(self, agent: Agent, token_id: str | None, *, now_ms: int) -> int:
        """Revoke one token of an agent, or all of them; return how many."""
        version = await registry_changed(self._connection)
        statement = (
            update(agent_tokens)
            .where(agent_tokens.c.agent_id == agent.id, agent_tokens.c.revoked_at_ms.is_(None))
            .values(revoked_at_ms=now_ms, changed=version)
        )
        if token_id is not None:
            statement = statement.where(agent_tokens.c.id == token_id)
        return (await self._connection.execute(statement)).rowcount

    async def replace_tokens(self, agent: Agent, token_id: str, secret_sha256: str, *, now_ms: int) -> int:
        """Revoke all tokens of an agent and add a new one; return the number of revoked tokens."""
        revoked = await self.revoke_tokens(agent, None, now_ms=now_ms)
        await self.add_token(token_id, agent, secret_sha256, now_ms=now_ms)
        return revoked


def _description(agent: Agent) -> dict[str, str]:
    known = {name: getattr(agent, name) for name in _DESCRIPTION}
    return known | {"rooms": orjson.dumps(agent.rooms).decode()}
