"""The receipt observer: its tokens across outages, refusals and new rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.types import MatrixRoomId, RoomId
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.presence import receipt_observer as observer_module
from daarion_appservice.matrix.presence.receipt_observer import ReceiptObserver
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES
from tests.parts.running_tasks import running_tasks
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver, refused

GENERAL = {MatrixRoomId("!general"): RoomId("city_general")}
BOTH = GENERAL | {MatrixRoomId("!builders"): RoomId("city_builders")}


class RecordingReceipts:
    """Records the tokens of the responses, with the rooms of each."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, int]] = []

    async def apply_sync(self, response: Any, rooms: Any, *, observer: str) -> None:
        assert observer == IDENTITIES.observer
        if response["next_batch"] == "broken":
            raise TypeError("an invalid response")
        self.applied.append((response["next_batch"], len(rooms)))


@dataclass
class ObserverHarness:
    observer: ReceiptObserver
    homeserver: ScriptedHomeserver
    monitor: HomeserverMonitor
    receipts: RecordingReceipts

    async def until_polled(self, count: int) -> list[str | None]:
        """Wait for so many polls; return the token of each."""

        async def are_there() -> bool:
            return len(self.homeserver.all("sync")) >= count

        await eventually(are_there, explain=lambda: str(self.homeserver.all("sync")))
        return [asked.query.get("since") for asked in self.homeserver.all("sync")]


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ObserverHarness]:
    monkeypatch.setattr(observer_module, "_REFUSED_PAUSE_S", 0)
    homeserver, receipts = ScriptedHomeserver(), RecordingReceipts()
    async with homeserver.serving():
        client = Homeserver(homeserver.url, "token")
        monitor = HomeserverMonitor(client, "daarion")
        observer = ReceiptObserver(client, monitor, IDENTITIES.observer, receipts, pause_s=0)  # type: ignore[arg-type]
        async with running_tasks(observer.run):
            monitor.mark_up()
            yield ObserverHarness(observer, homeserver, monitor, receipts)
        await client.close()


def synced(token: str) -> Reply:
    return Reply(200, {"next_batch": token})


async def test_sync_begins_with_initial_sync_of_rooms(harness: ObserverHarness) -> None:
    harness.homeserver.next("sync", synced("s1"), synced("s2"))
    harness.homeserver.hold("sync")
    await asyncio.sleep(0.05)
    assert harness.homeserver.all("sync") == [], "there are no rooms yet"
    harness.observer.observe(GENERAL)
    assert await harness.until_polled(3) == [None, "s1", "s2"]
    assert harness.receipts.applied == [("s1", 1), ("s2", 1)]


async def test_sync_continues_from_token_after_outage(harness: ObserverHarness) -> None:
    harness.homeserver.next("sync", synced("s1"), Reply(502, {}), synced("s2"))
    harness.homeserver.hold("sync")
    harness.observer.observe(GENERAL)

    async def is_lost() -> bool:
        return not harness.monitor.is_up

    await eventually(is_lost)
    harness.monitor.mark_up()
    assert await harness.until_polled(4) == [None, "s1", "s1", "s2"]


async def test_refused_token_begins_anew(harness: ObserverHarness) -> None:
    harness.homeserver.next("sync", synced("s1"), refused(400, "M_UNKNOWN_TOKEN"), synced("s2"))
    harness.homeserver.hold("sync")
    with capture_logs() as logs:
        harness.observer.observe(GENERAL)
        assert await harness.until_polled(4) == [None, "s1", None, "s2"]
    assert [line["event"] for line in logs] == ["receipts_refused", "receipts_back"]


async def test_added_room_needs_initial_sync(harness: ObserverHarness) -> None:
    harness.homeserver.next("sync", synced("s1"))
    answer = harness.homeserver.hold("sync", synced("s2"))
    harness.homeserver.next("sync", synced("s3"))
    harness.homeserver.hold("sync")
    harness.observer.observe(GENERAL)
    await harness.until_polled(2)
    harness.observer.observe(GENERAL)
    harness.observer.observe(BOTH)
    answer.set()
    assert await harness.until_polled(4) == [None, "s1", None, "s3"]
    assert harness.receipts.applied == [("s1", 1), ("s2", 1), ("s3", 2)]


async def test_invalid_response_is_skipped(harness: ObserverHarness) -> None:
    harness.homeserver.next("sync", synced("s1"), synced("broken"), synced("s2"))
    harness.homeserver.hold("sync")
    harness.observer.observe(GENERAL)
    assert await harness.until_polled(4) == [None, "s1", "broken", "s2"]
    assert harness.receipts.applied == [("s1", 1), ("s2", 1)]
