"""``--json``: every command that prints has it, and prints one JSON value with what it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from daarion_appservice.city.tokens import TokenDirectory
from daarion_appservice.cli.main import GROUPS, app, commands_of
from daarion_appservice.config import editing as config_edit
from daarion_appservice.errors import ExitCode
from daarion_appservice.storage import migrate
from tests.parts.terminal import Terminal

WITHOUT_JSON = {"run", "demo", "person export"}
"""Commands that print logs, or JSON lines."""


def test_every_command_has_json() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    commands = {name: each for name, each in root.commands.items() if name not in GROUPS}
    for group in GROUPS:
        commands |= {f"{group} {name}": each for name, each in commands_of(group).items()}
    without = {
        name for name, each in commands.items() if not any("--json" in parameter.opts for parameter in each.params)
    }
    assert without == WITHOUT_JSON


def test_help_leaves_out_aliases() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    assert {name for name, each in root.commands.items() if each.hidden} == {"events", "outbox"}


def run_json(terminal: Terminal, *arguments: str) -> Any:
    return json.loads(terminal.run(*arguments, "--json"))


def test_agent_actions_print_what_they_made(terminal: Terminal) -> None:
    added = run_json(terminal, "agent", "add", "scribe", "--name", "Писар")
    assert (added["slug"], added["matrix_user_id"]) == ("scribe", "@agent_scribe:city.localhost")
    assert run_json(terminal, "agent", "rename", "scribe", "Літописець")["display_name"] == "Літописець"
    first = run_json(terminal, "agent", "token", "scribe")
    assert first["id"] in first["token"]
    second = run_json(terminal, "agent", "rotate", "scribe")
    assert second["revoked"] == 1
    ring = TokenDirectory()
    ring.replace(terminal.valid_tokens())
    assert [ring.owner(each["token"]) for each in (first, second)] == [None, "scribe"]
    assert run_json(terminal, "agent", "revoke", "scribe") == {"agent": "scribe", "revoked": 1}
    Path("registry.yaml").write_text("agents: [{slug: guide, display_name: G}]\n")
    imported = run_json(terminal, "agent", "import", "registry.yaml", "--remove-missing", "--yes")
    assert imported["agents"] == {"added": ["guide"], "changed": [], "unchanged": [], "removed": ["scribe"]}
    assert run_json(terminal, "agent", "remove", "guide") == {"slug": "guide", "removed": True}


def test_room_actions_print_the_room(terminal: Terminal) -> None:
    added = run_json(terminal, "room", "add", "Наука")
    assert (added["slug"], added["matrix_status"]) == ("nauka", "pending")
    assert run_json(terminal, "room", "rename", "nauka", "Science")["name"] == "Science"
    assert [run_json(terminal, "room", each, "nauka")["archived"] for each in ("archive", "reopen")] == [True, False]
    assert run_json(terminal, "room", "remove", "nauka", "--yes")["removed"] is True
    assert terminal.rooms() == []


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
def test_other_actions_print_json(terminal: Terminal) -> None:
    config_edit.set_values(
        Path("config.yaml"), {"homeserver.address": "http://localhost:1", "appservice.address": "http://localhost:2"}
    )
    upgraded = run_json(terminal, "db", "upgrade")
    assert (upgraded["revision"], upgraded["before"]) == (migrate.head(), None)
    assert (upgraded["created"] is not None) is terminal.database_url.startswith("sqlite")
    assert run_json(terminal, "config", "upgrade") == {"config": "config.yaml", "added": []}
    generated = run_json(terminal, "registration", "generate")
    assert generated["generated"] == ["as_token", "hs_token"]
    assert json.loads(terminal.type("registration", "check", "--json").out)["warnings"] == []
    assert json.loads(terminal.type("config", "check", "--json").out)["config"] == "config.yaml"
    assert run_json(terminal, "config", "generate", "-c", "other.yaml")["config"] == "other.yaml"
    assert run_json(terminal, "dead-letter", "retry") == run_json(terminal, "outbox", "retry") == {"retried": 0}
    assert run_json(terminal, "encryption", "discard-keys") == {"agents": 0}


def test_errors_with_json_stay_on_stderr(terminal: Terminal) -> None:
    assert "there is no agent 'nobody'" in terminal.run_refused("agent", "token", "nobody", "--json")


@pytest.mark.parametrize(
    "command",
    [
        ["agent", "list"],
        ["agent", "import", "registry.yaml"],
        ["token", "list"],
        ["room", "remove", "x", "--yes"],
        ["message", "list"],
        ["dead-letter", "list"],
        ["outbox", "retry"],
        ["encryption", "status"],
        ["encryption", "discard-keys"],
        ["db", "current"],
    ],
    ids="-".join,
)
def test_command_makes_no_database(terminal: Terminal, command: list[str]) -> None:
    file = terminal.directory / "other.db"
    Path("registry.yaml").write_text("agents: []\n")
    config_edit.set_values(Path("config.yaml"), {"database.url": f"sqlite:///{file}"})
    assert f"There is no database {file}." in terminal.run_refused(*command, code=ExitCode.DATABASE)
    assert not file.exists()


def test_room_command_without_homeserver_has_its_code(terminal: Terminal) -> None:
    tokens = {"appservice.as_token": "a" * 40, "appservice.hs_token": "b" * 40}
    config_edit.set_values(Path("config.yaml"), {"homeserver.address": "http://127.0.0.1:9"} | tokens)
    terminal.run("room", "add", "x")
    refused = terminal.run_refused("room", "backfill", "x", code=ExitCode.HOMESERVER_AWAY)
    assert "-> Start Synapse, or correct homeserver.address" in refused
