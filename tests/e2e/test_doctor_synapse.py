"""The doctor names what an admin misconfigured in a real Synapse; the service does not run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.doctor.installation import Installation
from tests.parts.doctor import expect_finding, write_config
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import BootSynapse

OTHER_SERVICE = r"""
id: other
url: null
as_token: the-token-of-the-other-service
hs_token: the-token-of-the-homeserver-for-it
sender_localpart: other_bot
namespaces:
  users: [{exclusive: true, regex: '@citizen_.*:city\.localhost'}]
  aliases: []
  rooms: []
"""


DEFAULT_LIMIT = {"rc_presence": {"per_user": {"per_second": 0.1, "burst_count": 1}}}
"""Synapse's default, which the homeservers of tests do not have."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def config(tmp_path: Path, port: int) -> Path:
    matrix_port = free_port()
    return write_config(
        tmp_path,
        {
            "homeserver.address": f"http://{HOST}:{port}",
            "appservice.address": f"http://{HOST}:{matrix_port}",
            "matrix.port": matrix_port,
        },
    )


def changed(config: Path, change: Callable[[str], str]) -> Path:
    """Return a copy of the registration file for Synapse with a change."""
    copy = config.with_name("synapse.yaml")
    copy.write_text(change(config.with_name("registration.yaml").read_text()))
    copy.chmod(0o600)
    return copy


async def test_well_configured_synapse_passes(config: Path, port: int, synapse: BootSynapse) -> None:
    await synapse(registration=config.with_name("registration.yaml"), port=port, overrides=DEFAULT_LIMIT)
    for name in ("homeserver_identity", "namespaces", "rate_limits", "presence", "ping", "room_version", "upload_size"):
        await expect_finding(name, config, "pass")
    installation = Installation(config)
    async with installation:
        own = [installation.identities.bot, installation.identities.observer, installation.citizens_probe]
        for user in own:
            assert not await installation.homeserver.register(user), "the service would register it, too"
        assert await installation.homeserver.register(UserId("@citizen_=doctor:city.localhost")), (
            "a user was left behind"
        )
        assert (await installation.homeserver.presence(own[1], as_user=own[1]))["presence"] == "offline"


async def test_missing_rate_limited_is_named(config: Path, port: int, synapse: BootSynapse) -> None:
    copy = changed(config, lambda text: text.replace("rate_limited: false\n", ""))
    await synapse(registration=copy, port=port, overrides=DEFAULT_LIMIT)
    await expect_finding("rate_limits", config, "fail", "rate_limited: false")


async def test_other_tokens_in_synapse_are_named(config: Path, port: int, synapse: BootSynapse) -> None:
    copy = changed(config, lambda text: re.sub(r"hs_token: .*", "hs_token: of-an-older-registration", text))
    homeserver = await synapse(registration=copy, port=port)
    await expect_finding("ping", config, "fail", "another hs_token")
    await homeserver.stop()
    changed(config, lambda text: re.sub(r"as_token: .*", "as_token: of-an-older-registration", text))
    await homeserver.start()
    await expect_finding("as_token", config, "fail", "does not accept the as_token")


async def test_disabled_presence_is_named(config: Path, port: int, synapse: BootSynapse) -> None:
    registration = config.with_name("registration.yaml")
    await synapse(registration=registration, port=port, overrides={"presence": {"enabled": False}})
    await expect_finding("presence", config, "fail", "presence is switched off")


async def test_namespace_of_other_service_is_named(config: Path, port: int, synapse: BootSynapse) -> None:
    other = config.with_name("other.yaml")
    other.write_text(OTHER_SERVICE)
    files = [str(other), str(config.with_name("registration.yaml"))]
    await synapse(port=port, overrides={"app_service_config_files": files})
    await expect_finding("namespaces", config, "fail", "claims @citizen_=patience:city.localhost", "other registration")
