"""A city for each room version, shared by the tests of this directory: to start one is expensive."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.parts.room_life import RoomLifeHarness, only_version_10, open_harness


@pytest_asyncio.fixture(
    scope="package", loop_scope="package", params=["10", pytest.param("12", marks=pytest.mark.soak)]
)
async def harness(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RoomLifeHarness]:
    async with open_harness(tmp_path_factory.mktemp("city"), request.param) as harness:
        yield harness


@pytest.fixture
def harness_10(harness: RoomLifeHarness) -> RoomLifeHarness:
    """A city with rooms of version 10, in which creators have no power above 100 and the bot can be removed."""
    return only_version_10(harness)
