"""The doctor's checks of configuration, machine and registration, and how checks are run and reported."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from daarion_appservice.cli.main import main
from daarion_appservice.config import Settings
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config.pickle_key import new_pickle_key
from daarion_appservice.doctor.catalogue import CHECKS, GROUPS
from daarion_appservice.doctor.checks import check
from daarion_appservice.doctor.configuration import judge_public_address, judge_sign_in
from daarion_appservice.doctor.encryption import judge_encryption
from daarion_appservice.doctor.findings import CheckStatus, Finding, failed, passed, warning
from daarion_appservice.doctor.host import judge_disk, judge_open_files, judge_python
from daarion_appservice.doctor.installation import Installation
from daarion_appservice.doctor.report import exit_code
from daarion_appservice.doctor.runner import CheckResult, run_checks
from daarion_appservice.storage.disk_space import MIB, DiskSpace
from tests.parts.doctor import finding_of, write_config

SECRET = "a-password-that-nobody-may-see"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def status_of(finding: Finding) -> str:
    return finding.status.value


# --- running and reporting ----------------------------------------------------------------------------


async def run(*checks: object, config: Path) -> dict[str, Finding]:
    async with Installation(config, None, {}) as installation:
        results = await run_checks(checks, installation)  # type: ignore[arg-type]
    return {result.name: result.finding for result in results}


async def test_broken_checks_stop_no_other_check(config: Path) -> None:
    @check()
    async def raises(_: Installation) -> Finding:
        raise ZeroDivisionError("oh")

    @check(timeout_s=0.01)
    async def hangs(_: Installation) -> Finding:
        await asyncio.Event().wait()
        return passed("")

    @check(needs=("raises",))
    async def depends(_: Installation) -> Finding:
        return passed("")

    @check()
    async def works(_: Installation) -> Finding:
        return passed("two\nlines")

    found = await run(raises, hangs, depends, works, config=config)
    assert {name: status_of(each) for name, each in found.items()} == {
        "raises": "fail",
        "hangs": "fail",
        "depends": "skip",
        "works": "pass",
    }
    assert "ZeroDivisionError" in found["raises"].summary
    assert "0.01 seconds" in found["hangs"].summary
    assert found["depends"].summary == "needs raises"
    assert found["works"].summary == "two lines"


async def test_secrets_are_removed_from_findings(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, {"database.url": f"postgresql://u:{SECRET}%40@localhost:1/x", "agents_core.token": f"core-{SECRET}"}
    )

    @check()
    async def prints_secrets(installation: Installation) -> Finding:
        core, tokens = installation.settings.agents_core, installation.settings.appservice
        said = f"{core.token.get_secret_value()} {tokens.as_token.get_secret_value()}"
        return failed(f"{said} {SECRET}@", f"{installation.settings.database.url}")

    found = await run(prints_secrets, config=config)
    assert found["prints_secrets"] == failed("*** *** ***", "postgresql://u:***@localhost:1/x")


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([passed("")], 0),
        ([passed(""), Finding(CheckStatus.SKIP, "")], 0),
        ([passed(""), warning("", "")], 1),
        ([warning("", ""), failed("", ""), passed("")], 2),
    ],
)
def test_exit_code_is_of_worst_finding(findings: list[Finding], code: int) -> None:
    assert exit_code([CheckResult("x", each, 0.0) for each in findings]) == code


def test_checks_are_described_and_follow_their_needs() -> None:
    seen: set[str] = set()
    for each in CHECKS:
        assert set(each.needs) <= seen, each.name
        assert each.description.partition("\n")[0].endswith("."), each.name
        assert all(symptom.endswith(".") for symptom in each.symptoms), each.name
        assert each.name not in seen
        seen.add(each.name)


def test_json_report_has_all_checks(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["daarion-appservice", "doctor", "--json", "-c", str(config)])
    with pytest.raises(SystemExit) as ended:
        main()
    report = json.loads(capsys.readouterr().out)
    assert report["format"] == 1
    assert ended.value.code == report["exit_code"]
    assert [each["name"] for each in report["checks"]] == [each.name for each in CHECKS]
    assert {each["group"] for each in report["checks"]} == set(GROUPS)
    assert set(report["checks"][0]) == {"name", "group", "status", "summary", "advice", "duration_ms"}
    assert sum(report["counts"].values()) == len(CHECKS)


def test_report_without_configuration_has_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["daarion-appservice", "doctor", "-c", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (2, "")
    assert re.search(r"FAIL +config .*\n +-> .*config generate", printed.out)
    assert re.search(r"SKIP +sign_in +needs config", printed.out)


# --- configuration ------------------------------------------------------------------------------------


async def test_valid_configuration_passes(config: Path) -> None:
    for name in ("config", "tokens", "config_warnings", "registration"):
        assert status_of(await finding_of(name, config)) == "pass", name


@pytest.mark.parametrize(
    ("key", "value", "summary"),
    [
        ("appservice.as_token", "CHANGE_ME", "appservice.as_token is a placeholder"),
        ("presence.ttl_s", 5.0, "presence.ttl_s must be longer"),
        ("api.jwt.public_key", "-----BEGIN PUBLIC KEY-----\nbroken\n-----END PUBLIC KEY-----", "public_key is damaged"),
        ("database.url", "postgresql://u:p@host/x?sslmode=maybe", "sslmode"),
    ],
)
async def test_config_errors_are_named(config: Path, key: str, value: str | float, summary: str) -> None:
    config_edit.set_values(config, {key: value})
    found = await finding_of("config", config)
    assert status_of(found) == "fail"
    assert summary in found.summary
    assert found.advice


async def test_missing_token_fails_with_command(config: Path) -> None:
    config_edit.set_values(config, {"appservice.hs_token": ""})
    found = await finding_of("tokens", config)
    assert status_of(found) == "fail"
    assert "hs_token" in found.summary
    assert "registration generate" in found.advice


async def test_readable_config_and_placeholder_domain_warn(config: Path) -> None:
    config.chmod(0o644)
    config_edit.set_values(config, {"homeserver.domain": "example.org"})
    found = await finding_of("config_warnings", config)
    assert status_of(found) == "warn"
    assert "chmod 600" in found.summary
    assert "server_name" in found.summary


async def test_encryption_without_key_warns(config: Path) -> None:
    config_edit.set_values(config, {"encryption.pickle_key": ""})
    found = await finding_of("encryption", config)
    assert status_of(found) == "warn"
    assert "encryption generate-key" in found.summary
    config_edit.set_values(config, {"encryption.enabled": False})
    assert status_of(await finding_of("encryption", config)) == "skip"
    config_edit.set_values(config, {"encryption.enabled": True, "encryption.pickle_key": new_pickle_key()})
    assert status_of(await finding_of("encryption", config)) == "pass"


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (None, "pass"),
        ({"status": "ok", "detail": "ready"}, "pass"),
        ({"status": "warning", "detail": "the homeserver takes no keys of ghosts"}, "warn"),
    ],
)
def test_encryption_of_running_service_is_judged(part: dict[str, str] | None, status: str) -> None:
    assert status_of(judge_encryption(part)) == status


def settings(**sections: object) -> Settings:
    return Settings.model_validate(sections)


JWT = {"secret": "only this test signs with this secret"}


@pytest.mark.parametrize(
    ("made", "status", "summary"),
    [
        (settings(), "warn", "Nobody can sign in"),
        (settings(api={"jwt": JWT}, sign_in={"matrix": True}), "warn", "in a frame"),
        (
            settings(api={"jwt": JWT}, sign_in={"matrix": True}, web={"frame_ancestors": ["https://app.element.io"]}),
            "pass",
            "sign_in.matrix",
        ),
        (settings(api={"jwt": JWT}, sign_in={"matrix": True}, web={"enabled": False}), "pass", "sign_in.matrix"),
        (settings(sign_in={"url": "https://sign.in"}), "fail", "does not accept"),
        (settings(api={"jwt": JWT}, sign_in={"name": True}), "pass", "sign_in.name"),
        (settings(api={"jwt": JWT, "public_url": "https://a.b"}, sign_in={"name": True}), "warn", "a name alone"),
    ],
)
def test_sign_in_is_judged(made: Settings, status: str, summary: str) -> None:
    found = judge_sign_in(made)
    assert (status_of(found), summary in found.summary) == (status, True), found


@pytest.mark.parametrize(
    ("api", "status", "summary"),
    [
        ({}, "pass", "only this machine"),
        ({"host": "0.0.0.0"}, "warn", "421"),
        ({"public_url": "http://city.example"}, "warn", "no TLS"),
        ({"public_url": "https://city.example", "trusted_proxies": []}, "warn", "trusted_proxies"),
        ({"public_url": "https://city.example"}, "pass", "https://city.example"),
    ],
)
def test_public_address_is_judged(api: dict[str, object], status: str, summary: str) -> None:
    found = judge_public_address(settings(api=api))
    assert (status_of(found), summary in found.summary) == (status, True), found


# --- machine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 9), "fail"), ((3, 11, 2), "warn"), ((3, 11, 4), "pass"), ((3, 13, 0), "pass")],
)
def test_python_version_is_judged(version: tuple[int, ...], status: str) -> None:
    assert status_of(judge_python(version)) == status


@pytest.mark.parametrize(
    ("limit", "used", "status"),
    [(1024, 0, "warn"), (10_000, 8_500, "warn"), (65_536, 100, "pass"), (sys.maxsize, 0, "pass")],
)
def test_open_files_are_judged(limit: int, used: int, status: str) -> None:
    assert status_of(judge_open_files(limit, used)) == status


@pytest.mark.parametrize(
    ("free_mib", "is_writable", "status"),
    [(None, True, "fail"), (10, True, "fail"), (500, True, "warn"), (100_000, False, "fail"), (100_000, True, "pass")],
)
def test_free_disk_is_judged(free_mib: int | None, is_writable: bool, status: str) -> None:
    free = None if free_mib is None else free_mib * MIB
    assert status_of(judge_disk(DiskSpace(Path("/var/lib"), free, is_writable))) == status


# --- registration -------------------------------------------------------------------------------------


async def test_missing_registration_file_warns(config: Path) -> None:
    config.with_name("registration.yaml").unlink()
    found = await finding_of("registration", config)
    assert status_of(found) == "warn"
    assert "registration generate" in found.advice


@pytest.mark.parametrize(
    ("line", "changed", "named"),
    [
        ("rate_limited: false", "", "rate_limited must be false"),
        ("hs_token: .*", "hs_token: another-token-of-a-former-installation", "hs_token differs"),
        ("id: .*", "id: another", "id is another"),
        ("      regex: '\\^@agent_.*", "      regex: '^@bot_.*:city\\\\.localhost$'", "does not match @agent_x"),
    ],
)
async def test_difference_in_synapse_copy_is_named(
    config: Path, tmp_path: Path, line: str, changed: str, named: str
) -> None:
    copy = tmp_path / "synapse.yaml"
    copy.write_text(
        re.sub(rf"^{line}$", changed, config.with_name("registration.yaml").read_text(), flags=re.MULTILINE)
    )
    copy.chmod(0o600)
    found = await finding_of("synapse_registration", config, copy)
    assert status_of(found) == "fail"
    assert named in found.summary
    assert "former-installation" not in found.summary + found.advice
    assert "restart Synapse" in found.advice


async def test_equal_synapse_copy_passes(config: Path) -> None:
    assert status_of(await finding_of("synapse_registration", config, config.with_name("registration.yaml"))) == "pass"
    assert status_of(await finding_of("synapse_registration", config)) == "skip"
