"""Applies changes of the registry so that this process uses them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..city.places import PlaceKind
from ..city.registry import Description, Differences, RegistryEditor
from ..city.types import Agent, AgentSlug
from ..realtime.directory_cache import DirectoryCache


@dataclass(frozen=True, slots=True)
class RegistryWriter:
    """Changes the registry in the database, and reloads the directory cache of this process after each change."""

    editor: RegistryEditor
    cache: DirectoryCache

    async def merge(self, description: Description, *, remove_missing: bool = False) -> Differences:
        differences = await self.editor.merge(description, remove_missing=remove_missing)
        await self.cache.load()
        return differences

    async def change_agent(self, slug: AgentSlug, changes: Mapping[str, Any]) -> Agent:
        agent = await self.editor.change_agent(slug, changes)
        await self.cache.load()
        return agent

    async def remove_agent(self, slug: AgentSlug) -> None:
        await self.editor.remove_agent(slug)
        await self.cache.load()

    async def remove_place(self, kind: PlaceKind, place_id: str) -> None:
        await self.editor.remove_place(kind, place_id)
        await self.cache.load()
