"""Fixtures of real parts: a PostgreSQL, an empty database, a Synapse."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

# At the end of the path: our folder alembic/ must not stand in front of the library of that name.
sys.path.append(str(Path(__file__).parents[1]))
# Many processes are started here, and each would compile the whole service for itself: a third of what its start costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A panic of vodozemac with a backtrace reads the symbols of its library: 50 MB, which the worker keeps.
os.environ.pop("RUST_BACKTRACE", None)

from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.realtime import redis_client
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts import allocator, compiled_statements, forked_processes, shared_files
from tests.parts import synapse_workers as synapse_workers_part
from tests.parts.browser import Browser, start_browser
from tests.parts.city import AGENTS, RunningCity, StartCity, template_for
from tests.parts.database_pool import DatabasePool
from tests.parts.federation import FederatedCity, StartFederation, linking, make_certificates
from tests.parts.matrix_user import Arrive, arriving
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.redis import RedisServer
from tests.parts.synapse import SERVER_NAME, BootSynapse, boot
from tests.parts.synapse_workers import BootWorkers, SynapseWorkers

# A busy machine makes examples late: neither a deadline nor the speed of generation says anything of the product.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# structlog's default prints the local variables of every frame of a traceback: 0.1 s of a processor for each that is logged.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
forked_processes.install()
allocator.return_freed_memory()
compiled_statements.install()


def pytest_collection_finish() -> None:
    """Exempt modules and collected tests from garbage collections, which took a tenth of the CPU time of in-process tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have all workers of this run share what is expensive to make."""
    own = tmp_path_factory.getbasetemp()
    shared_files.use_directory(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of this worker."""
    server = Postgres.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """An empty database with the city's tables; a copy costs a third of a migration."""
    name = postgres.create_database()
    asyncio.run(_migrate(postgres.url(name)))
    return name


@pytest.fixture(scope="session")
def database_pool(postgres: Postgres, postgres_template: str) -> Iterator[DatabasePool]:
    """Empty databases with the city's tables, which tests take in turns."""
    pool = DatabasePool(postgres, postgres_template)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    file = tmp_path_factory.mktemp("template") / "city.db"
    asyncio.run(_migrate(f"sqlite:///{file}"))
    return file


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate.upgrade(database)
    await database.close()


@pytest.fixture
def is_migrated() -> bool:
    """Whether a fresh database has its tables already; not where migrating is what is looked at."""
    return True


