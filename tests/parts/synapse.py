"""A real Synapse for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from daarion_appservice.ops.local_synapse import LocalSynapse
from daarion_appservice.ops.synapse_config import SynapseSetup
from tests.parts.ports import free_port

SERVER_NAME = "city.localhost"


class BootSynapse(Protocol):
    """What the fixture ``synapse`` gives: boots one more homeserver, stopped when the test ends."""

    async def __call__(
        self,
        *,
        registration: Path | None = None,
        server_name: str = SERVER_NAME,
        port: int | None = None,
        overrides: Mapping[str, object] | None = None,
        log_level: str = "WARNING",
    ) -> LocalSynapse: ...


async def boot(
    directory: Path,
    *,
    registration: Path | None = None,
    server_name: str = SERVER_NAME,
    port: int | None = None,
    overrides: Mapping[str, object] | None = None,
    log_level: str = "WARNING",
) -> LocalSynapse:
    """Boot a homeserver that keeps everything in ``directory``; the caller stops it."""
    setup = SynapseSetup(
        directory=directory,
        server_name=server_name,
        port=port or free_port(),
        registrations=[registration] if registration else [],
        overrides=overrides or {},
        log_level=log_level,
    )
    synapse = LocalSynapse(setup)
    await synapse.start()
    return synapse
