"""``/api/v1/deliveries``, ``/api/v1/dead-letters`` and ``/api/v1/agents/{agent_id}/tokens/rotate``, for admins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.types import Author, AuthorKind, Delivery, Message, MessageId, OutboxKind, RoomId
from daarion_appservice.matrix.client.inbox_events import inbox_event
from tests.parts.city import ADMIN_TOKEN
from tests.parts.in_process_city import InProcessCity, in_process_city

DELIVERIES = "/api/v1/deliveries"
DEAD_LETTERS = "/api/v1/dead-letters"
GENERAL = RoomId("city_general")


@pytest.fixture
async def failing_city(database_url: str) -> AsyncIterator[InProcessCity]:
    """A city with a failed and a pending message, and two dead letters."""
    async with in_process_city(database_url, [{"slug": "scribe", "display_name": "Scribe"}]) as city:
        author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
        async with city.city.database.transaction() as tx:
            for number in range(2):
                (seq,), _ = await tx.rooms.next_seqs(GENERAL, 1)
                message = Message(MessageId(f"m{number}"), GENERAL, seq, author, "secret", 1, delivery=Delivery.PENDING)
                await tx.messages.add(message)
                await tx.outbox.add(OutboxKind.MESSAGE, message.id, GENERAL, txn_id=message.id)
            first = next(row for row in await tx.outbox.waiting(limit=99) if row.message_id == "m0")
            await tx.outbox.record_failure(first.id, "403 M_FORBIDDEN", retry_at_ms=None)
            await tx.messages.mark_failed(MessageId("m0"), "403 M_FORBIDDEN")
            events = [inbox_event({"event_id": f"${number}", "room_id": "!r"}) for number in range(2)]
            await tx.inbox.add(events, now_ms=1_764_187_200_000)
            for row in await tx.inbox.waiting(after_id=0, limit=9):
                await tx.inbox.record_failure(row, "KeyError: x", retry_at_ms=None)
        yield city


async def read(city: InProcessCity, path: str) -> Any:
    return await city.get(path, token=ADMIN_TOKEN)


async def retry(city: InProcessCity, path: str, body: Any) -> tuple[int, Any]:
    answer = await city.call("POST", f"{path}/retry", body, token=ADMIN_TOKEN)
    return answer.status, answer.content.get("retried")


async def test_failed_deliveries_are_listed_and_retried(failing_city: InProcessCity) -> None:
    failed = {
        "message_id": "m0",
        "kind": "message",
        "room_id": "city_general",
        "delivery": "failed",
        "attempts": 1,
        "error": "403 M_FORBIDDEN",
    }
    assert await read(failing_city, f"{DELIVERIES}?failed=true") == [failed]
    everything = await read(failing_city, DELIVERIES)
    assert [(row["message_id"], row["delivery"]) for row in everything] == [("m0", "failed"), ("m1", "pending")]
    assert await read(failing_city, f"{DELIVERIES}?limit=1") == [failed]
    assert await retry(failing_city, DELIVERIES, {"message_ids": ["m1", "other"]}) == (200, 0)
    assert await retry(failing_city, DELIVERIES, {"message_ids": []}) == (200, 0)
    assert await retry(failing_city, DELIVERIES, {"message_ids": ["m0"]}) == (200, 1)
    assert await read(failing_city, f"{DELIVERIES}?failed=true") == []


async def test_dead_letters_are_listed_and_retried(failing_city: InProcessCity) -> None:
    listed = await read(failing_city, DEAD_LETTERS)
    assert listed[0] == {
        "event_id": "$0",
        "room_id": "!r",
        "received_at": "2025-11-26T20:00:00.000Z",
        "error": "KeyError: x",
    }
    assert len(listed) == 2
    assert await retry(failing_city, DEAD_LETTERS, {"event_ids": ["$1"]}) == (200, 1)
    assert await read(failing_city, DEAD_LETTERS) == listed[:1]
    assert await retry(failing_city, DEAD_LETTERS, {}) == (200, 1)


@pytest.mark.parametrize("ids", ["m0", [7], [None], {}, ["x"] * 1001, ["\0"], ["\ud800"], ["x" * 100_000]])
async def test_retry_of_invalid_ids_is_no_server_error(failing_city: InProcessCity, ids: Any) -> None:
    for path, name in ((DELIVERIES, "message_ids"), (DEAD_LETTERS, "event_ids")):
        status, retried = await retry(failing_city, path, {name: ids})
        assert (status, retried) == (200, 0) or status in {400, 422}, (path, status)
    assert len(await read(failing_city, DEAD_LETTERS)) == 2
    for query in ("limit=0", "limit=1001", "failed=maybe"):
        assert (await failing_city.call("GET", f"{DELIVERIES}?{query}", token=ADMIN_TOKEN)).status == 422


async def test_rotate_leaves_one_valid_token(failing_city: InProcessCity) -> None:
    tokens = "/api/v1/agents/scribe/tokens"
    old = await failing_city.agent_token("scribe")
    answer = await failing_city.call("POST", f"{tokens}/rotate", token=ADMIN_TOKEN)
    assert (answer.status, answer.content["revoked_at"]) == (201, None)
    new = answer.content["token"]
    valid = [row["id"] for row in await read(failing_city, tokens) if row["revoked_at"] is None]
    assert valid == [answer.content["id"]]
    heartbeat = "/api/v1/agents/scribe/heartbeat"
    statuses = [(await failing_city.call("POST", heartbeat, {}, token=token)).status for token in (old, new)]
    assert statuses == [401, 200]
    assert (await failing_city.call("POST", "/api/v1/agents/nobody/tokens/rotate", token=ADMIN_TOKEN)).status == 404
