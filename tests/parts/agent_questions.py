"""Messages of Matrix users to agents, as the dispatch of inbound events receives them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from daarion_appservice.agents import edit_throttle, request_watcher
from daarion_appservice.city.types import Author, AuthorKind, Message, RoomId
from daarion_appservice.clock import now_ms
from tests.parts.agent_replies import AgentReplyHarness, open_agent_replies

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
ALICE = "@alice:city.localhost"


async def happens(harness: AgentReplyHarness, room: RoomId, content: Any, *, event_id: str = "$1") -> Message:
    """Alice says something on Matrix; returns the message that it became."""
    async with harness.database.transaction() as tx:
        found = await tx.rooms.get(room)
        assert found is not None
        event: dict[str, Any] = {
            "type": "m.room.message",
            "event_id": event_id,
            "sender": ALICE,
            "room_id": found.matrix_room_id,
        }
        event |= {"origin_server_ts": now_ms()}
        await harness.messaging.handlers().handle(tx, event | {"content": content})
    return (await harness.messages(room))[-1]


@asynccontextmanager
async def open_quick_replies(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    """Open the harness of agents' replies, with edits of drafts and checks of questions at short intervals."""
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(edit_throttle, "_FIRST_INTERVAL_S", 0.0)
    monkeypatch.setattr(edit_throttle, "_SECOND_INTERVAL_S", 0.0)
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness
