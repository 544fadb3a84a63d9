"""deploy/compose.yaml: what it publishes and sets, and the files that its service `init` makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from daarion_appservice.config.keys import environment_keys

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(DEPLOY / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_only_proxy_is_published_beyond_this_machine() -> None:
    published = {port for name, service in SERVICES.items() if name != "proxy" for port in service.get("ports", [])}
    assert published == {"127.0.0.1:7001:7001", "127.0.0.1:8008:8008"}
    assert SERVICES["proxy"]["profiles"] == ["proxy"], "which nobody gets unasked"


def test_environment_of_city_has_known_keys() -> None:
    variables = {name.removesuffix("_FILE") for name in SERVICES["city"]["environment"]}
    assert variables <= set(environment_keys())


def test_secrets_come_from_files() -> None:
    for service in SERVICES.values():
        secrets = [name for name in service.get("environment", {}) if re.search("TOKEN|SECRET|PASSWORD", name)]
        assert all(name.endswith("_FILE") for name in secrets)


def test_each_variable_is_in_the_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text() + (DEPLOY / "compose/Caddyfile").read_text()
    used = set(re.findall(r"\{\$?([A-Z_]+)", text)) | {"COMPOSE_PROFILES"}
    assert used == set(re.findall(r"^([A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))


def test_services_wait_for_what_they_need() -> None:
    for service in SERVICES.values():
        for name, needed in service.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy" and name != "city":  # the image of the city has its own
                assert "test" in SERVICES[name]["healthcheck"]
            if needed["condition"] == "service_completed_successfully":
                assert SERVICES[name]["restart"] == "no"
    assert SERVICES["synapse"]["depends_on"].keys() >= {"init", "synapse-generate", "postgres"}


def test_city_and_init_have_a_read_only_root() -> None:
    for name in ("city", "init"):
        assert (SERVICES[name]["read_only"], SERVICES[name]["cap_drop"]) == (True, ["ALL"])


# --- init ---------------------------------------------------------------------------------------------


def initialized(directory: Path, server_name: str = "example.org") -> dict[str, str]:
    """Run `init` with volumes in ``directory``; return the text of each file."""
    volumes = {f"INIT_{name.upper()}": str(directory / name) for name in ("data", "synapse", "postgres")}
    environ = {"DAARION_HOMESERVER__DOMAIN": server_name, "DAARION_WEB__HOMESERVER_URL": "https://matrix.example.org"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-P", str(DEPLOY / "compose/init.py")],
        env=os.environ | volumes | environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    return {path.relative_to(directory).as_posix(): path.read_text() for path in files}


@pytest.mark.skipif(os.geteuid() != 0, reason="files are given to other users")
def test_init_makes_each_file_once(tmp_path: Path) -> None:
    first = initialized(tmp_path)
    assert first == initialized(tmp_path), "a second start changes nothing"
    added = json.loads(first["synapse/appservice.yaml"])
    assert added["room_list_publication_rules"] == [{"user_id": "@city:example.org", "action": "allow"}]
    assert first["synapse/registration.yaml"] == first["data/registration.yaml"]
    password = first["postgres/daarion"]
    assert first["data/secrets/database_url"] == f"postgresql://daarion:{password}@postgres/daarion"
    assert first["synapse/pgpass"] == f"*:*:*:synapse:{first['postgres/synapse']}\n"
    assert len({text for name, text in first.items() if name.startswith("postgres/")}) == 3
    owners = {
        name: (tmp_path / name).stat().st_uid for name in ("data/config.yaml", "synapse/pgpass", "postgres/synapse")
    }
    assert list(owners.values()) == [10001, 991, 999]


@pytest.mark.skipif(os.geteuid() != 0, reason="files are given to other users")
def test_init_adapts_registration_and_keeps_tokens(tmp_path: Path) -> None:
    before = YAML(typ="safe").load(initialized(tmp_path)["synapse/registration.yaml"])
    after = YAML(typ="safe").load(initialized(tmp_path, "other.example.org")["synapse/registration.yaml"])
    assert before["namespaces"] != after["namespaces"]
    assert (before["as_token"], before["hs_token"]) == (after["as_token"], after["hs_token"])
