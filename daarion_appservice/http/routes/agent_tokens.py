"""The routes ``/api/v1/agents/{agent_id}/tokens``, with which admins create, list, replace and revoke agents' tokens."""

from __future__ import annotations

from dataclasses import dataclass

from ...city.ports import NewId, NowMs
from ...city.timestamps import optional_timestamp, timestamp
from ...city.tokens import new_token
from ...city.types import Agent
from ...errors import NotFound
from ...realtime.directory_cache import DirectoryCache
from ...storage.agents import TokenOfAgent
from ...storage.database import Database
from .. import schemas
from ..auth.principals import Access
from ..routing import Call, NoBody, NoContent, NoQuery, endpoint


@dataclass(frozen=True, slots=True)
class AgentTokenRoutes:
    database: Database
    cache: DirectoryCache
    now_ms: NowMs
    new_id: NewId

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/tokens",
        access=Access.ADMINS,
        status=201,
        summary="Create a token of an agent",
        response=schemas.NewAgentToken,
        errors=("no_such_agent",),
    )
    async def create_token(self, call: Call[NoBody, NoQuery]) -> schemas.NewAgentToken:
        """Earlier tokens stay valid until they are revoked."""
        return await self._new_token(call.path["agent_id"], replaces_others=False)

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/tokens/rotate",
        access=Access.ADMINS,
        status=201,
        summary="Replace all tokens of an agent",
        response=schemas.NewAgentToken,
        errors=("no_such_agent",),
    )
    async def rotate_tokens(self, call: Call[NoBody, NoQuery]) -> schemas.NewAgentToken:
        """Creates a token and revokes all others. Other processes of the city refuse those within two seconds."""
        return await self._new_token(call.path["agent_id"], replaces_others=True)

    async def _new_token(self, agent_id: str, *, replaces_others: bool) -> schemas.NewAgentToken:
        token, now_ms = new_token(self.new_id()), self.now_ms()
        async with self.database.transaction() as tx:
            agent = _found(await tx.agents.lock(agent_id), agent_id)
            if replaces_others:
                await tx.agents.replace_tokens(agent, token.id, token.secret_sha256, now_ms=now_ms)
            else:
                await tx.agents.add_token(token.id, agent, token.secret_sha256, now_ms=now_ms)
        await self.cache.load()
        return {**_token_view(TokenOfAgent(token.id, now_ms, None)), "token": token.text}

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}/tokens",
        access=Access.ADMINS,
        summary="List the tokens of an agent",
        response=list[schemas.AgentToken],
        errors=("no_such_agent",),
    )
    async def list_tokens(self, call: Call[NoBody, NoQuery]) -> list[schemas.AgentToken]:
        """Returns valid and revoked tokens without their secrets, oldest first."""
        async with self.database.read_only() as tx:
            agent = _found(await tx.agents.by_slug(call.path["agent_id"]), call.path["agent_id"])
            return [_token_view(token) for token in await tx.agents.tokens_of(agent)]

    @endpoint(
        "DELETE",
        "/api/v1/agents/{agent_id}/tokens/{token_id}",
        access=Access.ADMINS,
        status=204,
        summary="Revoke a token",
        response=NoContent,
        errors=("no_such_agent", "no_such_token"),
    )
    async def revoke_token(self, call: Call[NoBody, NoQuery]) -> None:
        """Other processes of the city refuse the token within two seconds."""
        async with self.database.transaction() as tx:
            agent = _found(await tx.agents.by_slug(call.path["agent_id"]), call.path["agent_id"])
            if not await tx.agents.revoke_tokens(agent, call.path["token_id"], now_ms=self.now_ms()):
                raise NotFound("no_such_token", f"{agent.slug} has no such token, or it was revoked already")
        await self.cache.load()


def _found(agent: Agent | None, name: str) -> Agent:
    if agent is None:
        raise NotFound("no_such_agent", f"there is no agent {name!r}")
    return agent


def _token_view(token: TokenOfAgent) -> schemas.AgentToken:
    return {
        "id": token.id,
        "created_at": timestamp(token.created_at_ms),
        "revoked_at": optional_timestamp(token.revoked_at_ms),
    }
