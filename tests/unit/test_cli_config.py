"""The command line, as a process of its own: what it prints, where, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from daarion_appservice import __version__
from daarion_appservice.errors import ExitCode


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


def run(here: Path, *arguments: str, **environ: str) -> Ended:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAARION_")}
    ended = subprocess.run(
        [sys.executable, "-c", "from daarion_appservice.cli.main import main; main()", *arguments],
        cwd=here,
        env={**clean, "PYTHONPATH": str(Path(__file__).parents[2]), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_it_knows_its_version(here: Path) -> None:
    assert run(here, "--version") == Ended(ExitCode.OK, f"daarion-appservice {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["nonsense"], ["config", "check", "--nonsense"], ["config", "check", "extra"]])
def test_a_wrong_command_line_ends_with_the_code_for_it(here: Path, arguments: list[str]) -> None:
    ended = run(here, *arguments)
    assert ended.code == ExitCode.USAGE
    assert "Usage: daarion-appservice" in ended.err


def test_the_way_from_nothing_to_a_registration(here: Path) -> None:
    generated = run(here, "config", "generate")
    assert generated.code == ExitCode.OK
    assert "registration generate -c config.yaml" in generated.out
    config = here / "config.yaml"
    config.write_text(config.read_text().replace("example.org", "city.example"))
    assert "as_token and hs_token are not both set" in run(here, "config", "check").err

    registered = run(here, "registration", "generate")
    assert registered.code == ExitCode.OK
    assert "app_service_config_files" in registered.out

    assert run(here, "config", "check") == Ended(ExitCode.OK, "config.yaml has no mistakes.\n", "")
    checked = run(here, "registration", "check")
    assert checked == Ended(ExitCode.OK, f"{here}/registration.yaml fits config.yaml.\n", "")
    assert run(here, "config", "upgrade").out == "config.yaml has every key already.\n"


def test_no_configuration_is_two_sentences_and_a_code(here: Path) -> None:
    ended = run(here, "config", "check", "-c", "city.yaml")
    assert ended == Ended(
        ExitCode.CONFIG,
        "",
        "There is no configuration at city.yaml\n"
        "-> Make one with `daarion-appservice config generate -c city.yaml`, or name another with -c.\n",
    )


def test_every_mistake_stands_on_a_line_of_its_own(here: Path) -> None:
    (here / "config.yaml").write_text("homeserver:\n  domain: https://x\napi: {port: 0}\n")
    ended = run(here, "config", "check", DAARION_MATRIX__PORT="x")
    assert ended.code == ExitCode.CONFIG
    assert ended.err.splitlines()[:4] == [
        "The configuration has 3 mistakes:",
        "  DAARION_MATRIX__PORT: matrix.port must be a whole number",
        "  config.yaml:2: homeserver.domain must be a server name like example.org, not a URL",
        "  config.yaml:3: api.port must be at least 1",
    ]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://city@localhost/city?sslmode=sure", "'sure'"),
        ("postgresql://city:geheim@localhost:port/city", "not a database address"),
        ("postgresql://city:geheim@[::1/city", "not a database address"),
        ("postgresql://city:geheim@localhost:70000/city", "a port that does not exist: 70000"),
        ("postgresql://localhost/city?password=geheim&port=x", "hosts or ports that cannot be used"),
        ("postgresql://localhost/city?host=a&host=b", "hosts or ports that cannot be used"),
        ("postgresql://localhost/city?connect_timeout=0", "connect_timeout"),
        ("postgresql://localhost/city?connect_timeout=nan", "connect_timeout"),
        ("postgresql://localhost/city?target_session_attrs=first", "Use one of any, primary"),
        ("sqlite:///city.db?mode=ro", "'mode'"),
    ],
)
def test_check_refuses_a_database_url_that_run_cannot_use(here: Path, url: str, named: str) -> None:
    (here / "config.yaml").write_text(f"database: {{url: '{url}'}}\n")
    ended = run(here, "config", "check")
    assert ended.code == ExitCode.CONFIG
    assert named in ended.err
    assert "geheim" not in ended.err


def test_an_upgrade_names_what_it_added(here: Path) -> None:
    (here / "config.yaml").write_text("logging: {level: info}\n")
    ended = run(here, "config", "upgrade")
    assert ended.code == ExitCode.OK
    assert "+ logging.format\n" in ended.out
    assert "+ homeserver\n" in ended.out


def test_a_registration_that_does_not_fit_has_a_code_of_its_own(here: Path) -> None:
    (here / "config.yaml").write_text("")
    assert run(here, "registration", "check").code == ExitCode.REGISTRATION
    run(here, "registration", "generate")
    again = run(here, "registration", "generate")
    assert again.code == ExitCode.REGISTRATION
    assert "--force" in again.err
    with (here / "config.yaml").open("a") as config:
        config.write("homeserver: {domain: city.example}\n")
    ended = run(here, "registration", "check")
    assert ended.code == ExitCode.REGISTRATION
    assert "namespaces.users does not match @agent_x:city.example" in ended.err
    assert run(here, "registration", "generate", "--force").code == ExitCode.OK
    assert run(here, "registration", "check").code == ExitCode.OK


def test_registration_check_compares_the_copy_that_synapse_has(here: Path) -> None:
    (here / "config.yaml").write_text("homeserver: {domain: city.example}\n")
    run(here, "registration", "generate")
    copy = here / "synapse.yaml"
    copy.write_text((here / "registration.yaml").read_text().replace("rate_limited: false", "rate_limited: true"))
    ended = run(here, "registration", "check", "synapse.yaml")
    assert ended.code == ExitCode.REGISTRATION
    assert "synapse.yaml does not fit config.yaml" in ended.err
    assert "rate_limited" in ended.err
    assert run(here, "registration", "check").code == ExitCode.OK


def test_a_terminal_that_knows_only_ascii_gets_all_of_it(here: Path) -> None:
    (here / "config.yaml").write_text("appservice: {bot: agent_x}\n")
    ended = run(here, "config", "check", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert ended.code == ExitCode.CONFIG
    assert "are the city's ghosts" in ended.err


def test_output_that_is_no_terminal_is_plain_and_never_wrapped(here: Path) -> None:
    deep = here / ("a-long-name-" * 12)
    deep.mkdir()
    ended = run(here, "config", "generate", "-c", str(deep / "config.yaml"), COLUMNS="40")
    assert f"Wrote {deep}/config.yaml, readable for you only.\n" in ended.out
    assert "\x1b" not in ended.out
