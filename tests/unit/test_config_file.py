"""config.yaml: reading with all errors reported, editing with comments preserved."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from daarion_appservice.config import Settings
from daarion_appservice.config import loading as config_file
from daarion_appservice.config.errors import ConfigErrors
from daarion_appservice.config.keys import plain
from daarion_appservice.config.render import render_example
from daarion_appservice.errors import ExitCode, StartError
from tests.parts.config_file import SECRET, errors_of

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
        *[
            (f'web: {{frame_ancestors: ["{source}"]}}\n', f"web.frame_ancestors[0] must {rule}")
            for sources, rule in {
                ("*", "https:", "https://*", "http://*:8080"): (
                    "not allow every site: any of them could embed the pages for clickjacking"
                ),
                ("http://localhost:70000", "http://localhost:0"): "have a port from 1 to 65535, or * for any port",
                ("app.element.io", "'none'", "https://a b", "https://a; script-src *", "https://a,https://b",
                 "https://a/path", "https://me@a", "https://a.*.org", "http://[::1]:8080", "ftp://a"): (
                    "be an origin like https://app.element.io, https://*.example.org or http://localhost:*"
                ),
            }.items()
            for source in sources
        ],
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
                "redis://h?db=first": "has a db that is not a number",
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


def test_frame_ancestors_may_have_wildcards(config: Path) -> None:
    sources = ["https://app.element.io/", "http://localhost:*", "https://*.example.org:8443", "vector://vector"]
    config.write_text(f"web: {{frame_ancestors: {sources}}}\n")
    found = config_file.load(config, {}).web.frame_ancestors
    assert found == ["https://app.element.io", "http://localhost:*", "https://*.example.org:8443", "vector://vector"]


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
