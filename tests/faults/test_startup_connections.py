"""A start with a wrong homeserver or Redis ends with an exit code and an advice; one without them waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.synapse_config import SynapseSetup
from daarion_appservice.errors import ExitCode
from tests.parts.city import AGENTS, JWT_SECRET, RunningCity, citizen_token, eventually
from tests.parts.failed_start import END_S, assert_output, configured, serving, start
from tests.parts.http_proxy import HttpProxy
from tests.parts.ports import HOST, free_port
from tests.parts.redis import RedisServer
from tests.parts.synapse import SERVER_NAME, BootSynapse, boot


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


async def test_address_of_another_server_is_reported(harness: StartupHarness, tmp_path: Path) -> None:
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
            "this Redis is not a cluster",
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
