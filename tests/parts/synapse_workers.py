"""A Synapse with workers on PostgreSQL and Redis; each of its processes can be killed and started by name.

    main               everything that no other process takes
    generic1, generic2 the client API: rooms, `/sync`, profiles, registration
    persister          writes events
    presence           writes presence
    appservice         sends transactions to application services

In front of them stands a reverse proxy, which routes by path as Synapse's docs/workers.md says. A request that found a dead
generic worker goes to the other one, as nginx's ``proxy_next_upstream`` does; where no other process can answer, it is 502.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from aiohttp import web

from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.local_synapse import START_TIMEOUT_S, LocalSynapse
from daarion_appservice.demo.synapse_config import HOST, SynapseSetup
from tests.parts.http_proxy import HttpProxy
from tests.parts.ports import free_port
from tests.parts.postgres import SUPERUSER, Postgres
from tests.parts.redis import RedisServer
from tests.parts.synapse import CHEAP_PASSWORDS, SERVER_NAME

MAIN: Final = "main"
GENERIC: Final = ("generic1", "generic2")
PERSISTER: Final = "persister"
PRESENCE: Final = "presence"
APPSERVICE: Final = "appservice"
WORKERS: Final = (*GENERIC, PERSISTER, PRESENCE, APPSERVICE)
PROCESSES: Final = (MAIN, *WORKERS)

_CONNECTIONS: Final = 4
"""Of each process to PostgreSQL, at most: the server of the tests takes 100 in all."""
_CLIENT: Final = r"^/_matrix/client/(api/v1|r0|v3|v1|unstable)"
_TO_PRESENCE: Final = re.compile(rf"{_CLIENT}/presence/")
_TO_GENERIC: Final = re.compile(
    rf"{_CLIENT}/(sync|events|joined_rooms|publicRooms|createRoom|join/|knock/|profile/|account/whoami|login|register$|search"
    r"|rooms/[^/]+/(send|state|event|messages|members|joined_members|context|join|leave|invite|ban|unban|kick|redact"
    r"|relations|threads|hierarchy))|^/_matrix/client/versions$"
)


class BootWorkers(Protocol):
    """The type of the fixture ``synapse_workers``: boots one more such homeserver, killed when the test ends."""

    async def __call__(
        self,
        *,
        registration: Path | None = None,
        server_name: str = SERVER_NAME,
        port: int | None = None,
        overrides: Mapping[str, object] | None = None,
        log_level: str = "WARNING",
    ) -> SynapseWorkers: ...


class SynapseWorkers(LocalSynapse):
    """The main process is the parent class's own child; ``url`` is the proxy's."""

    def __init__(self, setup: SynapseSetup, worker_ports: Mapping[str, int], proxy_port: int) -> None:
        super().__init__(setup)
        self._worker_ports = worker_ports
        self.proxy = _Router(setup.port, worker_ports, proxy_port)
        """Sees every request of the client API; not those between Synapse's processes."""
        self._workers = {name: _worker(setup, name) for name in WORKERS}

    @property
    def url(self) -> str:
        return self.proxy.url

    @property
    def processes(self) -> Mapping[str, Child]:
        """Each process by its name, for tests that look at its log or its end."""
        return {MAIN: self.child, **self._workers}

    def launch(self) -> None:
        super().launch()
        for name, worker in self._workers.items():
            if not worker.running:
                _write_worker(self.setup, name, self._worker_ports[name])
                worker.start()

    async def answers(self, timeout_s: float = START_TIMEOUT_S) -> None:
        if not self.proxy.is_serving:
            await self.proxy.start()
        await super().answers(timeout_s)
        for name in WORKERS:
            await self._worker_answers(name, timeout_s)

    async def stop(self, grace_s: float = 10.0) -> None:
        for worker in self._workers.values():
            await worker.stop(grace_s)
        await super().stop(grace_s)

    def kill(self) -> None:
        """End all processes on the spot."""
        self.kill_processes(*PROCESSES)

    def kill_processes(self, *names: str) -> None:
        """End these processes with SIGKILL; they stay down until ``start_processes``."""
        for name in names:
            self.processes[name].kill()

    async def start_processes(self, *names: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start these processes and wait until they answer. Raises StartError."""
        for name in names:
            self.processes[name].start()
        for name in names:
            if name == MAIN:
                await super().answers(timeout_s)
            else:
                await self._worker_answers(name, timeout_s)

    async def close(self) -> None:
        """Kill everything and close the proxy: nothing of it is used again."""
        self.kill()
        if self.proxy.is_serving:
            await self.proxy.stop()

    async def _worker_answers(self, name: str, timeout_s: float) -> None:
        worker, url = self._workers[name], f"http://{HOST}:{self._worker_ports[name]}/health"
        try:
            async with asyncio.timeout(timeout_s):
                while not await _is_healthy(url):
                    assert worker.running, "\n".join([f"{name} ended while starting:", *worker.last_lines(30)])
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError("\n".join([f"{name} did not answer:", *worker.last_lines(30)])) from None


class _Router(HttpProxy):
    """Routes each request to the process that answers it."""

    def __init__(self, main_port: int, worker_ports: Mapping[str, int], port: int) -> None:
        super().__init__(main_port)
        self.port = port
        self.is_serving = False
        self._presence_port = worker_ports[PRESENCE]
        self._turns: Iterator[list[int]] = itertools.cycle(
            [[worker_ports[name] for name in order] for order in (GENERIC, GENERIC[::-1])]
        )

    async def start(self) -> None:
        await super().start()
        self.is_serving = True

    async def stop(self) -> None:
        self.is_serving = False
        await super().stop()

    def _ports(self, request: web.Request) -> list[int]:
        if _TO_PRESENCE.match(request.path):
            return [self._presence_port]
        if _TO_GENERIC.match(request.path):
            return next(self._turns)
        return [self.target_port]


def make_template(postgres: Postgres) -> str:
    """Make the database of an unused Synapse: workers refuse to start on one without tables. Takes 3 s."""
    name = postgres.create_database("template0")
    directory = Path(tempfile.mkdtemp(prefix="daarion-synapse-"))
    try:
        at_once = {"background_updates": {"sleep_enabled": False}, "database": _database(postgres, name)}
        setup = SynapseSetup(directory, SERVER_NAME, free_port(), overrides=at_once)
        asyncio.run(_run_until_updated(LocalSynapse(setup), postgres, name))
    finally:
        shutil.rmtree(directory)
    return name


async def _run_until_updated(synapse: LocalSynapse, postgres: Postgres, database: str) -> None:
    async with synapse:
        while postgres.execute("SELECT count(*) FROM background_updates", database) != "0":
            await asyncio.sleep(0.05)


def make(
    directory: Path,
    postgres: Postgres,
    redis: RedisServer,
    database: str,
    *,
    registration: Path | None = None,
    server_name: str = SERVER_NAME,
    port: int | None = None,
    overrides: Mapping[str, object] | None = None,
    log_level: str = "WARNING",
) -> SynapseWorkers:
    """Not started yet; ``port`` is the proxy's, and ``database`` one made from ``make_template``."""
    main_port, replication_port = free_port(), free_port()
    ports = {name: free_port() for name in WORKERS}
    shared: dict[str, object] = {
        "database": _database(postgres, database),
        "redis": {"enabled": True, "host": HOST, "port": redis.port},
        "listeners": [
            _listener(main_port, "client", "openid"),
            _listener(replication_port, "replication"),
        ],
        "instance_map": {
            "main": {"host": HOST, "port": replication_port},
            **{name: {"host": HOST, "port": ports[name]} for name in (PERSISTER, PRESENCE)},
        },
        "stream_writers": {"events": [PERSISTER], "presence": [PRESENCE]},
        "notify_appservices_from_worker": APPSERVICE,
    }
    setup = SynapseSetup(
        directory=directory,
        server_name=server_name,
        port=main_port,
        registrations=[registration] if registration else [],
        overrides=CHEAP_PASSWORDS | shared | dict(overrides or {}),
        log_level=log_level,
    )
    return SynapseWorkers(setup, ports, port or free_port())


def _database(postgres: Postgres, name: str) -> dict[str, object]:
    arguments: dict[str, Any] = {"user": SUPERUSER, "host": HOST, "port": postgres.port, "dbname": name}
    return {"name": "psycopg2", "args": arguments | {"cp_min": 1, "cp_max": _CONNECTIONS}}


def _listener(port: int, *names: str) -> dict[str, object]:
    resources = [{"names": list(names), "compress": False}]
    return {"port": port, "type": "http", "bind_addresses": [HOST], "resources": resources}


def _worker(setup: SynapseSetup, name: str) -> Child:
    configs = (str(setup.config.resolve()), str(_worker_config(setup, name).resolve()))
    command = python("synapse.app.generic_worker", *(part for config in configs for part in ("-c", config)))
    return Child(f"Synapse's {name}", command, setup.directory / f"{name}.log")


def _worker_config(setup: SynapseSetup, name: str) -> Path:
    return setup.directory / f"{name}.yaml"


def _write_worker(setup: SynapseSetup, name: str, port: int) -> None:
    resources = ["replication"] if name in {PERSISTER, APPSERVICE} else ["client", "replication"]
    lines = [
        "worker_app: synapse.app.generic_worker",
        f"worker_name: {name}",
        f"worker_log_config: {setup.directory.resolve() / 'log.yaml'}",
        "worker_listeners:",
        f"  - {{type: http, port: {port}, bind_addresses: [{HOST}], resources: [{{names: [{', '.join(resources)}]}}]}}",
    ]
    _worker_config(setup, name).write_text("\n".join(lines) + "\n")


async def _is_healthy(url: str) -> bool:
    try:
        async with aiohttp.request("GET", url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
