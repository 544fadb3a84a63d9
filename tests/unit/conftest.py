"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from tests.parts.clock import SecondsClock


@pytest.fixture
def clock() -> SecondsClock:
    return SecondsClock()
