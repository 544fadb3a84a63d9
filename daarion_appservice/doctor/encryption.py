"""Checks of encrypted chats: the pickle key fits the database, agents have keys, no event waits for long."""

from __future__ import annotations

from typing import Final

from ..clock import now_ms
from ..matrix.encryption.agent_devices import agent_devices
from ..matrix.encryption.stored_keys import check_stored_keys
from ..storage import migrate
from .checks import check
from .findings import Finding, listed, passed, skipped, warning
from .installation import Installation
from .service import is_running

_LATE_MS: Final = 3_600_000


@check(
    needs=("config", "database_schema"),
    symptoms=("The service does not start, with exit code 3.",),
)
async def pickle_key(installation: Installation) -> Finding:
    """`encryption.pickle_key` is the key of the encryption keys in the database.

    Fails if it is another one or empty; the service does not start then.
    """
    encryption = installation.settings.encryption
    if not encryption.enabled:
        return skipped("encryption.enabled is false.")
    if await migrate.current(installation.database) != migrate.head():
        return skipped("The database is not migrated yet.")
    await check_stored_keys(installation.database, encryption)
    return passed("It reads them." if encryption.is_on else "There is neither a key nor anything to read.")


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


CHECKS: Final = (pickle_key, encryption_devices)
