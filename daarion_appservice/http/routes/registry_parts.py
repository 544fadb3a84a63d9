"""What the registry's routes have in common."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ...city.agents import AgentDirectory
from ...city.identity import Namespace
from ...city.places import PlaceDirectory
from ...city.ports import NewId, NowMs, PresenceStore
from ...city.registry import RegistryKeeper
from ...realtime.directory_cache import Registry
from ...storage.database import Database
from ..agent_avatars import AgentPictures
from ..routing import Mistakes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RegistryParts:
    """What the registry's routes are made of."""

    database: Database
    keeper: RegistryKeeper
    registry: Registry
    agents: AgentDirectory
    places: PlaceDirectory
    presence: PresenceStore
    pictures: AgentPictures
    namespace: Namespace
    now_ms: NowMs
    """The time of what is stored."""
    steady_ms: NowMs
    """The time of what is present."""
    new_id: NewId


async def counting(registry: Registry, change: Awaitable[T]) -> T:
    """Make a change, and have it count here at once."""
    made = await change
    await registry.load()
    return made


def checked(adapter: TypeAdapter[str], value: str, field: str) -> str:
    """``value``, which stands in the path; raises Mistakes when it cannot be a ``field``."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise Mistakes([{"field": field, "message": error.errors()[0]["msg"]}]) from error
