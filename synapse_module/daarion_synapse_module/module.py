"""The class that homeserver.yaml names: checks the version of Synapse and builds the parts."""

from __future__ import annotations

import logging
import re
import time
from typing import Any, Final

import synapse
from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError

from .lease_worker import LeaseWorker
from .leases import Leases
from .presence_writer import PresenceWriter, writes_presence
from .resource import PATH, PresenceResource
from .settings import Settings

logger = logging.getLogger(__name__)

OLDEST_SYNAPSE: Final = (1, 120)


class DaarionPresence:
    """The module. Synapse calls `parse_config`, and then creates an instance in each of its processes."""

    @staticmethod
    def parse_config(config: dict[str, Any]) -> Settings:
        """Return the settings. Raises ConfigError, which Synapse logs before it exits."""
        _check_version(synapse.__version__)
        return Settings.parse(config)

    def __init__(self, settings: Settings, api: ModuleApi) -> None:
        homeserver = api._hs  # noqa: SLF001 (the public API has neither presence nor application services)
        if not writes_presence(homeserver):
            logger.info("Another process writes presence and serves %s", PATH)
            return
        writer = PresenceWriter(homeserver)
        worker = LeaseWorker(Leases(settings.timeout_s), writer, monotonic=time.monotonic, sleep=api.sleep)
        store = homeserver.get_datastores().main
        api.register_web_resource(PATH, PresenceResource(settings, worker, api, store))
        api.looping_background_call(
            worker.refresh, writer.refresh_interval_s * 1000, desc="daarion_presence", run_on_all_instances=True
        )


def _check_version(version: str) -> None:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST_SYNAPSE:
        oldest = ".".join(map(str, OLDEST_SYNAPSE))
        raise ConfigError(f"daarion_synapse_module needs Synapse {oldest} or newer, and this is {version}")
