"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.clock import SecondsClock


@pytest.fixture
def clock() -> SecondsClock:
    return SecondsClock()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The path of a configuration file that does not exist yet."""
    return tmp_path / "config.yaml"
