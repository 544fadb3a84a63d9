"""Configuration values from the environment, and the cautions of `config check`."""

from __future__ import annotations

from pathlib import Path

from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.config.keys import all_keys, environment_keys, plain
from tests.parts.config_file import SECRET, errors_of


def test_environment_overrides_file(config: Path) -> None:
    config.write_text("api: {port: 7002, anonymous_read: true}\n")
    settings = config_file.load(
        config,
        {"DAARION_API__PORT": "7003", "DAARION_API__ANONYMOUS_READ": "false", "DAARION_API__JWT__SECRET": SECRET},
    )
    assert (settings.api.port, settings.api.anonymous_read) == (7003, False)
    assert settings.api.jwt.secret.get_secret_value() == SECRET


def test_every_value_can_come_from_environment(config: Path) -> None:
    config.write_text("")
    environ = {name: str(key.default) for name, key in environment_keys().items()}
    settings = config_file.load(config, environ)
    assert plain(settings) == plain(config_file.load(config, {}))
    assert {key.dotted for key in all_keys() if key.section is None} - {
        key.dotted for key in environment_keys().values()
    } == {
        "api.allowed_hosts",
        "api.allowed_origins",
        "api.trusted_proxies",
        "web.frame_ancestors",
        "web.embed_ancestors",
        "media.allowed_types",
        "push.private_hosts",
        "city.admins",
        "city.rooms",
        "agents",
    }


def test_secret_can_come_from_its_own_file(config: Path, tmp_path: Path) -> None:
    config.write_text("")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = config_file.load(config, {"DAARION_API__JWT__SECRET_FILE": str(tmp_path / "secret")})
    assert settings.api.jwt.secret.get_secret_value() == SECRET


def test_environment_error_names_variable(config: Path) -> None:
    assert errors_of(config, "api:\n  port: 7002\n", DAARION_API__PORT="many") == [
        "DAARION_API__PORT: api.port must be a whole number"
    ]


def test_variable_and_its_file_are_refused(config: Path) -> None:
    sentence = errors_of(config, "", DAARION_API__ADMIN_TOKEN="x", DAARION_API__ADMIN_TOKEN_FILE="/x")
    assert sentence == ["DAARION_API__ADMIN_TOKEN_FILE: is set, and DAARION_API__ADMIN_TOKEN too: keep one of them"]


def test_unreadable_secret_file_is_only_error(config: Path) -> None:
    assert errors_of(config, "matrix: {host: 0.0.0.0}\n", DAARION_MATRIX__INTERNAL_TOKEN_FILE="/nowhere/token") == [
        (
            "DAARION_MATRIX__INTERNAL_TOKEN_FILE: names the file /nowhere/token, which cannot be read: "
            "No such file or directory"
        )
    ]


def test_unknown_variable_is_refused(config: Path) -> None:
    assert errors_of(config, "", DAARION_API__JWT__SECRT="x") == [
        "DAARION_API__JWT__SECRT: sets no key; did you mean DAARION_API__JWT__SECRET?"
    ]


def test_empty_and_foreign_variables_are_ignored(config: Path) -> None:
    config.write_text("api: {port: 7002}\n")
    environ = {"DAARION_API__PORT": "", "DAARION_PORT": "tcp://10.0.0.1:7001", "HOME": "/"}
    assert config_file.load(config, environ).api.port == 7002


def test_world_readable_file_gives_caution(config: Path) -> None:
    config.write_text(
        "homeserver: {domain: city.example}\nappservice: {as_token: a, hs_token: b}\nencryption: {enabled: false}\n"
    )
    config.chmod(0o644)
    [sentence] = config_file.cautions(config, config_file.load(config, {}))
    assert f"chmod 600 {config}" in sentence
    config.chmod(0o640)
    assert config_file.cautions(config, config_file.load(config, {})) == []


def test_missing_required_values_give_cautions(config: Path) -> None:
    config_edit.generate(config)
    sentence = " ".join(config_file.cautions(config, config_file.load(config, {})))
    assert "homeserver.domain is still example.org" in sentence
    assert "registration generate" in sentence
