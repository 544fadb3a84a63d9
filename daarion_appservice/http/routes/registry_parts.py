"""What the registry's routes have in common."""

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
    """What the registry's routes are made of."""

    database: Database
    keeper: RegistryEditor
    registry: DirectoryCache
    agents: AgentDirectory
    places: PlaceDirectory
    presence: PresenceStore
    pictures: AgentAvatars
    identities: Identities
    now_ms: NowMs
    """The time of what is stored."""
    steady_ms: NowMs
    """The time of what is present."""
    new_id: NewId


async def counting(registry: DirectoryCache, change: Awaitable[T]) -> T:
    """Make a change, and have it count here at once."""
    made = await change
    await registry.load()
    return made


def checked(adapter: TypeAdapter[str], value: str, field: str) -> str:
    """``value``, which stands in the path; raises Mistakes when it cannot be a ``field``."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValidationErrors([{"field": field, "message": error.errors()[0]["msg"]}]) from error
