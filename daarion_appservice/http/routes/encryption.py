"""The encryption devices of agents for admins: ``/api/v1/encryption`` and ``/api/v1/agents/{agent_id}/encryption/reset``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...city.identity import Identities
from ...city.timestamps import optional_timestamp
from ...config import EncryptionSettings
from ...matrix.encryption.agent_devices import AgentDevice, agent_devices, request_reset
from ...storage.database import Database
from ...storage.encryption.overview import EncryptionTotals
from .. import schemas
from ..auth.principals import Access
from ..routing import Call, NoBody, NoContent, NoQuery, endpoint


@dataclass(frozen=True, slots=True)
class EncryptionRoutes:
    database: Database
    identities: Identities
    settings: EncryptionSettings

    @endpoint(
        "GET",
        "/api/v1/encryption",
        access=Access.ADMINS,
        summary="Get the encryption devices of all agents",
        response=schemas.EncryptionStatus,
    )
    async def status(self, _: Call[NoBody, NoQuery]) -> schemas.EncryptionStatus:
        """Contains no key. What the homeserver refused since the start is in the log (`encryption_unsupported`)."""
        async with self.database.read_only() as tx:
            agents = await agent_devices(tx, self.identities)
            totals = await tx.encryption_overview.totals()
        return status_view(self.settings, agents, totals)

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/encryption/reset",
        access=Access.ADMINS,
        status=204,
        summary="Give an agent a new encryption device",
        response=NoContent,
        errors=("no_such_agent", "no_device", "encryption_off"),
    )
    async def reset(self, call: Call[NoBody, NoQuery]) -> None:
        """The leader does it within seconds. The cross-signing keys stay, so that people see the same identity."""
        async with self.database.transaction() as tx:
            await request_reset(tx, call.path["agent_id"], self.identities, self.settings)


def status_view(
    settings: EncryptionSettings, agents: Iterable[AgentDevice], totals: EncryptionTotals
) -> schemas.EncryptionStatus:
    """Return the status as the API and the command line show it."""
    return {
        "enabled": settings.is_on,
        "agents": [_agent_view(agent) for agent in agents],
        "inbound_sessions": totals.inbound_sessions,
        "waiting_events": totals.waiting_events,
        "oldest_waiting_at": optional_timestamp(totals.oldest_waiting_ms),
    }


def _agent_view(status: AgentDevice) -> schemas.AgentEncryption:
    device = status.device
    return {
        "agent_id": status.agent,
        "matrix_user_id": status.ghost,
        "device_id": device.device_id if device else None,
        "uploaded": device is not None and device.is_uploaded,
        "reset_requested": device is not None and device.is_reset_requested,
        "olm_sessions": device.olm_sessions if device else 0,
        "outbound_sessions": device.outbound_sessions if device else 0,
        "to_device_waiting": device.to_device_waiting if device else 0,
        "waiting_events": status.waiting_events,
    }
