"""What requests cost, as counts: SQL statements of reads and writes, and encoded frames of a change. No clock.

A higher count is a slower service. Raise a limit here only with a reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from daarion_appservice.city.types import SubjectId
from daarion_appservice.http.websocket import frames, presence
from daarion_appservice.storage import message_rows
from daarion_appservice.storage.read_versions import Versions
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city
from tests.parts.statement_log import statement_log

OKSANA = citizen_token("u_1")
STATEMENTS_OF_A_MESSAGE = 8
"""Permissions, the number, the message with its search entry, feed and outbox entries, and the read mark."""


@dataclass
class Costs:
    """The statements of requests, and how many queries of versions there were."""

    statements: list[str] = field(default_factory=list)
    versions: int = 0


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url, limits={"messages": ""}) as city:
        await say(city, "general", 12)
        yield city


async def say(city: InProcessCity, room: str, count: int = 1) -> None:
    for number in range(count):
        body = {"body": f"message {number}"}
        assert (await city.call("POST", f"/city/rooms/{room}/messages", body, token=OKSANA)).status == 201


@contextmanager
def counted(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> Iterator[Costs]:
    costs, versions = Costs(), city.city.database.read_cache._versions
    read = versions.read

    async def count_versions(rooms: Collection[str]) -> Versions:
        costs.versions += 1
        return await read(rooms)

    with monkeypatch.context() as patched, statement_log(city.city.database) as log:
        patched.setattr(versions, "read", count_versions)
        costs.statements = log.statements
        yield costs


async def read_room(city: InProcessCity) -> None:
    await city.get("/city/rooms/general")


async def read_older(city: InProcessCity) -> None:
    await city.get("/city/rooms/general/messages?before=10")


async def read_list(city: InProcessCity) -> None:
    await city.get("/city/rooms")


READS = (read_room, read_older, read_list)


async def test_repeated_read_needs_one_version_query(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    for read in READS:
        await read(city)
        with counted(city, monkeypatch) as costs:
            await read(city)
        assert (costs.versions, costs.statements) == (1, []), read


async def test_message_elsewhere_keeps_read_of_room(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    for read in (read_room, read_older):
        await read(city)
        await say(city, "builders")
        with counted(city, monkeypatch) as costs:
            await read(city)
        assert (costs.versions, costs.statements) == (1, []), read


async def test_read_after_message_needs_few_statements(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    for read, at_most in ((read_room, 2), (read_older, 2), (read_list, 3)):
        await read(city)
        await say(city, "general")
        with counted(city, monkeypatch) as costs:
            await read(city)
        assert len(costs.statements) <= at_most, costs.statements


async def test_message_of_citizen_needs_few_statements(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(city, monkeypatch) as costs:
        await say(city, "general")
    assert len(costs.statements) <= STATEMENTS_OF_A_MESSAGE, costs.statements
    assert costs.versions == 0


async def test_unchanged_messages_are_converted_once(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    await read_room(city)
    await say(city, "general")
    converted: list[object] = []
    monkeypatch.setattr(message_rows, "read_message", _recorded(message_rows.read_message, converted))
    await read_room(city)
    assert len(converted) == 1


async def test_heartbeats_need_no_statement(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = {"heartbeats": [{"agent_id": "scribe"}, {"agent_id": "daarwizz"}]}
    await city.call("POST", "/api/v1/agents/heartbeats", beats, token=SERVICE_TOKEN)

    async def are_named() -> bool:
        return all(city.city.profiles.of(SubjectId(f"agent:{slug}")) is not None for slug in ("scribe", "daarwizz"))

    await eventually(are_named)  # the names of agents are read once, before their first change is sent
    with counted(city, monkeypatch) as costs:
        assert (await city.call("POST", "/api/v1/agents/heartbeats", beats, token=SERVICE_TOKEN)).status == 200
    assert (costs.versions, costs.statements) == (0, [])


async def test_change_is_encoded_once_for_all_sockets(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []
    monkeypatch.setattr(presence, "text_frame", _recorded(frames.text_frame, encoded))
    writes: list[bytes] = []
    for _ in range(1000):
        city.city.stream.listen_to(presence._singly, object(), lambda sent, _count: writes.append(sent))
    beats = {"heartbeats": [{"agent_id": "scribe", "status": "away"}]}
    assert (await city.call("POST", "/api/v1/agents/heartbeats", beats, token=SERVICE_TOKEN)).status == 200

    async def is_sent() -> bool:
        return len(writes) == 1000

    await eventually(is_sent)
    assert len(encoded) == 1
    assert len(set(map(id, writes))) == 1, "the same bytes are written to every socket"


def _recorded(function: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    return call
