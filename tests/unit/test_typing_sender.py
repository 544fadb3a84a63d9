"""The typing sender: which typing changes reach the homeserver, without a homeserver or a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from daarion_appservice.city.events import LocalUserTyping
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.types import Author, AuthorKind, RoomId, UserId
from daarion_appservice.matrix.outbound.typing import TypingSender

GENERAL = RoomId("city_general")
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Scribe")
OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Oksana")
GHOST = UserId("@agent_scribe:city.localhost")


class FakeCity:
    """The homeserver, its monitor, the database and the ghosts, as far as the sender uses them."""

    is_up = True

    def __init__(self) -> None:
        self.sent: list[tuple[UserId, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def set_typing(self, room: str, user: UserId, *, typing: bool, timeout_ms: int) -> None:
        assert (room, timeout_ms) == ("!general", 12_000)
        self.sent.append((user, typing))
        await self.gate.wait()

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Any]:
        async def get(_: RoomId) -> Any:
            return SimpleNamespace(matrix_room_id="!general")

        yield SimpleNamespace(rooms=SimpleNamespace(get=get))

    def is_known(self, _: UserId) -> bool:
        return True


async def run_pending() -> None:
    """Run every task that is ready, some steps long."""
    for _ in range(20):
        await asyncio.sleep(0)


async def type_in(sender: TypingSender, *typing: bool, author: Author = SCRIBE) -> None:
    for each in typing:
        sender.on_local_typing(LocalUserTyping(GENERAL, author, each))
        await run_pending()


@pytest.fixture
async def city() -> FakeCity:
    return FakeCity()


@pytest.fixture
async def active() -> list[UserId]:
    return []


@pytest.fixture
async def sender(city: FakeCity, active: list[UserId]) -> AsyncIterator[TypingSender]:
    parts: list[Any] = [city, city, city, Identities("city.localhost", "bot"), city, OnlineMembers()]
    sender = TypingSender(*parts, on_activity=active.append)
    running = asyncio.create_task(sender.run())
    await run_pending()
    yield sender
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_start_and_end_are_sent(city: FakeCity, sender: TypingSender, active: list[UserId]) -> None:
    await type_in(sender, True, True, False, False)
    assert city.sent == [(GHOST, True), (GHOST, True), (GHOST, False)]
    assert active == [GHOST, GHOST]


async def test_end_during_start_request_is_sent(city: FakeCity, sender: TypingSender) -> None:
    city.gate.clear()
    await type_in(sender, True, False)
    city.gate.set()
    await run_pending()
    assert city.sent == [(GHOST, True), (GHOST, False)]


async def test_typing_of_non_member_is_dropped(city: FakeCity, sender: TypingSender) -> None:
    await type_in(sender, True, author=OKSANA)
    assert city.sent == []
