"""A start that cannot succeed says what is wrong and what to do, ends with a code of its own, and prints no traceback."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.synapse_config import SynapseSetup
from daarion_appservice.errors import ExitCode
from daarion_appservice.matrix.client import registration_file
from tests.parts.city import AGENTS, JWT_SECRET, RunningCity, citizen_token, eventually
from tests.parts.http_proxy import HttpProxy
from tests.parts.ports import HOST, free_port
from tests.parts.redis import RedisServer
from tests.parts.synapse import SERVER_NAME, BootSynapse, boot

END_S = 60.0


@dataclass(frozen=True)
class Ended:
    code: int
    stderr: str
    """The output on standard error."""


@dataclass(frozen=True)
class StartupHarness:
    """A Synapse and a valid configuration, of which each test makes an invalid copy."""

    directory: Path
    homeserver: LocalSynapse

    def config(self, directory: Path, wrong: Mapping[str, str | float]) -> Path:
        copy = directory / "config.yaml"
        copy.write_text((self.directory / "config.yaml").read_text())
        copy.chmod(0o600)
        config_edit.set_values(copy, {"api.port": free_port(), **wrong})
        return copy


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartupHarness]:
    directory = tmp_path_factory.mktemp("town")
    matrix_port, homeserver_port = free_port(), free_port()
    config = configured(
        directory,
        {
            "homeserver.address": f"http://{HOST}:{homeserver_port}",
            "appservice.address": f"http://{HOST}:{matrix_port}",
            "matrix.port": matrix_port,
        },
    )
    homeserver = asyncio.run(
        boot(directory / "synapse", registration=config.with_name("registration.yaml"), port=homeserver_port)
    )
    yield StartupHarness(directory, homeserver)
    homeserver.kill()


def configured(directory: Path, values: Mapping[str, str | float]) -> Path:
    """Write a default configuration with these values, and its registration."""
    config = directory / "config.yaml"
    config_edit.generate(config)
    ports = {"api.port": free_port(), "matrix.port": free_port()}
    config_edit.set_values(config, {**ports, "homeserver.domain": SERVER_NAME, **values})
    registration_file.generate(config_file.load(config), config)
    return config


async def start(config: Path) -> Ended:
    """Run ``daarion-appservice run`` until it ends."""
    process = await asyncio.create_subprocess_exec(
        *python("daarion_appservice", "run", "-c", str(config)), cwd=config.parent, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(END_S):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    stderr = err.decode()
    assert "Traceback" not in stderr, stderr
    return Ended(process.returncode, stderr)


def assert_output(ended: Ended, code: ExitCode, problem: str, advice: str) -> None:
    """Check that the output ends with the problem and the advice."""
    assert ended.code == code, ended.stderr
    what, _, what_to_do = ended.stderr.rpartition("\n-> ")
    assert problem in what.rpartition("\n2")[2], ended.stderr
    assert advice in what_to_do, ended.stderr


# --- the configuration --------------------------------------------------------------------------------


async def test_missing_config_names_generate_command(tmp_path: Path) -> None:
    config = tmp_path / "city.yaml"
    ended = await start(config)
    assert_output(
        ended,
        ExitCode.CONFIG,
        f"There is no configuration at {config}",
        f"`daarion-appservice config generate -c {config}`",
    )


async def test_unknown_key_is_shown_with_line_and_suggestion(tmp_path: Path) -> None:
    config = configured(tmp_path, {})
    config.write_text(config.read_text() + "databse:\n  url: sqlite:///city.db\n")
    ended = await start(config)
    line = len(config.read_text().splitlines()) - 1
    assert_output(
        ended,
        ExitCode.CONFIG,
        f"{config}:{line}: databse is not a key; did you mean database?",
        "config check",
    )


async def test_missing_tokens_name_generate_command(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config_edit.generate(config)
    config_edit.set_values(config, {"homeserver.domain": SERVER_NAME})
    ended = await start(config)
    assert_output(ended, ExitCode.REGISTRATION, "appservice.as_token is not set", "registration generate")


# --- this machine -------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", ["api", pytest.param("matrix", marks=pytest.mark.soak)])
async def test_port_in_use_is_named_with_its_key(tmp_path: Path, listener: str) -> None:
    async with serving({}) as taken:
        config = configured(tmp_path, {f"{listener}.port": taken})
        ended = await start(config)
    assert_output(
        ended,
        ExitCode.PORT,
        f"The {listener} listener cannot have {HOST}:{taken}: another program uses the port.",
        f"{listener}.port",
    )


async def test_newer_database_is_refused_unchanged(tmp_path: Path) -> None:
    database = tmp_path / "city.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999_of_the_future')")
        before = list(connection.iterdump())
    connection.close()
    ended = await start(configured(tmp_path, {"database.url": f"sqlite:///{database}"}))
    assert_output(ended, ExitCode.DATABASE, "newer daarion-appservice: its revision is 9999_of_the_future", "Install")
    assert "backup" in ended.stderr
    with sqlite3.connect(database) as connection:
        assert list(connection.iterdump()) == before
    connection.close()


@pytest.mark.parametrize(
    "place",
    [
        "missing",
        pytest.param("below a file", marks=pytest.mark.soak),
        pytest.param("not writable", marks=pytest.mark.soak),
    ],
)
async def test_read_only_database_names_required_permission(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    directory = {
        "missing": tmp_path / "missing",
        "below a file": tmp_path / "file",
        # Permissions do not stop root, but nobody can make a file there.
        "not writable": Path("/proc/self" if os.geteuid() == 0 else "/"),
    }[place]
    ended = await start(configured(tmp_path, {"database.url": f"sqlite:///{directory / 'city.db'}"}))
    assert_output(
        ended,
        ExitCode.DATABASE,
        f"The database sqlite:///{directory / 'city.db'} cannot be used",
        "its directory exists and that this user may write to it",
    )


async def test_unreachable_postgresql_is_named_without_password(tmp_path: Path) -> None:
    port = free_port()
    ended = await start(configured(tmp_path, {"database.url": f"postgresql://city:very-secret@{HOST}:{port}/city"}))
    assert_output(ended, ExitCode.DATABASE, f"{HOST}:{port}/city cannot be used", "Check that PostgreSQL runs there")
    assert "very-secret" not in ended.stderr


# --- the homeserver -----------------------------------------------------------------------------------


async def test_wrong_as_token_refers_to_registration_check(harness: StartupHarness, tmp_path: Path) -> None:
    ended = await start(harness.config(tmp_path, {"appservice.as_token": "another-token-than-that"}))
    assert_output(
        ended, ExitCode.HOMESERVER_REFUSED, "Synapse does not accept the as_token (M_UNKNOWN_TOKEN)", "homeserver.yaml"
    )
    assert "another-token-than-that" not in ended.stderr


async def test_wrong_hs_token_differs_from_wrong_as_token(harness: StartupHarness, tmp_path: Path) -> None:
    ended = await start(harness.config(tmp_path, {"appservice.hs_token": "another-token-than-that"}))
    assert_output(
        ended,
        ExitCode.HOMESERVER_REFUSED,
        "Synapse reaches the service, but sends another hs_token than the configured one.",
        "registration check",
    )
    assert "another-token-than-that" not in ended.stderr


async def test_wrong_domain_is_shown_with_right_one(harness: StartupHarness, tmp_path: Path) -> None:
    ended = await start(harness.config(tmp_path, {"homeserver.domain": "city.example"}))
    assert_output(
        ended,
        ExitCode.HOMESERVER_REFUSED,
        f"This Synapse is {SERVER_NAME}, but homeserver.domain says city.example.",
        f"Set homeserver.domain to {SERVER_NAME}",
    )


async def test_unknown_bot_is_reported(harness: StartupHarness, tmp_path: Path) -> None:
    ended = await start(harness.config(tmp_path, {"appservice.bot": "mayor"}))
    assert_output(
        ended,
        ExitCode.HOMESERVER_REFUSED,
        "Synapse knows this application service's bot as @city, but appservice.bot says mayor.",
        "Set appservice.bot to city",
    )


async def test_unknown_registration_id_is_reported(harness: StartupHarness, tmp_path: Path) -> None:
    ended = await start(harness.config(tmp_path, {"appservice.id": "another"}))
    assert_output(ended, ExitCode.HOMESERVER_REFUSED, "another id than 'another'", "registration check")


async def test_unreachable_appservice_address_is_reported(harness: StartupHarness, tmp_path: Path) -> None:
    ended = await start(harness.config(tmp_path, {"matrix.port": free_port()}))
    address = config_file.load(harness.directory / "config.yaml").appservice.address
    assert_output(
        ended,
        ExitCode.HOMESERVER_REFUSED,
        f"Synapse cannot reach the service at {address}",
        "Set appservice.address to how",
    )


async def test_appservice_address_of_other_server_is_reported(harness: StartupHarness, tmp_path: Path) -> None:
    ours = config_file.load(harness.directory / "config.yaml").matrix.port
    async with serving({}, port=ours):
        ended = await start(harness.config(tmp_path, {"matrix.port": free_port()}))
    assert_output(
        ended, ExitCode.HOMESERVER_REFUSED, "Another service answers Synapse", "Set appservice.address to where"
    )


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({}, id="404", marks=pytest.mark.soak),
        pytest.param({"/_matrix/client/versions": "<html>Welcome</html>"}, id="a web page"),
        pytest.param({"/_matrix/client/versions": {"status": "ok"}}, id="JSON of another kind", marks=pytest.mark.soak),
    ],
)
async def test_address_of_no_homeserver_is_reported(tmp_path: Path, answers: dict[str, Any]) -> None:
    async with serving(answers) as port:
        ended = await start(configured(tmp_path, {"homeserver.address": f"http://{HOST}:{port}"}))
    assert_output(
        ended,
        ExitCode.HOMESERVER_REFUSED,
        f"The server at http://{HOST}:{port} is not a Matrix homeserver",
        "homeserver.address must be the address of Synapse's client listener",
    )


@asynccontextmanager
async def serving(answers: Mapping[str, Any], *, port: int | None = None) -> AsyncIterator[int]:
    """Serve fixed responses by path, and 404 for other paths; yield the port."""

    async def answer(request: web.Request) -> web.Response:
        match answers.get(request.path):
            case None:
                raise web.HTTPNotFound
            case str() as page:
                return web.Response(text=page, content_type="text/html")
            case content:
                return web.json_response(content)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


# --- Synapse down: no wrong start at all --------------------------------------------------------------


async def test_city_serves_while_synapse_is_down(tmp_path: Path, sqlite_url: str) -> None:
    async def not_yet(*, registration: Path, port: int) -> LocalSynapse:
        return LocalSynapse(SynapseSetup(tmp_path / "synapse", SERVER_NAME, port, registrations=[registration]))

    city = await RunningCity.make(tmp_path / "city", sqlite_url, not_yet, homeserver=None, settings=None, agents=AGENTS)
    try:
        city.service.start()

        async def says_so() -> bool:
            assert city.service.running, city.service.last_lines(60)
            return "Is Synapse running, and is homeserver.address right?" in "\n".join(city.service.last_lines(60))

        await eventually(says_so)
        status, ready = await city.call("GET", "/readyz", url=city.matrix_url)
        assert (status, ready["status"]) == (503, "not ready")
        assert ready["checks"]["homeserver"].startswith(f"away: {city.homeserver.url}")
        assert await city.call("GET", "/healthz", url=city.matrix_url) == (200, {"status": "ok"})
        message = {"body": "Доброго ранку", "client_id": "1"}
        posted = await city.post("/city/rooms/general/messages", message, token=citizen_token("u_123"))
        assert posted["delivery"] == "pending"

        await city.homeserver.start()
        await city.ready()

        async def is_sent() -> bool:
            messages = await city.get("/city/rooms/general/messages")
            return [(each["body"], each["delivery"]) for each in messages] == [("Доброго ранку", "sent")]

        await eventually(is_sent)
        stderr = city.service.log.read_text()
        assert "Traceback" not in stderr
        assert JWT_SECRET not in stderr
    finally:
        await city.close()
        city.homeserver.kill()


async def test_synapse_lost_during_checks_is_waited_for(tmp_path: Path, sqlite_url: str, synapse: BootSynapse) -> None:
    homeserver_port = free_port()
    proxy = HttpProxy(homeserver_port)
    await proxy.start()
    proxy.refuse(lambda passed: passed.is_first_word)
    city = await RunningCity.make(
        tmp_path / "city",
        sqlite_url,
        synapse,
        homeserver={"port": homeserver_port},
        settings={"homeserver.address": proxy.url},
        agents=AGENTS,
    )
    try:
        city.service.start()

        async def says_so() -> bool:
            try:
                _, ready = await city.call("GET", "/readyz", url=city.matrix_url)
            except aiohttp.ClientError:
                return False
            return "a gateway answered 503" in ready["checks"]["homeserver"]

        await eventually(says_so, explain=lambda: "\n".join(city.service.last_lines(60)))
        proxy.pass_everything()
        await city.ready()
    finally:
        await city.close()
        await proxy.stop()


# --- Redis --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "wrong", "problem", "advice"),
    [
        pytest.param(
            {"password": "geheim"}, {}, "Redis rejects the login", "user and password in redis.url", id="password"
        ),
        pytest.param(
            {"cluster": True},
            {},
            "This Redis is a cluster",
            "section redis in config.yaml",
            id="a cluster",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            {},
            {"redis.cluster": True},
            "this Redis is no cluster",
            "section redis in config.yaml",
            id="no cluster",
            marks=pytest.mark.soak,
        ),
    ],
)
async def test_unusable_redis_is_reported(
    harness: StartupHarness, tmp_path: Path, server: dict[str, Any], wrong: dict[str, Any], problem: str, advice: str
) -> None:
    redis = RedisServer(tmp_path / "redis", **server)
    redis.start()
    try:
        ended = await start(harness.config(tmp_path, {"redis.url": redis.url, **wrong}))
    finally:
        redis.kill()
    assert_output(ended, ExitCode.REDIS, problem, advice)
    assert "geheim" not in ended.stderr


async def test_absent_redis_does_not_prevent_start(harness: StartupHarness, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    config = harness.config(tmp_path, {"redis.url": redis.url})
    service = Child("city", python("daarion_appservice", "run", "-c", str(config)), tmp_path / "city.log")
    service.start()
    try:
        await eventually(lambda: has_logged(service, "redis_not_found"), END_S)
        redis.start()
        await eventually(lambda: has_logged(service, "redis_joined"), END_S)
    finally:
        service.kill()
        redis.kill()


async def has_logged(service: Child, event: str) -> bool:
    assert service.running
    return any(event in line for line in service.last_lines(100))
