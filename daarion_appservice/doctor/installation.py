"""The installation under examination: its configuration, and clients of the parts around it, opened when first used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from ..city.identity import Identities
from ..city.media_links import MediaLinks
from ..city.types import UserId
from ..clock import now_ms
from ..config import Settings
from ..config import loading as config_file
from ..errors import StartError
from ..matrix.client.homeserver import Homeserver
from ..matrix.presence.timeout_probe import probe_user
from ..realtime.redis_client import Client, connect
from ..storage.database import Database
from ..storage.database_url import driver_url, sqlite_path
from ..storage.sqlite_file import check_exists

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 -- not bound here
"""The address at which a listener on all addresses is reached from this machine."""


SERVICE_ERRORS: Final = (aiohttp.ClientError, OSError, TimeoutError)
"""The exceptions of a request to a service that does not answer."""


class ServiceState(Enum):
    """What answers at the address of the matrix listener."""

    RUNNING = "running"
    ABSENT = "absent"
    OTHER_PROGRAM = "other program"


class Installation:
    """An installation of the service.

    Args:
        config: the configuration file.
        synapse_registration: Synapse's copy of the registration file, if the admin named it.
        environ: the environment variables that overlay the file.

    Attributes:
        config_error: why the configuration cannot be loaded; None if it was loaded.
    """

    def __init__(
        self, config: Path, synapse_registration: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.config = config
        self.synapse_registration = synapse_registration
        self.port_lock = asyncio.Lock()
        """Held by a check that binds a port of the service."""
        self.config_error: StartError | None = None
        self._settings: Settings | None = None
        try:
            self._settings = config_file.load(config, environ)
        except StartError as error:
            self.config_error = error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        opened = vars(self)
        if "homeserver" in opened:
            await self.homeserver.close()
        if "database" in opened:
            await self.database.close()
        if opened.get("redis") is not None:
            await opened["redis"].aclose()
        if "session" in opened:
            await self.session.close()

    @property
    def settings(self) -> Settings:
        """The settings. Raise StartError if they could not be loaded: checks that read them need the check ``config``."""
        if self._settings is None:
            assert self.config_error is not None
            raise self.config_error
        return self._settings

    @property
    def loaded_settings(self) -> Settings | None:
        """The settings, or None if they could not be loaded."""
        return self._settings

    @cached_property
    def homeserver(self) -> Homeserver:
        settings = self.settings
        as_token = settings.appservice.as_token.get_secret_value()
        return Homeserver(settings.homeserver.address, as_token, verify_tls=settings.homeserver.verify_tls)

    @cached_property
    def identities(self) -> Identities:
        settings = self.settings
        links = MediaLinks(settings.appservice.as_token.get_secret_value(), now_ms, all_are_private=True)
        return Identities(settings.homeserver.domain, settings.appservice.bot, links)

    @cached_property
    def database(self) -> Database:
        """The database. Raise StartError if it is a SQLite file that does not exist: the doctor creates none."""
        check_exists(self.database_file, self.config)
        return Database(self.settings.database.url, pool_size=1)

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database; None for PostgreSQL. Raise StartError if ``database.url`` is malformed."""
        return sqlite_path(driver_url(self.settings.database.url))

    @cached_property
    def redis(self) -> Client | None:
        """The Redis client, or None if no Redis is configured. Raise StartError if ``redis.url`` is malformed."""
        settings = self.settings.redis
        return connect(settings.url, cluster=settings.cluster) if settings.url else None

    @cached_property
    def session(self) -> aiohttp.ClientSession:
        """An HTTP client for the service's own listeners and its public address; it sends no token."""
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10, sock_connect=5))

    @property
    def matrix_url(self) -> URL:
        """The address of the matrix listener, from this machine."""
        matrix = self.settings.matrix
        return URL.build(scheme="http", host=_ANY_ADDRESS.get(matrix.host, matrix.host), port=matrix.port)

    @property
    def citizens_probe(self) -> UserId:
        """A user of the citizens' namespace that no citizen has, and that the service registers at each start."""
        return probe_user(self.identities.domain)

    @cached_property
    def _service_state(self) -> asyncio.Task[ServiceState]:
        return asyncio.create_task(self._examine_service())

    async def service_state(self) -> ServiceState:
        """Return whether the service answers at its matrix listener; asked once, before a check binds that port."""
        return await asyncio.shield(self._service_state)

    async def _examine_service(self) -> ServiceState:
        try:
            answer = await self.call_service("/healthz")
        except SERVICE_ERRORS:
            return ServiceState.ABSENT
        return ServiceState.RUNNING if answer == (200, {"status": "ok"}) else ServiceState.OTHER_PROGRAM

    async def call_service(self, path: str) -> tuple[int, Any]:
        """Return status and content of a GET request to the matrix listener.

        Raises:
            One of ``SERVICE_ERRORS``: the service does not answer.
        """
        # The listener answers 421 to names that the homeserver does not use.
        headers = {"Host": "localhost"}
        async with self.session.get(self.matrix_url.join(URL(path)), headers=headers) as response:
            is_json = response.content_type.endswith("json")
            return response.status, await (response.json(content_type=None) if is_json else response.text())
