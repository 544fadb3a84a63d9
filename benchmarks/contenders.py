"""The servers under test: this service and its peers, each in its own process, with a control connection for changes."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jwt
import orjson
from sqlalchemy import insert

from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.key_values import registry_changed
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import SERVER_NAME

from . import wire
from .processes import listening, program

SERVICE_TOKEN: Final = "what the benchmark proves itself with"
JWT_SECRET: Final = "a secret that only this benchmark and its city know"
SOCKET_PATH: Final = "/ws/city/presence"

_TTL_S: Final = 1200.0
"""No session may expire during the turn of another server; the cost of expiry is measured with the store alone."""
_ROWS_AT_ONCE: Final = 5000
_NO_LIMITS: Final = dict.fromkeys(
    ("limits.reads", "limits.messages", "limits.changes", "limits.socket_events", "limits.typing"), ""
)
"""Rate limits are off: they would limit the load."""


class Contender(ABC):
    """A server under test: started, then read by WebSockets at ``port``, to which it sends the changes made."""

    key: str
    """The name of the server in results."""
    greeting = b""
    """The first frame of a client, in bytes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.child: Child
        self._change_transport: asyncio.Transport | None = None
        """The transport on which changes of presence are sent."""

    async def start(self) -> None:
        self.child.start()
        await listening(self.child, self.port)

    def stop(self) -> None:
        if self._change_transport is not None:
            self._change_transport.abort()
        self.child.kill()

    def request(self) -> bytes:
        """Return the request that opens a WebSocket."""
        return wire.upgrade(SOCKET_PATH)

    @abstractmethod
    async def be_ready(self) -> None:
        """Open the connections that ``change`` needs."""

    @abstractmethod
    def change(self, first: int, count: int) -> None:
        """Change the presence of ``count`` subjects, from number ``first`` on; return at once."""


class City(Contender):
    """This service. Without a homeserver at its configured address it serves the city all the same."""

    start_s = 0.0
    """The time from its start until it listened, in seconds."""

    def __init__(
        self,
        directory: Path,
        *,
        agents: int,
        redis_url: str = "",
        batch: bool = False,
        homeserver: int = 0,
        ttl_s: float = _TTL_S,
        postgres_url: str = "",
        core_url: str = "",
    ) -> None:
        """Configure the service.

        Args:
            homeserver: port of a Synapse, where the agents are ghosts in the room General; 0 for none.
            postgres_url: the database; SQLite without it.
            core_url: the agents core, for replies of the agents.
        """
        super().__init__()
        self.key = (
            ("city_redis" if redis_url else "city")
            + ("_batch" if batch else "")
            + ("_postgres" if postgres_url else "")
        )
        self.database_url = postgres_url or f"sqlite:///{directory / self.key / 'city.db'}"
        self._directory = directory / self.key
        self._agents = agents
        self._redis_url = redis_url
        self._batch = batch
        self._homeserver = homeserver
        self._core_url = core_url
        self._ttl_s = ttl_s
        self.matrix_port = free_port()
        self._is_online = bytearray(agents)
        self.child = Child(
            self.key, python("daarion_appservice", "run", "-c", str(self._config)), self._directory / "log.txt"
        )

    @property
    def _config(self) -> Path:
        return self._directory / "config.yaml"

    def request(self) -> bytes:
        return wire.upgrade(f"{SOCKET_PATH}?batch=1" if self._batch else SOCKET_PATH)

    def request_of(self, citizen: str) -> bytes:
        """Return the request that opens a WebSocket for a citizen, who may send heartbeats over it."""
        return wire.upgrade(f"{SOCKET_PATH}?batch=1", self.token_of(citizen))

    def token_of(self, citizen: str) -> str:
        """Return a token of a citizen, valid for an hour."""
        return jwt.encode({"sub": citizen, "exp": int(time.time()) + 3600}, JWT_SECRET, "HS256")

    @property
    def registration(self) -> Path:
        """The registration file for the homeserver, written by ``prepare``."""
        return self._directory / "registration.yaml"

    @property
    def as_token(self) -> str:
        return config_file.load(self._config).appservice.as_token.get_secret_value()

    @property
    def hs_token(self) -> str:
        return config_file.load(self._config).appservice.hs_token.get_secret_value()

    async def prepare(self) -> None:
        """Write the configuration and the registration, and insert the agents into the database."""
        self._directory.mkdir(parents=True)
        config_edit.generate(self._config)
        config_edit.set_values(self._config, self._settings())
        registration_file.generate(config_file.load(self._config), self._config)
        await self._register_agents()

    def configure(self, values: Mapping[str, str | float]) -> None:
        """Change the configuration that ``prepare`` has written; the keys are like `api.port`."""
        config_edit.set_values(self._config, dict(values))

    async def start(self) -> None:
        if not self._directory.exists():
            await self.prepare()
        began_s = time.monotonic()
        await super().start()
        self.start_s = time.monotonic() - began_s

    def _settings(self) -> dict[str, str | float]:
        redis: dict[str, str | float] = {"redis.url": self._redis_url} if self._redis_url else {}
        core: dict[str, str | float] = {"agents_core.url": self._core_url} if self._core_url else {}
        return (redis | core) | {
            "homeserver.address": f"http://{HOST}:{self._homeserver or free_port()}",
            "homeserver.domain": SERVER_NAME,
            "appservice.address": f"http://{HOST}:{self.matrix_port}",
            "api.port": self.port,
            "api.service_token": SERVICE_TOKEN,
            "api.jwt.secret": JWT_SECRET,
            "matrix.port": self.matrix_port,
            "database.url": self.database_url,
            "presence.ttl_s": self._ttl_s,
            **_NO_LIMITS,
        }

    async def _register_agents(self) -> None:
        """Insert all agents in one transaction: the command line adds one at a time."""
        rooms = '["general"]' if self._homeserver else "[]"
        rows = [
            {"id": slug(n), "slug": slug(n), "display_name": f"Agent {n}", "rooms": rooms, "created_at_ms": 0}
            for n in range(self._agents)
        ]
        database = Database(self.database_url)
        try:
            await migrate.upgrade(database)
            async with database.transaction() as tx:
                for start in range(0, len(rows), _ROWS_AT_ONCE):
                    await tx.connection.execute(insert(tables.agents), rows[start : start + _ROWS_AT_ONCE])
                await registry_changed(tx.connection)
        finally:
            await database.close()

    async def be_ready(self) -> None:
        if (
            self._change_transport is None or self._change_transport.is_closing()
        ):  # the service closes a connection that is idle
            self._line = await wire.HttpConnection.open(self.port)
            self._change_transport = self._line.transport

    def change(self, first: int, count: int) -> None:
        beats = [self._change_of(number % self._agents) for number in range(first, first + count)]
        self._line.post("/api/v1/agents/heartbeats", orjson.dumps({"heartbeats": beats}), SERVICE_TOKEN)

    def _change_of(self, number: int) -> dict[str, str]:
        self._is_online[number] = not self._is_online[number]
        return {"agent_id": slug(number), "status": "online" if self._is_online[number] else "away"}


