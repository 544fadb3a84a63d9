"""SQLAlchemy's cache of compiled statements stays small, however many rooms and ranges the readers of the city have."""

from __future__ import annotations

from typing import Any

from daarion_appservice.city.history_visibility import ReadableRanges
from daarion_appservice.city.search import search_terms
from daarion_appservice.city.types import AgentSlug, RoomId
from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.search import SearchFilter
from tests.parts.in_process_city import InProcessCity

TERMS = search_terms("лекція")


def ranges(number: int) -> ReadableRanges:
    """Return the ranges of a reader who joined and left a room ``number`` times."""
    periods = tuple((10 * start, 10 * start + 5) for start in range(number))
    return ReadableRanges(shared=periods, invited=periods, joined=periods)


async def read_everything(tx: Transaction, number: int) -> None:
    """Read as a reader of ``number`` restricted rooms who was in one of them as often."""
    by_room = {RoomId(f"private_{index}"): ranges(1) for index in range(number)}
    scribe, general, often = AgentSlug("scribe"), RoomId("city_general"), ranges(number)
    await tx.feed.before(None, limit=5, ranges_by_room=by_room)
    await tx.search.find(TERMS, SearchFilter(), by_room, limit=5)
    await tx.media.is_shown("mxc://city.localhost/none", by_room)
    await tx.agent_messages.newest(scribe, by_room, limit=5)
    await tx.last_messages.of(list(by_room), by_room)
    await tx.messages.unread(dict.fromkeys(by_room, 1), by_room, exclude=(), limit=9)
    await tx.messages.before(general, None, limit=5, readable=often)
    await tx.threads.roots(general, None, readable=often, limit=5)


async def test_statements_with_many_conditions_are_not_cached(city: InProcessCity) -> None:
    # A cache of this connection alone: background tasks of the city use that of the engine.
    cache: dict[Any, Any] = {}
    async with city.city.database.read_only() as tx:
        await tx.connection.execution_options(compiled_cache=cache)
        await read_everything(tx, 30)
        many = len(cache)
        for number in (31, 60, 120):
            await read_everything(tx, number)
        assert len(cache) == many
        # A few conditions are worth it: the second reader with as many rooms finds the statements compiled.
        await read_everything(tx, 2)
        few = len(cache)
        assert few > many
        await read_everything(tx, 2)
        assert len(cache) == few
