"""The stored history visibility of messages, and the query for readable ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from daarion_appservice.city.history_visibility import MembershipPeriod, readable_ranges
from daarion_appservice.city.types import HistoryVisibility
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.readable import message_is_readable
from tests.parts.private_room import (
    ALICE,
    GENERAL,
    PrivateRoom,
    private_room,
)


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[PrivateRoom]:
    async with private_room(database_url) as harness:
        yield harness


@pytest.mark.parametrize("content", [{}, {"history_visibility": None}, {"history_visibility": "nobody"}, {"x": 1}])
async def test_unknown_visibility_is_shared(harness: PrivateRoom, content: Any) -> None:
    await harness.receive("m.room.history_visibility", content, state_key="")
    await harness.receive_text("для своїх")
    assert await harness.read() == []


@pytest.mark.parametrize("more", [{}, {"state_key": "x"}])
async def test_visibility_without_state_key_is_ignored(harness: PrivateRoom, more: Any) -> None:
    await harness.receive("m.room.history_visibility", {"history_visibility": "joined"}, **more)
    await harness.receive_text("для всіх")
    assert await harness.read() == ["для всіх"]


periods = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=3)


async def test_query_returns_messages_that_rule_permits(tmp_path: Any) -> None:
    database = Database(f"sqlite:///{tmp_path}/city.db")
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        await tx.connection.execute(
            insert(tables.rooms).values(id=GENERAL, slug="general", name="General", created_at_ms=1)
        )
        row = {"room_id": GENERAL, "author_kind": "matrix", "author_id": ALICE, "author_name": "", "body": "…"}
        rows, seq = [], 0
        for visibility in HistoryVisibility:
            for edit in (None, *HistoryVisibility):
                for _ in range(2):
                    seq += 1
                    rows.append(
                        row
                        | {"id": f"m{seq}", "seq": seq, "msgtype": "m.text", "created_at_ms": 1, "delivery": "sent"}
                        | {
                            "visibility": visibility,
                            "edit_seq": edit and 45 - seq,
                            "edit_visibility": edit or visibility,
                        }
                    )
        await tx.connection.execute(insert(tables.messages), rows)
        everything = await tx.messages.before(GENERAL, None, limit=100)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(periods)
    def agree(stays: list[tuple[int, int, int, bool]]) -> None:
        readable = readable_ranges(
            MembershipPeriod(5 * a, 5 * (a + b) if joined else None, 5 * (a + b + c) if c else None)
            for a, b, c, joined in stays
        )
        wanted = [message.id for message in everything if readable.may_read_message(message)]
        found.append((wanted, readable))

    found: list[tuple[list[Any], Any]] = []
    agree()
    async with database.read_only() as tx:
        for wanted, readable in found:
            statement = (
                select(tables.messages.c.id).where(message_is_readable(readable)).order_by(tables.messages.c.seq)
            )
            assert [row.id for row in await tx.connection.execute(statement)] == wanted
    await database.close()