class Seeds(Contender):
    """The naive design, which broadcasts every heartbeat, whether it changes anything or not."""

    key = "seeds"

    def __init__(self, directory: Path, *, redis_url: str) -> None:
        super().__init__()
        self.child = program("seeds", "benchmarks.peers.seeds", self.port, redis_url, log=directory / "seeds.log")

    async def be_ready(self) -> None:
        self._socket = await wire.Socket.open(self.port, self.request(), _ignore)
        self._change_transport = self._socket.transport

    def change(self, first: int, count: int) -> None:
        self._socket.transport.write(b"".join(wire.client_frame(beat(n)) for n in range(first, first + count)))


class SocketIo(Contender):
    """python-socketio with one ``emit`` for each change."""

    key = "socketio"
    greeting = b"40"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.child = program("socketio", "benchmarks.peers.socketio_city", self.port, log=directory / "socketio.log")

    def request(self) -> bytes:
        return wire.upgrade("/socket.io/?EIO=4&transport=websocket")

    async def be_ready(self) -> None:
        self._socket = await wire.Socket.open(self.port, self.request(), _ignore, greeting=self.greeting)
        self._change_transport = self._socket.transport

    def change(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self._socket.say(b'42["presence.heartbeat",%b]' % beat(number))


class Floor(Contender):
    """Bare transports that forward given changes in the same bytes as this service."""

    key = "floor"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._control_port = free_port()
        self.child = program(
            "floor", "benchmarks.peers.floor", self.port, self._control_port, log=directory / "floor.log"
        )

    async def be_ready(self) -> None:
        loop = asyncio.get_running_loop()
        self._change_transport, _ = await loop.create_connection(asyncio.Protocol, HOST, self._control_port)

    def change(self, first: int, count: int) -> None:
        assert self._change_transport is not None
        self._change_transport.write(b"".join(update(number) + b"\n" for number in range(first, first + count)))


def slug(number: int) -> str:
    return f"a{number}"


def beat(number: int) -> bytes:
    return b'{"event":"presence.heartbeat","user_id":"agent:a%d"}' % number


def update(number: int) -> bytes:
    """Return an update of the same length as this service's."""
    fields = {"user_id": f"agent:{slug(number)}", "status": "online", "status_msg": None, "last_active_ago_ms": 0}
    return orjson.dumps({"event": "presence.update", **fields, "seq": 1_700_000_000_000_000 + number})


def _ignore(_data: bytes) -> None:
    """Ignore the bytes that a sending socket receives."""
