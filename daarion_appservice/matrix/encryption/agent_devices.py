"""The encryption devices of agents as administrators see them, and their requests for new ones."""

from __future__ import annotations

from dataclasses import dataclass

from ...city.identity import Identities
from ...city.types import AgentSlug, UserId
from ...config import EncryptionSettings
from ...errors import Conflict, NotFound
from ...storage.database import Transaction
from ...storage.encryption.overview import DeviceOverview


@dataclass(frozen=True, slots=True)
class AgentDevice:
    """An agent with its encryption device."""

    agent: AgentSlug
    ghost: UserId
    device: DeviceOverview | None
    """None if the agent has no keys."""
    waiting_events: int
    """Events that wait for their key in the chats that are read as this agent."""


async def agent_devices(tx: Transaction, identities: Identities) -> list[AgentDevice]:
    """Return each registered agent with its device, in the order of the registry."""
    devices = {device.ghost: device for device in await tx.encryption_overview.devices()}
    waiting = await tx.encryption_overview.waiting_by_agent()
    agents = [(agent.slug, identities.agent(agent.slug)) for agent in await tx.agents.all()]
    return [AgentDevice(slug, ghost, devices.get(ghost), waiting.get(slug, 0)) for slug, ghost in agents]


async def request_reset(tx: Transaction, slug: str, identities: Identities, settings: EncryptionSettings) -> None:
    """Store that an agent is to get a new device, which the leader carries out.

    Raises:
        NotFound: There is no such agent.
        Conflict: Encryption is off, or the agent has no device yet.
    """
    agent = await tx.agents.by_slug(slug)
    if agent is None:
        raise NotFound("no_such_agent", f"there is no agent {slug!r}")
    if not settings.is_on:
        raise Conflict("encryption_off", describe_switch(settings))
    if not await tx.encryption_accounts.request_reset(identities.agent(agent.slug)):
        raise Conflict("no_device", f"{slug} has no encryption device yet; the running service makes one")


def describe_switch(settings: EncryptionSettings) -> str:
    """Return whether the configuration turns encryption on, and if not, why."""
    if not settings.enabled:
        return "encryption is off: encryption.enabled is false"
    return "encryption is on" if settings.is_on else "encryption is off: encryption.pickle_key is empty"
