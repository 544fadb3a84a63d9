"""config.yaml: reading with all errors reported, editing with comments preserved."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from daarion_appservice.config import Settings
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.config.errors import ConfigErrors
from daarion_appservice.config.keys import all_keys, environment_keys, plain
from daarion_appservice.config.render import render_example
from daarion_appservice.errors import ExitCode, StartError

ROOT = Path(__file__).parents[2]
SECRET = "a secret of more than 32 characters"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def errors_of(config: Path, text: str, **environ: str) -> list[str]:
    """What is said about ``text``, without the name of the file."""
    config.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        config_file.load(config, environ)
    assert caught.value.exit_code is ExitCode.CONFIG
    return [str(each).removeprefix(str(config)).removeprefix(":") for each in caught.value.errors]


@contextmanager
def nobody() -> Iterator[None]:
    """As a user whom directories can be closed to, also when the tests are run by root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


# --- reading ------------------------------------------------------------------------------------------


def test_empty_file_gives_defaults(config: Path) -> None:
    config.write_text("# nothing yet\n")
    settings = config_file.load(config, {})
    assert settings.homeserver == Settings().homeserver
    assert settings.city == Settings().city


def test_section_of_comments_gives_defaults(config: Path) -> None:
    config.write_text("city:\n  # name: X\nagents:\napi:\n  jwt:\n")
    assert config_file.load(config, {}).city == Settings().city


def test_example_file_has_the_defaults(config: Path) -> None:
    config.write_text(render_example())
    values = YAML(typ="safe", pure=True).load(config)
    assert values == plain(Settings())


def test_paths_are_relative_to_config_file(config: Path) -> None:
    config.write_text(
        "appservice: {registration: keys/registration.yaml}\n"
        "database: {url: sqlite:///data/city.db}\n"
        "agents:\n"
        "  - {slug: a, display_name: A, avatar: pictures/a.png}\n"
        "  - {slug: b, display_name: B, avatar: mxc://example.org/abc}\n"
    )
    settings = config_file.load(config, {})
    assert settings.appservice.registration == config.parent / "keys/registration.yaml"
    assert settings.database.url == f"sqlite:///{config.parent}/data/city.db"
    assert [agent.avatar for agent in settings.agents] == [f"{config.parent}/pictures/a.png", "mxc://example.org/abc"]


def test_paths_are_absolute_for_relative_config_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("")
    monkeypatch.chdir(config.parent)
    assert config_file.load(Path("config.yaml"), {}).appservice.registration == config.parent / "registration.yaml"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/city.db", "sqlite:///:memory:", "postgresql://city@db/city"])
def test_other_database_urls_stay_as_written(config: Path, url: str) -> None:
    config.write_text(f"database: {{url: '{url}'}}\n")
    assert config_file.load(config, {}).database.url == url


def test_room_version_needs_no_quotes(config: Path) -> None:
    config.write_text("city: {room_version: 12}\n")
    assert config_file.load(config, {}).city.room_version == "12"


# --- errors -------------------------------------------------------------------------------------------


def test_missing_file_error_has_advice(config: Path) -> None:
    with pytest.raises(StartError, match="There is no configuration") as caught:
        config_file.load(config, {})
    assert f"config generate -c {config}" in caught.value.help
    assert caught.value.exit_code is ExitCode.CONFIG


def test_directory_as_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be read: Is a directory"):
        config_file.load(tmp_path, {})


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///?mode=rw", "sqlite+aiosqlite:///"])
def test_sqlite_address_without_a_file_is_refused(config: Path, url: str) -> None:
    config.write_text(f"database: {{url: '{url}'}}\n")
    with pytest.raises(StartError, match=r"database\.url names no file"):
        config_file.load(config, {})


