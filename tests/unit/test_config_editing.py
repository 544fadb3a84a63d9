"""Writing configuration files: `config generate`, `config upgrade` and single values."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from ruamel.yaml import YAML

from daarion_appservice.config import Settings, yaml_document
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.config.keys import all_keys, environment_keys, plain
from daarion_appservice.config.render import render_example
from daarion_appservice.errors import StartError
from tests.parts.config_file import as_nobody


def test_generated_file_is_private_and_valid(config: Path) -> None:
    config_edit.generate(config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert config_file.load(config, {}).homeserver == Settings().homeserver


def test_each_key_has_one_comment(config: Path) -> None:
    lines = render_example().splitlines()
    for key in all_keys():
        indent = "  " * (len(key.path) - 1)
        places = [n for n, line in enumerate(lines) if line.startswith(f"{indent}{key.name}:")]
        comments = [lines[place - 1] for place in places]
        assert comments, key.dotted
        assert all(comment.startswith(f"{indent}#") for comment in comments), key.dotted


def test_generate_refuses_existing_file(config: Path) -> None:
    config.write_text("mine\n")
    with pytest.raises(StartError, match="exists already"):
        config_edit.generate(config)
    assert config.read_text() == "mine\n"


def test_generate_reports_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="there is no directory") as caught:
        config_edit.generate(tmp_path / "city" / "config.yaml")
    assert caught.value.help == f"Make it first: mkdir -p {tmp_path}/city"


def test_generate_reports_unwritable_directory() -> None:
    # Not in tmp_path: its parents are closed to others.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    try:
        with as_nobody(), pytest.raises(StartError, match=f"the directory {directory} is not writable"):
            config_edit.generate(directory / "config.yaml")
    finally:
        shutil.rmtree(directory)


OLD = """\
# Mine, all mine
homeserver:
    # where it is
    domain: 'city.example'   # keep this

# ports
matrix: {port: 7000}
api:
    port: 7002
    jwt:

appservice:
    as_token: "old-as"
    hs_token: old-hs # do not touch
agents:
- slug: a   # the first
  display_name: "A"

unknown: 1
# the end"""


def test_upgrade_adds_missing_keys_only(config: Path) -> None:
    config.write_text(OLD)
    added = config_edit.upgrade(config)
    assert {"homeserver.address", "matrix.host", "api.jwt.secret", "presence", "logging"} <= set(added)
    lines = config.read_text().splitlines()
    kept = iter(lines)
    for line in OLD.splitlines():
        if not line.startswith("matrix:"):  # all on one line: there they are added within it
            assert line in kept, line
    values = YAML(typ="safe", pure=True).load(config)
    assert values["matrix"]["port"] == 7000
    assert values["appservice"]["as_token"] == "old-as"
    assert values["agents"] == [{"slug": "a", "display_name": "A"}]
    assert values["unknown"] == 1
    missing = [key.dotted for key in all_keys() if key.path[0] not in values or not _has(values, key.path)]
    assert missing == []


def _has(values: object, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


def test_added_keys_have_comments(config: Path) -> None:
    config.write_text("homeserver:\n    domain: city.example\n")
    config_edit.upgrade(config)
    assert (
        "    domain: city.example\n"
        "    # Whether to verify Synapse's TLS certificate, if address is https.\n"
        "    verify_tls: true\n"
    ) in config.read_text()


def test_second_upgrade_adds_nothing(config: Path) -> None:
    config.write_text(OLD)
    config_edit.upgrade(config)
    once = config.read_bytes()
    assert config_edit.upgrade(config) == []
    assert config.read_bytes() == once


def test_upgraded_empty_file_equals_example(config: Path) -> None:
    config.write_text("")
    config_edit.upgrade(config)
    assert config.read_text() == render_example().partition("\n\n")[2].join(["\n", ""])


@pytest.mark.parametrize("variable", sorted(environment_keys()))
def test_upgrade_restores_each_omitted_value(config: Path, variable: str) -> None:
    key = environment_keys()[variable]
    lines = render_example().splitlines(keepends=True)
    section = next(n for n, line in enumerate(lines) if line.startswith(f"{key.path[0]}:"))
    start = f"{'  ' * (len(key.path) - 1)}{key.name}:"
    at = next(n for n in range(section, len(lines)) if lines[n].startswith(start))
    config.write_text("".join(lines[: at - 1] + lines[at + 1 :]))  # with its comment
    assert config_edit.upgrade(config) == [key.dotted]
    assert YAML(typ="safe", pure=True).load(config) == plain(Settings())


def test_upgrade_keeps_mode_and_symlink(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "config.yaml"
    real.write_text("api: {port: 7002}\n")
    real.chmod(0o640)
    link.symlink_to(real)
    config_edit.upgrade(link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "real.yaml"]


def test_upgrade_keeps_crlf_line_ends(config: Path) -> None:
    config.write_bytes(b"api:\r\n  port: 7002\r\n")
    config_edit.upgrade(config)
    assert config.read_bytes().count(b"\n") == config.read_bytes().count(b"\r\n")


def test_unsafe_edit_leaves_file_unchanged(config: Path) -> None:
    text = "matrix: &both\n  port: 7025\napi: *both\n"
    config.write_text(text)
    with pytest.raises(StartError, match="cannot be edited safely") as caught:
        config_edit.upgrade(config)
    assert "matrix.host" in caught.value.help
    assert config.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "appservice:\n",
        "appservice:\n  as_token:   # later\n",
        "appservice:\n  as_token: ''\n  id: x\n",
        "appservice: {as_token: ''}\n",
        "appservice:\n  as_token: |\n    old\n  id: x\n",
    ],
)
def test_set_value_in_any_yaml_style(config: Path, text: str) -> None:
    config.write_text(text)
    config_edit.set_values(config, {"appservice.as_token": "-a: 'strange' #token"})
    assert config_file.load(config, {}).appservice.as_token.get_secret_value() == "-a: 'strange' #token"


def test_set_value_keeps_comment(config: Path) -> None:
    config.write_text("appservice:\n  as_token: ''  # ours\n")
    config_edit.set_values(config, {"appservice.as_token": "new"})
    assert config.read_text() == "appservice:\n  as_token: new  # ours\n"


def test_set_several_values_keeps_the_others_and_parses_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(
        "api:\n  port: # empty\n  jwt: {secret: 'a', issuer: b}\nappservice:\n  as_token: |\n    long\n  hs_token: x  # ours\n"
    )
    parse = mock.Mock(wraps=yaml_document.parse)
    monkeypatch.setattr(yaml_document, "parse", parse)
    # Not in the order of the file.
    values: dict[str, str | float] = {
        "appservice.hs_token": "longer than before",
        "api.port": 7002,
        "api.jwt.issuer": "",
        "appservice.as_token": "short",
        "api.jwt.secret": "a longer secret",
    }
    config_edit.set_values(config, values)
    assert config.read_text() == (
        'api:\n  port: 7002 # empty\n  jwt: {secret: a longer secret, issuer: ""}\n'
        "appservice:\n  as_token: short\n  hs_token: longer than before  # ours\n"
    )
    assert parse.call_count == 2, "before and after"
