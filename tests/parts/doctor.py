"""Runs single checks of the doctor on an installation that a test has broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from daarion_appservice.config import loading as config_file
from daarion_appservice.doctor.catalogue import CHECKS
from daarion_appservice.doctor.checks import Check
from daarion_appservice.doctor.findings import Finding
from daarion_appservice.doctor.installation import Installation
from daarion_appservice.doctor.runner import run_checks
from daarion_appservice.matrix.client import registration_file
from tests.parts import config_file as config_of_tests

BY_NAME = {each.name: each for each in CHECKS}


def write_config(directory: Path, values: Mapping[str, str | float | bool] | None = None) -> Path:
    """Write a configuration with these values, its tokens and its registration file."""
    config = directory / "config.yaml"
    wanted: dict[str, str | float | bool] = {"homeserver.domain": "city.localhost", "appservice.bot": "daarion_bot"}
    config_of_tests.write_config(config, config_of_tests.new_tokens() | wanted | dict(values or {}))
    registration_file.generate(config_file.load(config, {}), config)
    return config


def with_needed(names: Iterable[str]) -> list[Check]:
    """Return the checks and those that they need, in the order of the catalogue."""
    wanted: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending += BY_NAME[name].needs
    return [each for each in CHECKS if each.name in wanted]


async def finding_of(name: str, config: Path, synapse_registration: Path | None = None) -> Finding:
    """Run a check and those that it needs; return its finding."""
    async with Installation(config, synapse_registration, {}) as installation:
        results = await run_checks(with_needed([name]), installation)
    return {result.name: result.finding for result in results}[name]


async def expect_finding(name: str, config: Path, status: str, *parts: str) -> Finding:
    """Assert that a check has this status and names these parts; return its finding."""
    found = await finding_of(name, config)
    assert found.status.value == status, found
    for part in parts:
        assert part in f"{found.summary} {found.advice}", found
    return found
