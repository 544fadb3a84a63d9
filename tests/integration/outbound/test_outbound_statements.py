"""The SQL statements and commits that one message to Matrix costs: a guard against statements that come back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.types import Delivery
from tests.parts.city import eventually
from tests.parts.outbound import OKSANA, OutboundHarness, outbound_harness
from tests.parts.round_trips import counted_round_trips
from tests.parts.scripted_homeserver import ScriptedHomeserver
from tests.parts.statement_log import statement_log

_STATEMENTS_OF_POST = 8
"""The room, the account with restrictions, the number, the message, its words, the read mark, feed, outbox."""
_ROUND_TRIPS_OF_POST = {"sqlite": 4, "postgresql": 6}
"""The room, the account, the number, and the writes, with them the commit; on PostgreSQL BEGIN and COMMIT too."""
_STATEMENTS_UNTIL_REQUEST = 2
"""The waiting rows, the room with the message."""
_STATEMENTS_OF_RESULT = 6
"""The room's lock, the message, its mark, the number, the event, the outbox."""
_ROUND_TRIPS_OF_RESULT = {"sqlite": 4, "postgresql": 7}
"""The lock, the message, the number, with it the mark, and the other writes, with them the commit."""


@pytest.fixture
async def outbound(
    database_url: str, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, client_timeout_s: float
) -> AsyncIterator[OutboundHarness]:
    """The outbound worker on each database."""
    async with outbound_harness(database_url, homeserver, monkeypatch, client_timeout_s=client_timeout_s) as harness:
        yield harness


async def test_post_takes_few_statements_and_one_commit(outbound: OutboundHarness) -> None:
    with statement_log(outbound.database) as log, counted_round_trips() as trips:
        await outbound.messaging.post(OKSANA, "general", "hello")
    assert len(log.statements) <= _STATEMENTS_OF_POST, log.statements
    assert log.commits == 1
    assert trips.count <= _ROUND_TRIPS_OF_POST[_kind(outbound)]


async def test_delivery_takes_few_statements_and_one_commit(outbound: OutboundHarness) -> None:
    await outbound.post("the first has its author registered and joined", author=OKSANA)
    await outbound.deliveries_when_done()
    await outbound.messaging.post(OKSANA, "general", "hello")
    with statement_log(outbound.database) as log, counted_round_trips() as trips:
        outbound.worker.wake()
        await eventually(log.has_commit)
        statements = list(log.statements)
        count = trips.count
    # When the time of a pause is over, the worker may read the outbox again.
    readings = [statement for statement in statements if statement.startswith("SELECT outbox.")]
    expected = _STATEMENTS_UNTIL_REQUEST + _STATEMENTS_OF_RESULT
    assert len(statements) - len(readings) + 1 <= expected, statements
    assert count <= _ROUND_TRIPS_OF_RESULT[_kind(outbound)]
    assert [delivery for _, delivery in await outbound.deliveries_when_done()] == [Delivery.SENT] * 2


def _kind(outbound: OutboundHarness) -> str:
    return outbound.database.url.get_backend_name()
