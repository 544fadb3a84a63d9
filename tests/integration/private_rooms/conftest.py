"""Fixtures of the tests of rooms that are private on Matrix."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.parts.private_room import PrivateRoom, make_private, private_room


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[PrivateRoom]:
    """A city on each database, and the Matrix events of its room general."""
    async with private_room(database_url) as harness:
        yield harness


@pytest.fixture
async def secret(harness: PrivateRoom) -> PrivateRoom:
    """A room that was private on Matrix before the city linked it."""
    await make_private(harness)
    return harness
