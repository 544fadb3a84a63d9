"""How far citizens and agents have read → a homeserver that takes its time, or does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from daarion_appservice.city.events import LocalUserRead
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, AuthorKind, EventId, MatrixRoomId, Message, RoomId, UserId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts, Profile
from daarion_appservice.matrix.outbound import receipts as receipts_module
from daarion_appservice.matrix.outbound.receipts import ReceiptSender
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, messaging_harness
from tests.parts.scripted_homeserver import HANG_UP, Asked, ScriptedHomeserver, refused

OKSANA, TARAS = Author(AuthorKind.CITIZEN, "u_1", "Оксана"), Author(AuthorKind.CITIZEN, "u_2", "Тарас")
GHOST = UserId("@citizen_u_1:city.localhost")
GENERAL = RoomId("city_general")


@dataclass
class Readers:
    receipts: ReceiptSender
    monitor: HomeserverMonitor
    messages: list[Message]
    spoke: list[UserId]

    def reads(self, number: int, who: Author = OKSANA) -> None:
        message = self.messages[number]
        self.receipts.follow(LocalUserRead(GENERAL, who, message.id, message.seq))


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    server = ScriptedHomeserver()
    async with server.serving():
        yield server


@pytest.fixture
async def readers(sqlite_url: str, homeserver: ScriptedHomeserver) -> AsyncIterator[Readers]:
    """Somebody who is in the room and has a ghost, and ten messages that are on Matrix."""
    database, online_members = Database(sqlite_url), OnlineMembers()
    await migrate.upgrade(database)
    await Rooms(database, lambda _: None, now_ms, new_id).open(
        "General", slug="general", matrix_room=MatrixRoomId("!g")
    )
    city = messaging_harness(database, lambda _: None)
    messages = [await city.post(OKSANA, "general", str(number)) for number in range(10)]
    async with database.transaction() as tx:
        for number, message in enumerate(messages):
            await tx.messages.delivered(message.id, EventId(f"${number}"))
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.found()
    ghosts = Ghosts(client, database, IDENTITIES, city.members, online_members, lambda _: None)
    await ghosts.ensure(GHOST, Profile("Оксана"))
    online_members.joined(GENERAL, OKSANA.subject)
    spoke: list[UserId] = []
    receipts = ReceiptSender(client, monitor, database, IDENTITIES, ghosts, online_members, on_spoke=spoke.append)
    running = asyncio.create_task(receipts.run())
    await asyncio.sleep(0)
    yield Readers(receipts, monitor, messages, spoke)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    await database.close()


async def receipts(homeserver: ScriptedHomeserver, count: int) -> list[Asked]:
    async def are_told() -> bool:
        return len(homeserver.all("receipt")) >= count

    await eventually(are_told)
    return homeserver.all("receipt")


async def test_of_much_that_was_read_the_newest_is_told_and_nothing_older(
    readers: Readers, homeserver: ScriptedHomeserver
) -> None:
    for number in (1, 4, 2, 3):
        readers.reads(number)
    (told,) = await receipts(homeserver, 1)
    assert (told.user, told.path, told.content) == (GHOST, {"room": "!g", "event": "$4"}, {"thread_id": "main"})
    readers.reads(3)
    readers.reads(4)
    readers.reads(7)
    assert [each.path["event"] for each in await receipts(homeserver, 2)] == ["$4", "$7"]

    async def spoke() -> bool:
        return readers.spoke == [GHOST, GHOST]

    await eventually(spoke)


async def test_what_is_read_while_a_receipt_is_on_its_way_waits_for_it(
    readers: Readers, homeserver: ScriptedHomeserver
) -> None:
    answer = homeserver.hold("receipt")
    readers.reads(0)
    await receipts(homeserver, 1)
    for number in (1, 2, 3, 4, 5):
        readers.reads(number)
    readers.reads(0)
    answer.set()
    assert [each.path["event"] for each in await receipts(homeserver, 2)] == ["$0", "$5"]


async def test_nothing_is_told_of_those_who_are_not_there_or_not_known(
    readers: Readers, homeserver: ScriptedHomeserver
) -> None:
    readers.reads(3, TARAS)
    readers.reads(1)
    assert [each.user for each in await receipts(homeserver, 1)] == [GHOST]
    assert len(homeserver.all("register")) == 1, "nobody is registered for having read"


async def test_a_receipt_that_gets_lost_is_lost_and_the_next_one_goes(
    readers: Readers, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("receipt", refused(403, "M_FORBIDDEN"), HANG_UP)
    readers.reads(1)
    await receipts(homeserver, 1)
    readers.reads(2)

    async def is_noticed() -> bool:
        return not readers.monitor.is_up

    await eventually(is_noticed)
    readers.reads(3)
    readers.monitor.found()
    readers.reads(2)
    assert [each.path["event"] for each in await receipts(homeserver, 3)] == ["$1", "$2", "$2"]


async def test_no_more_waits_and_is_remembered_than_it_should(
    readers: Readers, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts_module, "_MOST_WAITING", 0)
    readers.reads(1)
    monkeypatch.setattr(receipts_module, "_MOST_WAITING", 1)
    monkeypatch.setattr(receipts_module, "_MOST_REMEMBERED", 0)
    readers.reads(0)
    await receipts(homeserver, 1)
    assert [each.path["event"] for each in homeserver.all("receipt")] == ["$0"]

    async def is_forgotten() -> bool:
        return readers.receipts._wishes == {} and len(readers.receipts._told) == 0

    await eventually(is_forgotten)
