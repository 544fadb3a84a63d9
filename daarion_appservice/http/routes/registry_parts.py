"""The common part of the routes of the registry."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.places import PlaceDirectory
from ...city.ports import NewId, NowMs, PresenceStore
from ...city.registry import RegistryEditor
from ...realtime.directory_cache import DirectoryCache
from ...storage.database import Database
from ..agent_avatars import AgentAvatars
from ..routing import ValidationErrors

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RegistryParts:
    """The dependencies of the routes of the registry."""

    database: Database
    keeper: RegistryEditor
    registry: DirectoryCache
    agents: AgentDirectory
    places: PlaceDirectory
    presence: PresenceStore
    avatars: AgentAvatars
    identities: Identities
    now_ms: NowMs
    """The clock of stored times."""
    steady_ms: NowMs
    """The clock of presence."""
    new_id: NewId


async def counting(registry: DirectoryCache, change: Awaitable[T]) -> T:
    """Await a change of the registry, and reload the directory cache so that this process uses it at once."""
    made = await change
    await registry.load()
    return made


def checked(adapter: TypeAdapter[str], value: str, field: str) -> str:
    """Validate a path parameter.

    Raises:
        ValidationErrors: ``value`` is not a valid ``field``.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValidationErrors([{"field": field, "message": error.errors()[0]["msg"]}]) from error
