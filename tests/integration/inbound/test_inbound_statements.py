"""The SQL statements and commits that one message from Matrix costs: a guard against statements that come back."""

from __future__ import annotations

import pytest

from daarion_appservice.city.events import MessagePosted
from daarion_appservice.clock import steady_ms
from daarion_appservice.matrix.inbound import worker
from daarion_appservice.storage import inbox
from tests.parts.city import eventually
from tests.parts.inbound_harness import GENERAL, InboundHarness, message_event
from tests.parts.round_trips import counted_round_trips
from tests.parts.statement_log import StatementLog, statement_log

_STATEMENTS_UNTIL_PUBLISHED = 7
"""The waiting row, its mark, the room with sender and event, the number, the message, its words, the feed."""
_ROUND_TRIPS_OF_TRANSACTION = {"sqlite": 5, "postgresql": 7}
"""The mark, the room, the number, the message, and the other writes, with them the commit; PostgreSQL: BEGIN and COMMIT too."""


async def until_posted(harness: InboundHarness, count: int) -> None:
    async def are_posted() -> bool:
        return sum(isinstance(event, MessagePosted) for event in harness.published) >= count

    await eventually(are_posted)


async def test_message_takes_few_statements_and_one_commit(harness: InboundHarness) -> None:
    harness.inbound._pruned_at_ms = steady_ms()
    with statement_log(harness.database) as log, counted_round_trips() as trips:
        async with harness.running():
            await harness.store(message_event("$first"))
            await until_posted(harness, 1)
            async with harness.inbound.paused(GENERAL):
                await harness.store(message_event("$second"))
                await harness.is_empty()
                log.clear()
                trips.count = 0
            await until_posted(harness, 2)
    # Until the pause ends, and when the time of a pause is over, the worker may read the inbox again.
    others = [statement for statement in log.statements if statement not in _readings(log)]
    assert len(others) + 1 <= _STATEMENTS_UNTIL_PUBLISHED, log.statements
    assert log.commits == 1
    assert trips.count <= _ROUND_TRIPS_OF_TRANSACTION[harness.database.url.get_backend_name()]


async def test_batch_is_read_with_one_statement(harness: InboundHarness) -> None:
    await harness.store(*(message_event(f"${number}") for number in range(5)))
    with statement_log(harness.database) as log:
        async with harness.running():
            await until_posted(harness, 5)
            await _until_handled(harness)
            assert len(_readings(log)) == 1


async def test_large_events_are_read_in_parts(harness: InboundHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_CHARS", 1_000)
    monkeypatch.setattr(worker, "MAX_CHARS", 1_000)
    monkeypatch.setattr(worker, "_MAX_WAIT_MS", 3_600_000)
    await harness.store(*(message_event(f"${number}", "x" * 400) for number in range(4)))
    sizes = [len(row.event) for row in await harness.waiting()]
    assert len(sizes) == 2
    assert sum(sizes) >= 1_000
    await harness.handle_all()
    assert len(await harness.bodies()) == 4


async def _until_handled(harness: InboundHarness) -> None:
    """Wait until the worker releases the inbox, after its last read."""
    async with harness.inbound._inbox_lock:
        pass


def _readings(log: StatementLog) -> list[str]:
    return [statement for statement in log.of("inbox") if statement.startswith("SELECT")]
