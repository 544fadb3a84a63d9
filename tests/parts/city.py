"""The service as a child process beside a real Synapse, as in production."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import aiohttp
import jwt

from daarion_appservice.city.tokens import new_token
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.ports import HOST
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts import city_template, forked_processes, shared_files
from tests.parts.city_template import CityTemplate
from tests.parts.config_file import new_tokens, secrets_of, write_config
from tests.parts.ports import free_port
from tests.parts.synapse import SERVER_NAME, boot
from tests.parts.waiting import WAIT_S

JWT_SECRET = "a secret that only this test and its city know"
ADMIN_TOKEN = "an admin token that only this test and its city know"

LONG_PRESENCE: dict[str, str | float] = {"presence.ttl_s": 1200.0}
"""Settings of a city whose agents stay online after one heartbeat, however long a test takes on a busy machine."""

T = TypeVar("T")

AGENTS = """
agents:
  - slug: daarwizz
    display_name: DAARWIZZ
    title: Orchestrator
    microdao: daarion
    role: orchestrator
    rooms: [general]
  - slug: scribe
    display_name: Писар
    rooms: [general, builders]
"""


class StartCity(Protocol):
    """The type of the fixture ``start_city``."""

    async def __call__(
        self,
        *,
        homeserver: dict[str, Any] | None = None,
        settings: dict[str, str | float] | None = None,
        agents: str = AGENTS,
        first: Callable[[RunningCity], Awaitable[None]] | None = None,
        boot: Callable[..., Awaitable[LocalSynapse]] | None = None,
    ) -> RunningCity: ...


@dataclass(frozen=True)
class Command:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


@dataclass
class RunningCity:
    """A Synapse and the service; ``homeserver`` and ``service`` can be killed and started again."""

    directory: Path
    database_url: str
    homeserver: LocalSynapse
    api_port: int
    matrix_port: int
    config_name: str = "config.yaml"
    service: Child = field(init=False)
    session: aiohttp.ClientSession = field(init=False)

    @classmethod
    async def make(
        cls,
        directory: Path,
        database_url: str,
        boot: Callable[..., Awaitable[LocalSynapse]],
        *,
        homeserver: dict[str, Any] | None,
        settings: dict[str, str | float] | None,
        agents: str,
        template: CityTemplate | None = None,
    ) -> RunningCity:
        """Write configuration and registration, and boot the homeserver; with a template both have its stored state."""
        directory.mkdir(exist_ok=True)
        config = directory / "config.yaml"
        boot_with = {"port": free_port()} | (homeserver or {})
        settings = settings or {}
        api_port, matrix_port = free_port(), int(settings.get("matrix.port") or free_port())
        wanted: dict[str, str | float] = {
            "homeserver.address": f"http://{HOST}:{boot_with['port']}",
            "homeserver.domain": boot_with.get("server_name", SERVER_NAME),
            "appservice.address": f"http://{HOST}:{matrix_port}",
            "api.port": api_port,
            "matrix.port": matrix_port,
            "database.url": database_url,
            "api.jwt.secret": JWT_SECRET,
            "api.admin_token": ADMIN_TOKEN,
        }
        write_config(config, (template.secrets if template else new_tokens()) | wanted | settings)
        config.write_text(config.read_text().replace("\nagents: []\n", agents))
        registration_file.generate(config_file.load(config), config)
        if template is not None:
            template.restore_database(database_url)
            boot_with["files"] = template.homeserver
        synapse = await boot(registration=directory / "registration.yaml", **boot_with)
        city = cls(directory, database_url, synapse, api_port, matrix_port)
        city.service = city.another_service("city")
        city.session = aiohttp.ClientSession()
        return city

    def replica(self, name: str, *, matrix_port: int | None = None) -> RunningCity:
        """Another process of the same city, on ports of its own; to be started, and to be closed."""
        other = RunningCity(
            self.directory,
            self.database_url,
            self.homeserver,
            free_port(),
            matrix_port or free_port(),
            config_name=f"{name}.yaml",
        )
        other.config.write_text(self.config.read_text())
        config_edit.set_values(other.config, {"api.port": other.api_port, "matrix.port": other.matrix_port})
        other.service = other.another_service(name)
        other.session = aiohttp.ClientSession()
        return other

    @property
    def config(self) -> Path:
        return self.directory / self.config_name

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.api_port}"

    @property
    def matrix_url(self) -> str:
        return f"http://{HOST}:{self.matrix_port}"

    def another_service(self, name: str) -> Child:
        return Child(name, python("daarion_appservice", "run", "-c", str(self.config)), self.directory / f"{name}.log")

    async def start(self) -> None:
        self.service.start()
        await self.ready()

    async def ready(self) -> None:
        await eventually(self._is_ready, explain=lambda: "\n".join(self.service.last_lines(60)))

    async def command(self, *words: str) -> Command:
        """Run one of the product's commands on this city, as its admin would."""
        with TemporaryDirectory(dir=self.directory) as directory:
            output, errors = Path(directory) / "output", Path(directory) / "errors"
            output.touch()
            errors.touch()
            process = forked_processes.launch_command([*words, "-c", str(self.config)], output, errors)
            while (code := process.poll()) is None:
                await asyncio.sleep(0.02)
            return Command(code, output.read_text(), errors.read_text())

    async def close(self) -> None:
        self.service.kill()
        await self.session.close()

    async def _is_ready(self) -> bool:
        assert self.service.running, "\n".join(self.service.last_lines(60))
        try:
            async with self.session.get(f"{self.matrix_url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    # --- its API --------------------------------------------------------------------------------------

    async def call(
        self, method: str, path: str, content: Any = None, *, token: str | None = None, url: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.request(method, (url or self.api_url) + path, json=content, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str, *, token: str | None = None) -> Any:
        status, content = await self.call("GET", path, token=token)
        assert status == 200, content
        return content

    async def post(self, path: str, content: Any = None, *, token: str | None = None) -> Any:
        status, answer = await self.call("POST", path, content or {}, token=token)
        assert status in {200, 201}, answer
        return answer

    async def bodies(self, room: str = "general", *, token: str | None = None) -> list[str]:
        """Return the bodies of a room's readable messages, oldest first."""
        return [message["body"] for message in await self.get(f"/city/rooms/{room}/messages?limit=200", token=token)]

    async def agent_token(self, slug: str) -> str:
        """A new token, put into the database as the command line does."""
        database = Database(self.database_url)
        try:
            await migrate.upgrade(database)
            made = new_token(new_id())
            async with database.transaction() as tx:
                agent = await tx.agents.by_slug(slug)
                assert agent is not None
                await tx.agents.add_token(made.id, agent, made.secret_sha256, now_ms=now_ms())
        finally:
            await database.close()
        return made.text


@asynccontextmanager
async def shared_city(
    directory: Path,
    database_url: str = "",
    *,
    homeserver: dict[str, Any] | None = None,
    settings: dict[str, str | float] | None = None,
    agents: str = AGENTS,
    first: Callable[[RunningCity], Awaitable[None]] | None = None,
    is_started: bool = True,
) -> AsyncIterator[RunningCity]:
    """A city for all tests of a module, on SQLite by default.

    Each test has rooms, agents or people of its own there, and leaves the city running. With ``is_started`` false only the
    homeserver runs at first. It starts from the template where it can, if ``first`` is not given.
    """
    url = database_url or f"sqlite:///{directory / 'city.db'}"
    template = None if first else await template_for(homeserver=homeserver, settings=settings, agents=agents)
    city = await RunningCity.make(
        directory / "city",
        url,
        booting_in(directory / "synapse"),
        homeserver=homeserver,
        settings=settings,
        agents=agents,
        template=template,
    )
    try:
        if first is not None:
            await first(city)
        if is_started:
            await city.start()
        yield city
    finally:
        await city.close()
        city.homeserver.kill()


def booting_in(directory: Path) -> Callable[..., Awaitable[LocalSynapse]]:
    """Return what boots a homeserver with its files in ``directory``."""

    async def boot_here(**options: Any) -> LocalSynapse:
        return await boot(directory, **options)

    return boot_here


async def template_for(
    *, homeserver: dict[str, Any] | None, settings: dict[str, str | float] | None, agents: str
) -> CityTemplate | None:
    """Return the template of cities with the default agents, or None if this city needs a first start.

    Made once in a test run.
    """
    if agents != AGENTS or not city_template.is_suitable(settings or (), homeserver or ()):
        return None
    directory = await shared_files.made_once("city", _make_template)
    return CityTemplate(directory / "synapse", directory / "city.db", secrets_of(directory / "city" / "config.yaml"))


async def _make_template(directory: Path) -> None:
    city = await RunningCity.make(
        directory / "city",
        f"sqlite:///{directory / 'city.db'}",
        booting_in(directory / "synapse"),
        homeserver=None,
        settings=None,
        agents=AGENTS,
    )
    try:
        await city.start()
        await city.service.stop()
        await city.homeserver.stop()
    finally:
        await city.close()
        city.homeserver.kill()


def citizen_token(sub: str, name: str | None = None, **claims: Any) -> str:
    """A JWT as the city's sign-in makes it."""
    return jwt.encode(
        {"sub": sub, "exp": int(time.time()) + 7200} | ({"name": name} if name else {}) | claims, JWT_SECRET, "HS256"
    )


async def eventually(
    condition: Callable[[], Awaitable[T]],
    timeout_s: float = WAIT_S,
    explain: Callable[[], str] = lambda: "",
    *,
    interval_s: float = 0.05,
) -> T:
    """Wait until ``condition`` returns a true value, and return it."""
    last: T | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while not (last := await condition()):
                await asyncio.sleep(interval_s)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s; last seen: {last!r}\n{explain()}") from None
    return last
