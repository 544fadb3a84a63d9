"""The doctor names what is wrong with a homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daarion_appservice.config import editing as config_edit
from daarion_appservice.doctor.homeserver import judge_clock, judge_version
from tests.parts.doctor import expect_finding, finding_of, write_config
from tests.parts.ports import HOST, free_port
from tests.parts.scripted_homeserver import HANG_UP, NOT_REGISTERED, Reply, ScriptedHomeserver, refused

EXCLUSIVE = refused(400, "M_EXCLUSIVE", "This user ID is reserved by an application service.")
OUTSIDE = refused(403, "M_FORBIDDEN", "Application service cannot masquerade as this user (@agent_x:city.localhost).")
WHOAMI = Reply(200, {"user_id": "@daarion_bot:city.localhost"})


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving():
        yield homeserver


@pytest.fixture
def config(tmp_path: Path, homeserver: ScriptedHomeserver) -> Path:
    return write_config(tmp_path, {"homeserver.address": homeserver.url})


async def test_healthy_homeserver_passes(config: Path, homeserver: ScriptedHomeserver) -> None:
    for name in ("homeserver", "as_token", "homeserver_identity", "namespaces", "rate_limits", "homeserver_clock"):
        found = await finding_of(name, config)
        assert found.status.value == "pass", found


# --- the connection -----------------------------------------------------------------------------------


async def test_closed_port_is_named(config: Path) -> None:
    config_edit.set_values(config, {"homeserver.address": f"http://{HOST}:{free_port()}"})
    await expect_finding("homeserver", config, "fail", "does not answer", "homeserver.address")


async def test_https_on_plain_port_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    config_edit.set_values(config, {"homeserver.address": homeserver.url.replace("http", "https")})
    await expect_finding("homeserver", config, "fail", "must begin with http://")


async def test_unknown_host_is_named(config: Path) -> None:
    config_edit.set_values(config, {"homeserver.address": "http://no-such-host.invalid:8008"})
    await expect_finding("homeserver", config, "fail", "does not resolve")


async def test_other_web_server_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("versions", Reply(200, {"hello": "world"}))
    await expect_finding("homeserver", config, "fail", "not a Matrix homeserver", "8008")


async def test_dropped_connection_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("versions", *[HANG_UP] * 4)
    await expect_finding("homeserver", config, "fail", "does not answer")


async def test_starting_homeserver_warns(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("versions", refused(500, "M_UNKNOWN", "Internal server error"))
    await expect_finding("homeserver", config, "warn", "overloaded")


# --- identity -----------------------------------------------------------------------------------------


async def test_unknown_token_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("whoami", refused(401, "M_UNKNOWN_TOKEN"))
    await expect_finding("as_token", config, "fail", "does not accept the as_token", "app_service_config_files")


@pytest.mark.parametrize(
    ("user", "named"),
    [("@daarion_bot:elsewhere.example", "homeserver.domain"), ("@other:city.localhost", "appservice.bot")],
)
async def test_other_homeserver_or_bot_is_named(
    config: Path, homeserver: ScriptedHomeserver, user: str, named: str
) -> None:
    homeserver.next("whoami", *[Reply(200, {"user_id": user})] * 2)
    await expect_finding("homeserver_identity", config, "fail", named)


async def test_namespace_missing_in_synapse_copy_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("whoami", WHOAMI, WHOAMI, WHOAMI, WHOAMI, NOT_REGISTERED, OUTSIDE)
    await expect_finding("namespaces", config, "fail", "does not give the service @agent_=doctor:city.localhost")
    assert homeserver.all("register") == []


async def test_namespace_of_another_service_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("register", refused(400, "M_USER_IN_USE"), refused(400, "M_USER_IN_USE"), EXCLUSIVE)
    await expect_finding(
        "namespaces", config, "fail", "Another application service claims @citizen_", "correct the other"
    )


async def test_rate_limit_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("presence", Reply(200, {}), refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=9000))
    await expect_finding("rate_limits", config, "fail", "rate_limited: false")


# --- what it can do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("software", "status"),
    [("Synapse/1.140.0", "warn"), ("Synapse/1.141.0", "pass"), ("Synapse/2.0", "pass"), ("nginx", "skip")],
)
def test_version_of_synapse_is_judged(software: str, status: str) -> None:
    assert judge_version(software).status.value == status


@pytest.mark.parametrize(("ahead_ms", "status"), [(4000, "pass"), (90_000, "warn"), (-90_000, "warn")])
def test_clock_is_judged(ahead_ms: int, status: str) -> None:
    assert judge_clock("the homeserver", ahead_ms).status.value == status


@pytest.mark.parametrize(
    ("versions", "wanted", "status", "named"),
    [
        ({"available": {"10": "stable"}, "default": "10"}, "", "pass", "Version 10"),
        ({"available": {"10": "stable"}, "default": "10"}, "12", "fail", "version 12 (city.room_version)"),
        ({"available": {"12": "unstable"}, "default": "10"}, "12", "warn", "not stable"),
    ],
)
async def test_room_version_is_judged(
    config: Path, homeserver: ScriptedHomeserver, versions: dict[str, Any], wanted: str, status: str, named: str
) -> None:
    config_edit.set_values(config, {"city.room_version": wanted})
    homeserver.next("capabilities", Reply(200, {"capabilities": {"m.room_versions": versions}}))
    await expect_finding("room_version", config, status, named)


async def test_smaller_upload_limit_of_synapse_warns(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("media_config", Reply(200, {"m.upload.size": 1024}))
    await expect_finding("upload_size", config, "warn", "max_upload_size in homeserver.yaml to 50M")


async def test_disabled_url_previews_are_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    found = await finding_of("url_previews", config)
    assert (found.status.value, found.summary) == ("skip", "media.url_previews is off."), found
    config_edit.set_values(config, {"media.url_previews": True})
    for path in ("preview_url", "old_preview_url"):
        homeserver.next(path, refused(404, "M_UNRECOGNIZED", "Unrecognized request"))
    await expect_finding("url_previews", config, "warn", "url_preview_enabled: true")
    homeserver.next("preview_url", refused(403, "M_UNKNOWN", "IP address blocked"))
    assert (await finding_of("url_previews", config)).status.value == "pass"
