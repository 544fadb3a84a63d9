"""What homeserver.yaml names: checks whether this Synapse will do, and puts the parts together."""

from __future__ import annotations

import logging
import re
import time
from typing import Any, Final

import synapse
from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError

from .keeper import Keeper
from .leases import Leases
from .presence_writer import PresenceWriter, writes_presence
from .resource import PATH, PresenceResource
from .settings import Settings

logger = logging.getLogger(__name__)

OLDEST_SYNAPSE: Final = (1, 120)


class DaarionPresence:
    @staticmethod
    def parse_config(config: dict[str, Any]) -> Settings:
        """Raises ConfigError, which Synapse shows when it then refuses to start."""
        _check_version(synapse.__version__)
        return Settings.parse(config)

    def __init__(self, settings: Settings, api: ModuleApi) -> None:
        homeserver = api._hs  # noqa: SLF001 (the public API reads no presence and knows no application services)
        if not writes_presence(homeserver):
            logger.info("Presence is written by another process; %s is served there", PATH)
            return
        writer = PresenceWriter(homeserver)
        keeper = Keeper(Leases(settings.timeout_s), writer, monotonic=time.monotonic, sleep=api.sleep)
        store = homeserver.get_datastores().main
        api.register_web_resource(PATH, PresenceResource(settings, keeper, api, store))
        api.looping_background_call(
            keeper.see_to_all, writer.keep_every_s * 1000, desc="daarion_presence", run_on_all_instances=True
        )


def _check_version(version: str) -> None:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST_SYNAPSE:
        oldest = ".".join(map(str, OLDEST_SYNAPSE))
        raise ConfigError(f"daarion_synapse_module needs Synapse {oldest} or newer, and this is {version}")
