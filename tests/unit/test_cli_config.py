"""The commands ``config`` and ``registration``: output, exit codes and files."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from daarion_appservice import __version__
from daarion_appservice.cli import main as main_module
from daarion_appservice.errors import ExitCode


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in this process, in its working directory."""
    monkeypatch.setattr(main_module, "bound_heap", lambda: None)
    monkeypatch.setattr(main_module, "_COLLECT_AFTER", gc.get_threshold())
    for name in [name for name in os.environ if name.startswith("DAARION_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **environ: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["daarion-appservice", *arguments])
        with monkeypatch.context() as variables:
            for name, value in environ.items():
                variables.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main_module.main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


def run_process(directory: Path, *arguments: str, **environ: str) -> Ended:
    """Run a command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAARION_")}
    ended = subprocess.run(
        [sys.executable, "-c", "from daarion_appservice.cli.main import main; main()", *arguments],
        cwd=directory,
        env={**clean, "PYTHONPATH": str(Path(__file__).parents[2]), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_version_is_printed_by_process(directory: Path) -> None:
    assert run_process(directory, "--version") == Ended(ExitCode.OK, f"daarion-appservice {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["nonsense"], ["config", "check", "--nonsense"], ["config", "check", "extra"]])
def test_wrong_command_line_exits_with_usage_code(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == ExitCode.USAGE
    assert "Usage: daarion-appservice" in ended.err


def test_generated_files_pass_their_checks(directory: Path, run: Run) -> None:
    generated = run("config", "generate")
    assert generated.code == ExitCode.OK
    assert "registration generate -c config.yaml" in generated.out
    config = directory / "config.yaml"
    config.write_text(config.read_text().replace("example.org", "city.example"))
    assert "as_token and hs_token are not both set" in run("config", "check").err

    registered = run("registration", "generate")
    assert registered.code == ExitCode.OK
    assert "app_service_config_files" in registered.out

    assert run("config", "check") == Ended(ExitCode.OK, "config.yaml has no errors.\n", "")
    checked = run("registration", "check")
    assert checked == Ended(ExitCode.OK, f"{directory}/registration.yaml matches config.yaml.\n", "")
    assert run("config", "upgrade").out == "config.yaml has every key already.\n"


def test_missing_config_prints_reason_and_advice(directory: Path, run: Run) -> None:
    ended = run("config", "check", "-c", "city.yaml")
    assert ended == Ended(
        ExitCode.CONFIG,
        "",
        "There is no configuration at city.yaml\n"
        "-> Make one with `daarion-appservice config generate -c city.yaml`, or name another with -c.\n",
    )


def test_each_config_error_has_its_own_line(directory: Path, run: Run) -> None:
    (directory / "config.yaml").write_text("homeserver:\n  domain: https://x\napi: {port: 0}\n")
    ended = run("config", "check", DAARION_MATRIX__PORT="x")
    assert ended.code == ExitCode.CONFIG
    assert ended.err.splitlines()[:4] == [
        "The configuration has 3 errors:",
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
def test_check_refuses_unusable_database_url(directory: Path, run: Run, url: str, named: str) -> None:
    (directory / "config.yaml").write_text(f"database: {{url: '{url}'}}\n")
    ended = run("config", "check")
    assert ended.code == ExitCode.CONFIG
    assert named in ended.err
    assert "geheim" not in ended.err


def test_upgrade_lists_added_keys(directory: Path, run: Run) -> None:
    (directory / "config.yaml").write_text("logging: {level: info}\n")
    ended = run("config", "upgrade")
    assert ended.code == ExitCode.OK
    assert "+ logging.format\n" in ended.out
    assert "+ homeserver\n" in ended.out


def test_registration_mismatch_has_own_exit_code(directory: Path, run: Run) -> None:
    (directory / "config.yaml").write_text("")
    assert run("registration", "check").code == ExitCode.REGISTRATION
    run("registration", "generate")
    again = run("registration", "generate")
    assert again.code == ExitCode.REGISTRATION
    assert "--force" in again.err
    with (directory / "config.yaml").open("a") as config:
        config.write("homeserver: {domain: city.example}\n")
    ended = run("registration", "check")
    assert ended.code == ExitCode.REGISTRATION
    assert "namespaces.users does not match @agent_x:city.example" in ended.err
    assert run("registration", "generate", "--force").code == ExitCode.OK
    assert run("registration", "check").code == ExitCode.OK


def test_registration_check_compares_given_copy(directory: Path, run: Run) -> None:
    (directory / "config.yaml").write_text("homeserver: {domain: city.example}\n")
    run("registration", "generate")
    copy = directory / "synapse.yaml"
    copy.write_text((directory / "registration.yaml").read_text().replace("rate_limited: false", "rate_limited: true"))
    ended = run("registration", "check", "synapse.yaml")
    assert ended.code == ExitCode.REGISTRATION
    assert "synapse.yaml does not match config.yaml" in ended.err
    assert "rate_limited" in ended.err
    assert run("registration", "check").code == ExitCode.OK


def test_generate_key_turns_encryption_on_once(directory: Path, run: Run) -> None:
    config = directory / "config.yaml"
    config.write_text("# ours\nhomeserver: {domain: city.example}\nappservice: {as_token: a, hs_token: b}\n")
    config.chmod(0o600)
    assert "encryption generate-key" in run("config", "check").err
    generated = run("encryption", "generate-key")
    assert (generated.code, generated.err) == (ExitCode.OK, "")
    assert run("config", "check") == Ended(ExitCode.OK, "config.yaml has no errors.\n", "")
    text = config.read_text()
    assert text.startswith("# ours\n")
    again = run("encryption", "generate-key")
    assert again.code == ExitCode.CONFIG
    assert "is set already" in again.err
    assert config.read_text() == text


def test_generate_key_warns_if_disabled(directory: Path, run: Run) -> None:
    (directory / "config.yaml").write_text("encryption: {enabled: false}\n")
    assert "encryption.enabled is false" in run("encryption", "generate-key").err


def test_ascii_terminal_gets_replacements(directory: Path) -> None:
    (directory / "config.yaml").write_text("appservice: {bot: agent_x}\n")
    ended = run_process(directory, "config", "check", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert ended.code == ExitCode.CONFIG
    assert "are the city's ghosts" in ended.err


def test_piped_output_is_plain_and_unwrapped(directory: Path, run: Run) -> None:
    deep = directory / ("a-long-name-" * 12)
    deep.mkdir()
    ended = run("config", "generate", "-c", str(deep / "config.yaml"), COLUMNS="40")
    assert f"Wrote {deep}/config.yaml, readable by its owner only.\n" in ended.out
    assert "\x1b" not in ended.out
