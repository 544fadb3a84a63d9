"""The doctor beside a real Synapse and a running service: green when all is well, and names what an admin broke."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daarion_appservice.config import editing as config_edit
from daarion_appservice.demo.local_synapse import Account
from tests.parts.city import RunningCity, eventually, shared_city
from tests.parts.doctor import expect_finding, finding_of
from tests.parts.ports import HOST, free_port

BOT = "@city:city.localhost"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    settings: dict[str, str | float] = {"api.public_url": ""}
    async with shared_city(tmp_path_factory.mktemp("doctor"), settings=settings) as city:
        yield city


async def report_of(city: RunningCity, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code of ``doctor``, and its checks by name."""
    ended = await city.command("doctor", "--json", *options)
    assert ended.err == ""
    return ended.code, {each["name"]: each for each in json.loads(ended.out)["checks"]}


@pytest.mark.asyncio(loop_scope="module")
async def test_healthy_installation_has_no_failure(city: RunningCity) -> None:
    code, checks = await report_of(city, "--synapse-registration", str(city.directory / "registration.yaml"))
    notable = {name: each for name, each in checks.items() if each["status"] in {"warn", "fail"}}
    assert (code, notable) == (0, {}), notable
    passed = {name for name, each in checks.items() if each["status"] == "pass"}
    assert {
        "ping",
        "probe_event",
        "presence",
        "room_search",
        "bot_power",
        "readiness",
        "synapse_registration",
    } <= passed
    secrets = (city.directory / "registration.yaml").read_text().split('"')
    assert not [each for each in secrets if len(each) > 40 and each in json.dumps(checks)]


# --- what an admin of Synapse breaks ------------------------------------------------------------------


async def admin(city: RunningCity, method: str, path: str, content: Any) -> Any:
    account = await _admin_of(city)
    status, answer = await city.call(method, path, content, token=account.access_token, url=city.homeserver.url)
    assert status < 300, answer
    return answer


_accounts: dict[int, Account] = {}


async def _admin_of(city: RunningCity) -> Account:
    if id(city) not in _accounts:
        _accounts[id(city)] = await city.homeserver.register("root", "password of the admin", admin=True)
    return _accounts[id(city)]


@pytest.mark.asyncio(loop_scope="module")
async def test_deleted_device_of_ghost_is_named(city: RunningCity) -> None:
    token = await city.agent_token("scribe")
    await city.post("/city/rooms/general/messages", {"body": "hello"}, token=token)
    ghost = "@agent_scribe:city.localhost"

    async def has_device() -> bool:
        devices = await admin(city, "GET", f"/_synapse/admin/v2/users/{ghost}/devices", None)
        return "CITY" in [each["device_id"] for each in devices["devices"]]

    await eventually(has_device)
    await expect_finding("ghost_devices", city.config, "pass")
    await admin(city, "DELETE", f"/_synapse/admin/v2/users/{ghost}/devices/CITY", None)
    await expect_finding("ghost_devices", city.config, "warn", ghost, "message retry")


@pytest.mark.asyncio(loop_scope="module")
async def test_other_id_and_bot_than_in_synapse_are_named(city: RunningCity, tmp_path: Path) -> None:
    copy = tmp_path / "config.yaml"
    copy.write_text(city.config.read_text())
    copy.chmod(0o600)
    config_edit.set_values(copy, {"appservice.id": "another"})
    await expect_finding("ping", copy, "fail", "another id than 'another'")
    config_edit.set_values(copy, {"appservice.id": "daarion", "appservice.bot": "mayor"})
    await expect_finding("homeserver_identity", copy, "fail", "knows this application service's bot as @city")


# --- the service is stopped ---------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_stopped_service_is_examined_by_stand_in(city: RunningCity, tmp_path: Path) -> None:
    city.service.kill()
    code, checks = await report_of(city)
    notable = {name for name, each in checks.items() if each["status"] in {"warn", "fail"}}
    assert (code, notable - {"ghost_devices"}) == (1, {"service"})  # another test deletes a device
    assert checks["ping"]["status"] == "pass"
    await expect_finding("service", city.config, "warn", "does not answer", "systemctl start")
    await expect_finding("ping", city.config, "pass")
    await expect_finding("readiness", city.config, "skip")
    config = tmp_path / "config.yaml"
    config.write_text(city.config.read_text())
    config.chmod(0o600)
    config_edit.set_values(config, {"appservice.hs_token": "what-an-older-registration-had"})
    await expect_finding("ping", config, "fail", "another hs_token")
    config_edit.set_values(config, {"matrix.port": free_port()})
    await expect_finding("ping", config, "fail", f"cannot reach the service at http://{HOST}")


@pytest.mark.asyncio(loop_scope="module")
async def test_deactivated_bot_is_named(city: RunningCity) -> None:
    city.service.kill()  # it would let the bot join again
    await expect_finding("bot_power", city.config, "pass")
    await admin(city, "PUT", f"/_synapse/admin/v2/users/{BOT}", {"deactivated": True})

    async def is_out_of_all_rooms() -> bool:
        found = await finding_of("bot_rooms", city.config)
        return found.status.value == "fail" and "probably deactivated" in found.summary and "Reactivate" in found.advice

    await eventually(is_out_of_all_rooms)
