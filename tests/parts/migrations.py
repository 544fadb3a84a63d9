"""The parameter of tests whose database is empty."""

from __future__ import annotations

import pytest

EMPTY = pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
"""Gives a test a database without tables, in place of a migrated one."""
