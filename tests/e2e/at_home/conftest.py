"""The city whose people are in Element's SDK, in matrix-nio and on the page."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.parts.at_home import AtHome, at_home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_home(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AtHome]:
    async with at_home(tmp_path_factory.mktemp("at_home"), module_database_url) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def home(shared_home: AtHome) -> AtHome:
    await shared_home.reset()
    return shared_home
