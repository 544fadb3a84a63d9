"""Checks of encrypted chats: switched on, the pickle key fits the database, agents have keys, no event waits for long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..clock import now_ms
from ..config import loading as config_file
from ..matrix.encryption.agent_devices import agent_devices
from ..matrix.encryption.stored_keys import check_stored_keys
from .checks import check
from .findings import Finding, listed, passed, skipped, warning
from .installation import Installation
from .service import is_running, service_parts

_LATE_MS: Final = 3_600_000


@check(
    needs=("config",),
    symptoms=("Agents cannot read encrypted chats, and say so there.",),
)
async def encryption(installation: Installation) -> Finding:
    """Encryption of direct chats is ready, or switched off.

    Warns if it is enabled and has no key, or if the homeserver refused the device keys of a ghost of the running service.
    """
    settings = installation.settings
    if found := config_file.encryption_cautions(settings):
        return warning(
            f"{listed(found)}.", "Do so, then restart the service; docs/how-to/encrypted-chats.md says what it means."
        )
    if not settings.encryption.is_on:
        return skipped("encryption.enabled is false.")
    return judge_encryption((await service_parts(installation)).get("encryption"))


def judge_encryption(part: Mapping[str, Any] | None) -> Finding:
    """Judge the part ``encryption`` of the running service, or None if it does not run."""
    if part is not None and part["status"] != "ok":
        return warning(
            f"Agents cannot read encrypted chats: {part['detail']}.",
            "Upgrade to Synapse 1.141 or later, or set encryption.enabled to false.",
        )
    return passed("On" if part is None else f"On; this process: {part['detail']}")


@check(
    needs=("config", "database_schema"),
    symptoms=("The service does not start, with exit code 3.",),
)
async def pickle_key(installation: Installation) -> Finding:
    """`encryption.pickle_key` is the key of the encryption keys in the database.

    Fails if it is another one or empty; the service does not start then.
    """
    settings = installation.settings.encryption
    if not settings.enabled:
        return skipped("encryption.enabled is false.")
    await check_stored_keys(installation.database, settings)
    return passed("It reads them." if settings.is_on else "There is neither a key nor anything to read.")


@check(
    needs=("encryption", "pickle_key"),
    symptoms=(
        "An agent does not answer in an encrypted chat.",
        "Clients show a red shield at an agent's messages.",
    ),
)
async def encryption_devices(installation: Installation) -> Finding:
    """Each agent has its encryption keys on the homeserver, and no event waits for its key for more than an hour."""
    if not installation.settings.encryption.is_on:
        return skipped("Encryption is off.")
    async with installation.database.read_only() as tx:
        agents = await agent_devices(tx, installation.identities)
        totals = await tx.encryption_overview.totals()
    missing: list[str] = [each.agent for each in agents if each.device is None or not each.device.is_uploaded]
    if missing and not await is_running(installation):
        return skipped("The service gives agents their keys, and does not run.")
    if missing:
        return warning(
            f"{listed(missing)}: no encryption keys on the homeserver.",
            "The service makes them after its start; if it does not, its log says why: encryption_unsupported, "
            "encryption_device_failed.",
        )
    if totals.oldest_waiting_ms is not None and now_ms() - totals.oldest_waiting_ms > _LATE_MS:
        return warning(
            f"{totals.waiting_events} event(s) wait for their key, one for more than an hour.",
            "The sender's device is offline or refuses the key; after a day they are given up. `daarion-appservice encryption "
            "status` shows the agents of these chats.",
        )
    return passed(f"{len(agents)} agent(s) have keys; {totals.waiting_events} event(s) wait for theirs.")


CHECKS: Final = (encryption, pickle_key, encryption_devices)