def test_all_errors_are_reported_with_lines(config: Path) -> None:
    assert errors_of(
        config,
        "homeserver:\n"
        "  domain: https://example.org\n"
        "  adress: http://localhost\n"
        "matrix:\n"
        "  port: 99999\n"
        "api: 5\n"
        "city:\n"
        "  rooms:\n"
        "    - slug: Ü\n"
        "      name: ''\n"
        "    - slug: b\n"
        "logging:\n"
        "  level: loud\n"
        "  format:\n",
    ) == [
        "2: homeserver.domain must be a server name like example.org, not a URL",
        "3: homeserver.adress is not a key; did you mean address?",
        "5: matrix.port must be at most 65535",
        "6: api must hold keys of its own, indented below it",
        "9: city.rooms[0].slug must be 1 to 64 of a-z, 0-9, - and _, and begin with a letter or a digit",
        "10: city.rooms[0].name must not be empty",
        "11: city.rooms[1].name is missing",
        "13: logging.level must be 'debug', 'info', 'warning' or 'error'",
        '14: logging.format has no value: write one, "" for nothing, or remove the line to get the default',
    ]


def test_key_in_wrong_section_suggests_right_one(config: Path) -> None:
    assert errors_of(config, "domain: example.org\n") == [
        "1: domain is not a key here; did you mean homeserver.domain?"
    ]


def test_invalid_value_does_not_hide_contradiction(config: Path) -> None:
    assert errors_of(
        config, "homeserver: {verify_tls: maybe}\npresence:\n  heartbeat_s: 50\n  ttl_s: 20\nmatrix: {host: 0.0.0.0}\n"
    ) == [
        "1: homeserver.verify_tls must be true or false",
        "4: presence.ttl_s must be longer than presence.heartbeat_s, or presence alternates between online and offline",
        (
            "5: matrix.internal_token must be set because matrix.host is 0.0.0.0, not loopback: "
            "without it anyone who can connect to that port could act for the city"
        ),
    ]


def test_invalid_value_causes_no_further_errors(config: Path) -> None:
    # With the default of 20 s in its place, a ttl of 15 s would be too short.
    assert errors_of(config, "presence:\n  heartbeat_s: soon\n  ttl_s: 15\n") == [
        "2: presence.heartbeat_s must be a number"
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "agents: [{slug: a, display_name: A}, {slug: a, display_name: B}]\n",
            "agents[1].slug a is taken by an earlier one in this list",
        ),
        ("api: {port: 7025}\n", "api.port must not be matrix.port: they are two listeners"),
        (
            "appservice: {bot: city_observer}\n",
            "appservice.bot must be another name: agent_…, citizen_… and city_observer are the city's ghosts",
        ),
        (
            "appservice: {as_token: same, hs_token: same}\n",
            "appservice.hs_token must differ from appservice.as_token: one authenticates the service, the other the homeserver",
        ),
        (
            "api: {jwt: {secret: short}}\n",
            "api.jwt.secret needs at least 32 characters, for example from `openssl rand -hex 32`",
        ),
        ("agents_core: {url: 'http://core/v1'}\n", "agents_core.url is an address of an OpenAI-compatible server: set agents_core.kind to openai"),  # noqa: E501
        ("agents_core: {url: 'http://core?a=b'}\n", "agents_core.url is an address of an OpenAI-compatible server: set agents_core.kind to openai"),  # noqa: E501
        ("agents_core: {kind: openai, url: 'http://core/v1/completions'}\n", "agents_core.url must be the base URL of chat completions, like http://localhost:11434/v1: this URL belongs to another API"),  # noqa: E501
        ("agents_core: {kind: openai, url: 'http://core/api/chat'}\n", "agents_core.url must be the base URL of chat completions, like http://localhost:11434/v1: this URL belongs to another API"),  # noqa: E501
        ("agents_core: {kind: openai, url: 'https://x.openai.azure.com/openai/deployments/gpt'}\n", "agents_core.url needs a version for a deployment of Azure, like ?api-version=2024-10-21"),  # noqa: E501
        ("agents_core: {url: 'http://me:secret@core'}\n", "agents_core.url must be a plain URL: no query, no fragment, no user name"),  # noqa: E501
        ("agents_core: {token_header: 'X Y'}\n", "agents_core.token_header must be the name of an HTTP header, like api-key"),
        ("agents_core: {token_header: Content-Type}\n", "agents_core.token_header must be another header: this one says something else in each request"),  # noqa: E501
        ("api: {allowed_origins: ['https://city.example/page']}\n", "api.allowed_origins[0] must be an origin: https:// and a host, perhaps a port, and no path"),  # noqa: E501
        ("homeserver: {address: localhost:8008}\n", "homeserver.address must be a URL that starts with http:// or https://"),
        ("homeserver: {address: 'http://[::1'}\n", "homeserver.address must be a URL whose host and port are well-formed"),
        ("database: {url: mysql://db}\n", "database.url must begin with sqlite:/// or postgresql://"),
        (
            "database: {url: sqlite://city.db}\n",
            "database.url needs three slashes before the file: sqlite:///daarion.db, or sqlite:////var/lib/daarion/daarion.db",
        ),
        *[
            (f"redis: {{url: '{url}'}}\n", f"redis.url {sentence}")
            for url, sentence in {
                "redis://h:x": "has no proper host and port: percent-encode special characters of the password",
                "redis://:p/w@h": "has no proper host and port: percent-encode special characters of the password",
                "redis://h:70000": "has no proper host and port: percent-encode special characters of the password",
                "redis://[::1/0": "has no proper host and port: percent-encode special characters of the password",
                "redis://:p@w@h": (
                    "has special characters in the password: percent-encode them (@ is %40, # is %23, / is %2F)"
                ),
                "redis://h/zero": "may only have the number of a database behind the host, like redis://localhost:6379/0",
                "redis://h?db=first": "has a db that is no number",
                "redis://h?ssl_ca_certs=/ca.pem": "has ssl_ca_certs, which is for TLS: it must begin with rediss://",
                "unix:///run/redis.sock?foo=1": (
                    "has a parameter that is not supported; supported are client_name, db, health_check_interval, "
                    "password, protocol, username"
                ),
            }.items()
        ],
        ("appservice: {as_token: 12345678}\n", "appservice.as_token must be text: put it in quotes"),
        ("city: {rooms: general}\n", "city.rooms must be a list: one `- …` a line"),
    ],
)  # fmt: skip
def test_invalid_value_error_names_the_rule(config: Path, text: str, sentence: str) -> None:
    assert errors_of(config, text) == [f"1: {sentence}"]