@pytest.fixture
def postgres_url(postgres: Postgres, is_migrated: bool, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database on PostgreSQL."""
    if is_migrated:
        pool: DatabasePool = request.getfixturevalue("database_pool")
        name = pool.take()
        yield postgres.url(name)
        pool.put_back(name)
        return
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path, is_migrated: bool, sqlite_template: Path) -> str:
    """A fresh database on SQLite."""
    file = tmp_path / "city.db"
    if is_migrated:
        shutil.copy(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest,
    is_migrated: bool,  # named for who parametrizes it: pytest does not see what is asked for by name below
) -> str:
    """A fresh database: the test runs once on SQLite and once on PostgreSQL."""
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_database_url(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with the city's tables for all tests of a module, which delete its rows or use rooms of their own."""
    if request.param == "sqlite":
        file = shutil.copy(sqlite_template, tmp_path_factory.mktemp("module") / "city.db")
        yield f"sqlite:///{file}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = postgres.create_database(request.getfixturevalue("postgres_template"))
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def redis_timeout_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """How long a command of a client in this process may take before Redis counts as unavailable, in seconds.

    A busy machine must not decide that, so it is longer than any pause; a test that suspends Redis asks for the product's.
    """
    monkeypatch.setattr(redis_client, "TIMEOUT_S", timeout_s := 60.0)
    return timeout_s


@pytest.fixture
def redis(tmp_path: Path, redis_timeout_s: float) -> Iterator[RedisServer]:
    """A fresh Redis, which keeps nothing on the disk."""
    yield from _redis(RedisServer(tmp_path / "redis"))


@pytest.fixture
def redis_cluster(tmp_path: Path, redis_timeout_s: float) -> Iterator[RedisServer]:
    """A fresh Redis cluster of one node: it takes what a large one takes, and refuses what that refuses."""
    yield from _redis(RedisServer(tmp_path / "redis", cluster=True))


def _redis(server: RedisServer) -> Iterator[RedisServer]:
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def synapse(tmp_path: Path) -> AsyncIterator[BootSynapse]:
    """Boots homeservers: ``await synapse(registration=…)``; they are gone when the test ends."""
    booted: list[LocalSynapse] = []
    numbers = itertools.count()  # two may be booted at once

    async def boot_another(
        *,
        registration: Path | None = None,
        server_name: str = SERVER_NAME,
        port: int | None = None,
        overrides: Mapping[str, object] | None = None,
        log_level: str = "WARNING",
        files: Path | None = None,
    ) -> LocalSynapse:
        homeserver = await boot(
            tmp_path / f"synapse-{next(numbers)}",
            registration=registration,
            server_name=server_name,
            port=port,
            overrides=overrides,
            log_level=log_level,
            files=files,
        )
        booted.append(homeserver)
        return homeserver

    yield boot_another
    for homeserver in booted:
        # Its data is not needed any more, so it needs no clean shutdown.
        homeserver.kill()


@pytest.fixture
async def start_city(tmp_path: Path, database_url: str, synapse: BootSynapse) -> AsyncIterator[StartCity]:
    """Starts a whole city, Synapse included: ``city = await start_city()``; once on each database.

    ``first`` is done when the homeserver is up and the service, which never ran, is not. Without it, a city may start
    from the template. ``boot`` is what boots the homeserver, if it is not
    the fixture ``synapse``: ``start_city(boot=synapse_workers)``.
    """
    started: list[RunningCity] = []

    async def start(
        *,
        homeserver: dict[str, Any] | None = None,
        settings: dict[str, str | float] | None = None,
        agents: str = AGENTS,
        first: Callable[[RunningCity], Awaitable[None]] | None = None,
        boot: Callable[..., Awaitable[LocalSynapse]] | None = None,
    ) -> RunningCity:
        template = None
        if boot is None and first is None:
            template = await template_for(homeserver=homeserver, settings=settings, agents=agents)
        city = await RunningCity.make(
            tmp_path / "city",
            database_url,
            boot or synapse,
            homeserver=homeserver,
            settings=settings,
            agents=agents,
            template=template,
        )
        started.append(city)
        if first is not None:
            await first(city)
        await city.start()
        return city

    yield start
    for city in started:
        await city.close()


@pytest.fixture(scope="session")
def synapse_template(postgres: Postgres) -> str:
    """A PostgreSQL database with Synapse's tables and nothing in them, for homeservers with workers."""
    return synapse_workers_part.make_template(postgres)


@pytest.fixture
async def synapse_workers(
    tmp_path: Path, postgres: Postgres, redis: RedisServer, synapse_template: str
) -> AsyncIterator[BootWorkers]:
    """Boots homeservers with workers: ``await synapse_workers(registration=…)``; they are gone when the test ends.

    With the city: ``city = await start_city(boot=synapse_workers)``; then ``city.homeserver`` is a `SynapseWorkers`, whose
    ``kill_processes("appservice")`` and ``start_processes("appservice")`` take any of `PROCESSES`. Redis is the fixture
    ``redis``, the city's too if its settings say so (Synapse uses no key that the city has). Six processes: about 5 s.
    """
    booted: list[tuple[SynapseWorkers, str]] = []

    async def boot_another(
        *,
        registration: Path | None = None,
        server_name: str = SERVER_NAME,
        port: int | None = None,
        overrides: Mapping[str, object] | None = None,
        log_level: str = "WARNING",
    ) -> SynapseWorkers:
        database = postgres.create_database(synapse_template)
        homeserver = synapse_workers_part.make(
            tmp_path / f"workers-{len(booted)}",
            postgres,
            redis,
            database,
            registration=registration,
            server_name=server_name,
            port=port,
            overrides=overrides,
            log_level=log_level,
        )
        booted.append((homeserver, database))
        await homeserver.start()
        return homeserver

    yield boot_another
    for homeserver, database in booted:
        await homeserver.close()
        postgres.drop_database(database)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates with which homeservers of the tests trust each other."""
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory)
    return directory


@pytest.fixture
async def start_federation(
    certificates: Path, start_city: StartCity, synapse: BootSynapse
) -> AsyncIterator[StartFederation]:
    r"""Starts a city and a second homeserver that federates with the city's: ``federation = await start_federation()``.

    ``federation.city`` is the `RunningCity`, ``federation.other`` the second `LocalSynapse`, and ``federation.link`` can be
    ``cut(from_here=…, from_there=…)`` and ``mend``\ ed. Server names are ``127.0.0.1:<port>``, so user ids have two colons.
    Takes what ``start_city`` takes; once on each database. People arrive by ``arrive(federation.other, "fay")``.
    """
    async with AsyncExitStack() as stack:

        async def start(
            *,
            homeserver: dict[str, Any] | None = None,
            settings: dict[str, str | float] | None = None,
            agents: str = AGENTS,
            first: Callable[[RunningCity], Awaitable[None]] | None = None,
        ) -> FederatedCity:
            link = await stack.enter_async_context(linking(certificates))
            wanted = dict(homeserver or {})
            here = link.here.options(free_port())
            here["overrides"] |= wanted.pop("overrides", {})
            async with asyncio.TaskGroup() as starts:
                city = starts.create_task(
                    start_city(homeserver=here | wanted, settings=settings, agents=agents, first=first)
                )
                other = starts.create_task(synapse(**link.there.options(free_port())))
            return FederatedCity(city.result(), other.result(), link)

        yield start


@pytest.fixture
async def arrive() -> AsyncIterator[Arrive]:
    """Brings people to a homeserver: ``alice = await arrive(city, "alice")``."""
    async with arriving() as arrive:
        yield arrive


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium: ``tab = await browser.open(url)``."""
    async with start_browser() as browser:
        yield browser
