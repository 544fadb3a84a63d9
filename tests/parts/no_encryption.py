"""The parts of encryption where it is off, for harnesses of other parts."""

from __future__ import annotations

from typing import cast

from prometheus_client import CollectorRegistry

from daarion_appservice.city.identity import Identities
from daarion_appservice.config.service_sections import EncryptionSettings
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.encryption.metrics import EncryptionMetrics
from daarion_appservice.storage.database import Database
from daarion_appservice.wiring.encryption import EncryptionParts


class _Monitor:
    def on_return(self, _: object) -> None: ...


async def _download(_mxc: str, _max_bytes: int) -> bytes | None:
    return None


def no_encryption(database: Database) -> EncryptionParts:
    """Return the parts, which make no request."""
    return EncryptionParts(
        EncryptionSettings(enabled=False),
        cast("Homeserver", None),
        database,
        Identities("city.localhost", "daarion_bot"),
        cast("HomeserverMonitor", _Monitor()),
        EncryptionMetrics(CollectorRegistry()),
        lambda _: None,
        download=_download,
        known_ghosts=list,
    )
