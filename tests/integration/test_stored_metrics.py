"""Metrics of what waits in the database, and numbers of rooms; the scrape never waits for the database."""

from __future__ import annotations

import asyncio

import pytest

from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import CitizenId, MatrixStatus
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.errors import (
    DatabaseUnavailable,
)
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.ops import stored_metrics as stored_metrics_module
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.queue_depths import read_inventory, read_queue_depths
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city, push
from tests.parts.inbound_harness import message_event
from tests.parts.messaging import messaging_harness
from tests.parts.metrics import scrape
from tests.parts.outbound import OKSANA
from tests.parts.waiting import WAIT_S


async def test_depths_and_ages_are_read_at_scrape(city: InProcessCity) -> None:
    empty = await scrape(city)
    assert empty["daarion_inbox_events"] == {"new": 0, "dead": 0}
    assert empty["daarion_inbox_oldest_age_seconds"][""] == empty["daarion_outbox_oldest_age_seconds"][""] == 0
    assert "daarion_transaction_last_timestamp_seconds" not in empty
    await push(city, "1", message_event("$1"), message_event("$2"), "no event")
    await city.call("POST", "/city/rooms/general/messages", {"body": "hello"}, token=citizen_token("u_1"))
    assert (await scrape(city))["daarion_inbox_events"]["new"] == 0, "the values are kept for some seconds"
    await city.city.stored_metrics.read()
    found = await scrape(city)
    assert found["daarion_inbox_events"] == {"new": 2, "dead": 1}
    assert 0 < found["daarion_inbox_oldest_age_seconds"][""] < 600
    assert found["daarion_transaction_last_timestamp_seconds"][""] > 1e9
    assert found["daarion_outbox_entries"] == {"new": 1, "failed": 0}
    assert 0 < found["daarion_outbox_oldest_age_seconds"][""] < 600
    assert found["daarion_rooms"]["room/pending"] > 0
    assert found["daarion_ghosts"][""] == found["daarion_replies_owed"][""] == 0


async def test_oldest_row_that_waits_is_read(database: Database) -> None:
    await migrate.upgrade(database)
    messages = messaging_harness(database, lambda _: None)
    await Rooms(database, lambda _: None, now_ms, new_id).open("general", slug="general")
    before_ms = now_ms()
    first = await messages.post(OKSANA, "general", "first")
    await messages.post(OKSANA, "general", "second")
    async with database.transaction() as tx:
        for event_id, at_ms in (("$dead", 500), ("$1", 1_000), ("$2", 2_000)):
            await tx.inbox.add([inbox_event(message_event(event_id))], now_ms=at_ms)
        rows = await tx.inbox.waiting(after_id=0, limit=3)
        await tx.inbox.record_failure(rows[0], "too much", retry_at_ms=None)
        waiting = await read_queue_depths(tx)
        entries = await tx.outbox.waiting(limit=3)
    assert (waiting.inbox.counts, waiting.inbox.oldest_ms) == ({"new": 2, "dead": 1}, 1_000)
    assert waiting.outbox.counts == {"new": len(entries), "failed": 0}
    assert waiting.outbox.oldest_ms == entries[0].created_ms
    assert before_ms <= min(entry.created_ms or 0 for entry in entries) <= first.created_at_ms
    assert (waiting.replies.counts, waiting.replies.oldest_ms) == ({"pending": 0}, None)


async def test_standby_exports_the_same_depths(postgres_url: str) -> None:
    async with in_process_city(postgres_url) as leader, in_process_city(postgres_url) as standby:
        await push(leader, "1", message_event("$1"))
        await standby.city.stored_metrics.read()
        assert (await scrape(standby))["daarion_inbox_events"]["new"] == 1


@pytest.mark.parametrize("is_hanging", [False, True])
async def test_scrape_succeeds_without_database(
    sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch, *, is_hanging: bool
) -> None:
    async def away(_tx: Transaction) -> None:
        if is_hanging:
            await asyncio.Event().wait()
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(stored_metrics_module, "_EVERY_S", 0.0)
    monkeypatch.setattr(stored_metrics_module, "_WAIT_S", WAIT_S)
    assert "daarion_inbox_events" in await scrape(sqlite_city)
    if is_hanging:
        monkeypatch.setattr(stored_metrics_module, "_WAIT_S", 0.1)
        monkeypatch.setattr(stored_metrics_module, "_OUTDATED_S", 0.0)
    monkeypatch.setattr(stored_metrics_module, "read_queue_depths", away)
    for _ in range(2):
        found = await scrape(sqlite_city)
        assert "daarion_leader" in found
        assert not {"daarion_inbox_events", "daarion_outbox_oldest_age_seconds", "daarion_rooms"} & found.keys()


async def test_rooms_are_counted_by_kind_and_state(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms", {"name": "Збори"}, token=citizen_token("u_1"))
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.find("general")
        assert room is not None
        await tx.matrix_rooms.set_status(room.id, MatrixStatus.LINKED, "the bot is not a member")
        counts = (await read_inventory(tx)).rooms
    assert counts["room", "error"] == 1
    assert counts["room", "pending"] >= 1


async def test_chats_of_citizens_count_as_direct_chats(city: InProcessCity) -> None:
    async with city.city.database.read_only() as tx:
        before = (await read_inventory(tx)).rooms
    for subject, name in (("u_1", "Оксана"), ("u_2", "Тарас")):
        await city.city.citizen_names.record(CitizenId(subject), name)
    opened = await city.call("POST", "/city/direct", {"with": "citizen:u_2"}, token=citizen_token("u_1"))
    assert opened.status == 201, opened
    async with city.city.database.read_only() as tx:
        after = (await read_inventory(tx)).rooms
    assert _of_kind(after, "direct_chat") == _of_kind(before, "direct_chat") + 1
    assert _of_kind(after, "room") == _of_kind(before, "room")


def _of_kind(counts: dict[tuple[str, str], int], kind: str) -> int:
    return sum(count for (each, _), count in counts.items() if each == kind)
