"""The receipt sender, with a homeserver that is slow, refuses requests, or does not respond."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from daarion_appservice.city.events import LocalUserRead
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, AuthorKind, EventId, MatrixRoomId, Message, RoomId, UserId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.avatars.drawn_avatars import DrawnAvatars
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.profiles import Profile, Profiles
from daarion_appservice.matrix.outbound import receipts as receipts_module
from daarion_appservice.matrix.outbound.receipts import ReceiptSender
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, messaging_harness
from tests.parts.scripted_homeserver import HANG_UP, ReceivedRequest, ScriptedHomeserver, refused

OKSANA, TARAS = Author(AuthorKind.CITIZEN, "u_1", "Оксана"), Author(AuthorKind.CITIZEN, "u_2", "Тарас")
GHOST = UserId("@citizen_u_1:city.localhost")
GENERAL = RoomId("city_general")


@dataclass
class ReceiptHarness:
    receipts: ReceiptSender
    monitor: HomeserverMonitor
    messages: list[Message]
    active: list[UserId]

    def reads(self, number: int, reader: Author = OKSANA) -> None:
        message = self.messages[number]
        self.receipts.on_local_read(LocalUserRead(GENERAL, reader, message.id, message.seq, message.thread_root))


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    server = ScriptedHomeserver()
    async with server.serving():
        yield server


@pytest.fixture
async def harness(sqlite_url: str, homeserver: ScriptedHomeserver) -> AsyncIterator[ReceiptHarness]:
    """A member of the room with a ghost, and ten messages that are on Matrix; the last two in a thread of the first."""
    database, online_members = Database(sqlite_url), OnlineMembers()
    await migrate.upgrade(database)
    await Rooms(database, lambda _: None, now_ms, new_id).open(
        "General", slug="general", matrix_room=MatrixRoomId("!g")
    )
    city = messaging_harness(database, lambda _: None)
    messages = [await city.post(OKSANA, "general", str(number)) for number in range(8)]
    for number in (8, 9):
        draft = Draft(str(number), thread_root=messages[0].id)
        messages.append((await city.messages.post(OKSANA, "general", draft)).message)
    async with database.transaction() as tx:
        for number, message in enumerate(messages):
            await tx.messages.mark_sent(message.id, EventId(f"${number}"))
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.mark_up()
    ghosts = Ghosts(
        client,
        database,
        IDENTITIES,
        city.members,
        online_members,
        lambda _: None,
        DrawnAvatars(client, database, IDENTITIES.bot),
        Profiles("City"),
    )
    await ghosts.ensure(GHOST, Profile("Оксана"))
    online_members.add_membership(GENERAL, OKSANA.subject)
    active: list[UserId] = []
    receipts = ReceiptSender(client, monitor, database, IDENTITIES, ghosts, online_members, on_activity=active.append)
    running = asyncio.create_task(receipts.run())
    await asyncio.sleep(0)
    yield ReceiptHarness(receipts, monitor, messages, active)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    await database.close()


async def receipts(homeserver: ScriptedHomeserver, count: int) -> list[ReceivedRequest]:
    async def are_sent() -> bool:
        return len(homeserver.all("receipt")) >= count

    await eventually(are_sent)
    return homeserver.all("receipt")


async def test_newest_receipt_is_sent_and_no_older_one(harness: ReceiptHarness, homeserver: ScriptedHomeserver) -> None:
    for number in (1, 4, 2, 3):
        harness.reads(number)
    (sent,) = await receipts(homeserver, 1)
    assert (sent.user, sent.path, sent.content) == (GHOST, {"room": "!g", "event": "$4"}, {"thread_id": "main"})
    harness.reads(3)
    harness.reads(4)
    harness.reads(7)
    assert [each.path["event"] for each in await receipts(homeserver, 2)] == ["$4", "$7"]

    async def is_active() -> bool:
        return harness.active == [GHOST, GHOST]

    await eventually(is_active)


async def test_receipts_of_threads_and_timeline_are_apart(
    harness: ReceiptHarness, homeserver: ScriptedHomeserver
) -> None:
    for number in (9, 3, 8):
        harness.reads(number)
    sent = {(each.path["event"], each.content["thread_id"]) for each in await receipts(homeserver, 2)}
    assert sent == {("$9", "$0"), ("$3", "main")}


async def test_receipt_during_request_is_sent_afterwards(
    harness: ReceiptHarness, homeserver: ScriptedHomeserver
) -> None:
    answer = homeserver.hold("receipt")
    harness.reads(0)
    await receipts(homeserver, 1)
    for number in (1, 2, 3, 4, 5):
        harness.reads(number)
    harness.reads(0)
    answer.set()
    assert [each.path["event"] for each in await receipts(homeserver, 2)] == ["$0", "$5"]


async def test_receipts_of_non_members_are_dropped(harness: ReceiptHarness, homeserver: ScriptedHomeserver) -> None:
    harness.reads(3, TARAS)
    harness.reads(1)
    assert [each.user for each in await receipts(homeserver, 1)] == [GHOST]
    assert len(homeserver.all("register")) == 1, "a receipt registers no ghost"


async def test_failed_receipt_is_dropped(harness: ReceiptHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("receipt", refused(403, "M_FORBIDDEN"), HANG_UP)
    harness.reads(1)
    await receipts(homeserver, 1)
    harness.reads(2)

    async def is_lost() -> bool:
        return not harness.monitor.is_up

    await eventually(is_lost)
    harness.reads(3)
    harness.monitor.mark_up()
    harness.reads(2)
    assert [each.path["event"] for each in await receipts(homeserver, 3)] == ["$1", "$2", "$2"]


async def test_pending_and_stored_receipts_are_limited(
    harness: ReceiptHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReceiptSender, "max_pending", 0)
    harness.reads(1)
    monkeypatch.setattr(ReceiptSender, "max_pending", 1)
    monkeypatch.setattr(receipts_module, "_MAX_SENT", 0)
    harness.reads(0)
    await receipts(homeserver, 1)
    assert [each.path["event"] for each in homeserver.all("receipt")] == ["$0"]

    async def is_evicted() -> bool:
        return harness.receipts._pending == {} and len(harness.receipts._sent) == 0

    await eventually(is_evicted)