def test_duplicate_key_is_reported_with_other_errors(config: Path) -> None:
    assert errors_of(config, "api:\n  port: 1\n  port: 2\n  host: 5\n") == [
        "3: api.port is set twice, in line 2 and here",
        "4: api.host must be text: put it in quotes",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("api:\n  port: 1: 2\n", 2),
        ("api: [1\n", 2),
        ("api:\n\tport: 1\n", 2),
        ("api:\n  host: \x01\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("- api\n", 1),
    ],
)
def test_invalid_yaml_is_reported_with_line(config: Path, text: str, line: int) -> None:
    [sentence] = errors_of(config, text)
    assert sentence.startswith((f"{line}: this is not YAML", f"{line}: must hold sections"))


def test_non_utf8_file_is_reported_with_line(config: Path) -> None:
    config.write_bytes(b"city:\n  name: \xff\n")
    with pytest.raises(ConfigErrors, match=r"config.yaml:2: this is not UTF-8 text"):
        config_file.load(config, {})


def test_recursive_alias_is_refused(config: Path) -> None:
    assert errors_of(config, "agents: &all\n  - *all\n")


@pytest.mark.parametrize(
    "text",
    [
        f"api: {{jwt: {{secret: ['{SECRET}']}}}}\n",
        f"api:\n  admin_token: '{SECRET}'\n  admin_token: '{SECRET}'\n",
        f"api:\n  admin_token: *{SECRET.replace(' ', '')}\n",
        f"api:\n  admin_token: !{SECRET.replace(' ', '')} x\n",
        f"database: {{url: 'mysql://city:{SECRET}@db'}}\n",
    ],
)
def test_errors_contain_no_secret(config: Path, text: str) -> None:
    sentence = " ".join(errors_of(config, text))
    assert SECRET not in sentence
    assert SECRET.replace(" ", "") not in sentence


# --- environment --------------------------------------------------------------------------------------


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
        "media.allowed_types",
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


# --- cautions -----------------------------------------------------------------------------------------


def test_world_readable_file_gives_caution(config: Path) -> None:
    config.write_text("homeserver: {domain: city.example}\nappservice: {as_token: a, hs_token: b}\n")
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


# --- writing ------------------------------------------------------------------------------------------


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
        with nobody(), pytest.raises(StartError, match=f"the directory {directory} is not writable"):
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
