"""constraints.txt pins a version that setup.cfg allows for each of its requirements, and names no package index."""

from __future__ import annotations

import configparser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def test_constraints_satisfy_all_requirements() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    wanted = [Requirement(line) for text in lines for line in text.splitlines() if line and not line.startswith("#")]
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    assert all(pin.url is None for pin in pins)
    versions: dict[str, list[str]] = {}
    for pin in pins:
        versions.setdefault(canonicalize_name(pin.name), []).extend(each.version for each in pin.specifier)
    for requirement in wanted:
        pinned = versions.get(canonicalize_name(requirement.name), [])
        assert pinned, f"make lock: {requirement.name} is not in constraints.txt"
        assert all(requirement.specifier.contains(version) for version in pinned), requirement
