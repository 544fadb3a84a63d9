"""Checks of ghosts and presence: devices, presence switched on and its timeout, the Synapse module."""

from __future__ import annotations

import asyncio
from typing import Final

from ..errors import HomeserverRefused
from ..matrix.client.user_requests import CITY_DEVICE
from ..matrix.presence.timeout_probe import (
    PRESENCE_OFF_ADVICE,
    SHORT_TIMEOUT_ADVICE,
    is_shorter_than_default,
    period_ms,
)
from ..matrix.presence.transport import ModuleTransport, choose_transport
from .checks import check
from .findings import Finding, failed, listed, passed, skipped, warning
from .installation import Installation

_MAX_GHOSTS: Final = 20
_READS: Final = 5
_READ_INTERVAL_S: Final = 0.5
_MANY_AGENTS: Final = 300
"""Presence of as many ghosts by single requests takes Synapse 3 % of a processor core, and a change of all of them a second."""


@check(
    needs=("database_schema", "homeserver_identity"),
    symptoms=("All later messages of one agent or citizen fail, with M_UNKNOWN_DEVICE.",),
)
async def ghost_devices(installation: Installation) -> Finding:
    """The ghosts have the devices with which they send.

    A ghost that was deactivated loses its device, its rooms and its profile. The service creates a lost device again when it
    sends the next message. Looks at up to 20 ghosts.
    """
    async with installation.database.read_only() as tx:
        ghosts = [ghost.user_id for ghost in await tx.ghosts.all() if ghost.has_device][:_MAX_GHOSTS]
    if not ghosts:
        return skipped("No ghost has sent a message yet.")
    missing = []
    for ghost in ghosts:
        try:
            if CITY_DEVICE not in await installation.homeserver.devices(ghost):
                missing.append(ghost)
        except HomeserverRefused:
            missing.append(ghost)
    if missing:
        return warning(
            f"Devices are gone, by an admin of Synapse or a deactivation: {listed([*missing])}.",
            "The service creates them again with the next message; `daarion-appservice message retry` sends what failed. If a "
            "ghost was deactivated, restart the service, so that it joins its rooms again.",
        )
    return passed(f"{len(ghosts)} ghosts have theirs.")


@check(
    needs=("rate_limits",),
    symptoms=("Nobody of the city is online in Element.",),
)
async def presence(installation: Installation) -> Finding:
    """Presence is switched on in Synapse.

    Sets the observer, a user of the service, unavailable for a moment and reads it back. Synapse answers 200 to both if presence
    is off.
    """
    homeserver, user = installation.homeserver, installation.identities.observer
    await homeserver.set_presence(user, "unavailable", None)
    try:
        for _ in range(_READS):
            if (await homeserver.presence(user, as_user=user)).get("presence") == "unavailable":
                return passed("Synapse keeps the presence of a user of the service.")
            await asyncio.sleep(_READ_INTERVAL_S)  # another worker of Synapse may lag behind
    finally:
        await homeserver.set_presence(user, "offline", None)
    return failed(
        "A user that is set unavailable stays offline: presence is switched off in Synapse.", PRESENCE_OFF_ADVICE
    )


@check(
    needs=("presence", "database_schema"),
    symptoms=("Agents alternate between online and offline in Element although they send heartbeats.",),
)
async def presence_timeout(installation: Installation) -> Finding:
    """Synapse holds a presence at least for the 30 seconds of its default without a refresh.

    The running service measures the timeout after its start, in about two minutes.
    """
    await installation.homeserver.versions()
    async with installation.database.read_only() as tx:
        timeout_ms = await tx.key_values.presence_timeout_ms(installation.homeserver.software)
    if timeout_ms is None:
        return skipped("The service has not measured it yet.")
    if is_shorter_than_default(timeout_ms):
        return warning(f"A presence without refresh ends after {timeout_ms / 1000:.0f} seconds.", SHORT_TIMEOUT_ADVICE)
    return passed(f"About {timeout_ms / 1000:.0f} seconds; refreshed every {period_ms(timeout_ms) / 1000:.0f}.")


@check(
    needs=("database_schema", "homeserver_identity"),
    symptoms=("Presence of many agents arrives late, and Synapse is busy with it.",),
)
async def synapse_module(installation: Installation) -> Finding:
    """The city's Synapse module answers, or there are too few agents to need it.

    Warns without the module from 300 agents on.
    """
    async with installation.database.read_only() as tx:
        agents = len(await tx.agents.all())
    if installation.settings.presence.synapse_module == "off":
        return skipped("presence.synapse_module is off.")
    transport = await choose_transport(installation.homeserver, may_use_module=True)
    if isinstance(transport, ModuleTransport):
        return passed(f"It takes {transport.batch_size} presences in one request.")
    return judge_no_module(agents)


def judge_no_module(agents: int) -> Finding:
    """Judge a homeserver without the city's module."""
    if agents >= _MANY_AGENTS:
        return warning(
            f"{agents} agents need as many presence requests every 20 seconds.",
            "Install the module in Synapse: docs/how-to/install-the-synapse-module.md.",
        )
    return passed(f"Not installed; {agents} agents do without it.")


CHECKS: Final = (ghost_devices, presence, presence_timeout, synapse_module)
