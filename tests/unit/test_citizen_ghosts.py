"""The worker that writes the chosen profiles of citizens to their ghosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from daarion_appservice.city.events import ProfileChanged
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.linked_accounts import OwnProfile
from daarion_appservice.city.types import CitizenId, SubjectId, UserId
from daarion_appservice.errors import HomeserverRateLimited
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.profiles import Profile
from daarion_appservice.matrix.reconcile import citizen_ghosts
from daarion_appservice.matrix.reconcile.citizen_ghosts import CitizenGhosts
from daarion_appservice.storage.database import Database
from tests.parts.waiting import WAIT_S

OKSANA = CitizenId("u_1")


class RecordingGhosts:
    """Ghosts that record the names written; ``on_write`` runs during each write."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.on_write: Callable[[], None] = lambda: None
        self.written = asyncio.Condition()

    def is_known(self, user: UserId) -> bool:
        return True

    def display_name(self, user: UserId) -> str | None:
        return None

    async def ensure(self, user: UserId, profile: Profile) -> None:
        await asyncio.sleep(0)
        self.on_write()
        async with self.written:
            self.names.append(profile.display_name)
            self.written.notify_all()


class NoNames:
    """A database without names of tokens."""

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[NoNames]:
        yield self

    @property
    def citizens(self) -> NoNames:
        return self

    async def names(self, _ids: list[CitizenId]) -> dict[CitizenId, str]:
        return {}


class UpMonitor:
    async def wait_up(self) -> None:
        return


async def run_until(ghosts: RecordingGhosts, writer: CitizenGhosts, count: int) -> None:
    """Run the worker until it has written ``count`` names."""
    task = asyncio.create_task(writer.run())
    try:
        async with asyncio.timeout(WAIT_S), ghosts.written:
            await ghosts.written.wait_for(lambda: len(ghosts.names) >= count)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def writer_of(ghosts: RecordingGhosts, identities: Identities) -> CitizenGhosts:
    monitor = cast("HomeserverMonitor", UpMonitor())
    return CitizenGhosts(cast("Database", NoNames()), monitor, cast("Ghosts", ghosts), identities)


def choose(identities: Identities, name: str) -> None:
    identities.accounts.set_profiles([OwnProfile(OKSANA, display_name=name)])


@pytest.fixture
def identities() -> Identities:
    identities = Identities("city.example", "daarion_bot")
    choose(identities, "Оксана")
    return identities


async def test_change_during_write_is_written(identities: Identities) -> None:
    ghosts = RecordingGhosts()
    writer = writer_of(ghosts, identities)

    def change_once() -> None:
        ghosts.on_write = lambda: None
        choose(identities, "Ксеня")
        writer.on_profile_changed(ProfileChanged(SubjectId(OKSANA)))

    ghosts.on_write = change_once
    await run_until(ghosts, writer, 2)
    assert ghosts.names == ["Оксана", "Ксеня"]


async def test_rate_limited_profile_is_written_later(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citizen_ghosts, "_RETRY_S", 0.0)
    ghosts = RecordingGhosts()

    def refuse_once() -> Any:
        ghosts.on_write = lambda: None
        raise HomeserverRateLimited("M_LIMIT_EXCEEDED", "Too Many Requests", retry_after_ms=1)

    ghosts.on_write = refuse_once
    await run_until(ghosts, writer_of(ghosts, identities), 1)
    assert ghosts.names == ["Оксана"]
