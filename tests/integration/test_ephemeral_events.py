"""Tests of the ephemeral events of transactions: presence of Matrix users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.presence import Status
from daarion_appservice.city.types import SubjectId, UserId
from daarion_appservice.clock import now_ms
from tests.parts.transactions import (
    ALICE,
    TransactionHarness,
    event,
    open_transactions,
    presence,
)


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[TransactionHarness]:
    async with open_transactions(database_url) as harness:
        yield harness


# --- ephemeral ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [["ephemeral"], ["de.sorunome.msc2409.ephemeral"], ["ephemeral", "de.sorunome.msc2409.ephemeral"]]
)
async def test_presence_of_people_is_taken_under_either_name(harness: TransactionHarness, names: list[str]) -> None:
    edus = [presence(status_msg="тут", last_active_ago=10)]
    assert (await harness.send("1", {"events": []} | dict.fromkeys(names, edus))).status == 200

    shown = harness.presence.state(ALICE)
    assert (shown.status, shown.status_msg) == (Status.ONLINE, "тут")


async def test_presence_under_both_keys_counts_once(harness: TransactionHarness) -> None:
    both = {"ephemeral": [presence(status_msg="new")], "de.sorunome.msc2409.ephemeral": [presence(status_msg="old")]}
    await harness.send("1", {"events": []} | both)
    assert harness.presence.state(ALICE).status_msg == "new"


async def test_a_ghosts_own_echo_changes_nothing(harness: TransactionHarness) -> None:
    ours = "@agent_daarwizz:city.localhost"
    await harness.send("1", {"ephemeral": [presence(ours)]})
    assert harness.presence.state(SubjectId("agent:daarwizz")).status is Status.OFFLINE
    assert harness.presence.state(SubjectId(UserId(ours))).status is Status.OFFLINE


ODD: list[Any] = [
    None,
    "m.presence",
    {},
    {"type": "m.presence"},
    {"type": "m.presence", "sender": 1, "content": {}},
    {"type": "m.presence", "sender": ALICE, "content": []},
    {"type": ["m.presence"], "sender": ALICE, "content": {}},
    {"type": "m.typing", "room_id": "!r", "content": {"user_ids": [ALICE]}},
    {"type": "m.receipt", "content": None},
    presence(presence=["online"]),
    presence(presence="busy"),
    presence("a subject that nobody is"),
    presence("u_123"),
    presence("agent:daarwizz"),
]


async def test_odd_ephemeral_events_are_passed_over(harness: TransactionHarness) -> None:
    bob = SubjectId("@bob:city.localhost")
    assert (await harness.send("1", {"ephemeral": [*ODD, presence(bob)]})).status == 200
    assert harness.presence.state(SubjectId("u_123")).status is Status.OFFLINE, "nobody on Matrix speaks for a citizen"
    assert harness.presence.state(SubjectId("agent:daarwizz")).status is Status.OFFLINE
    assert harness.presence.state(ALICE).status is Status.OFFLINE
    assert harness.presence.state(bob).status is Status.ONLINE


async def test_invalid_last_active_keeps_presence(harness: TransactionHarness) -> None:
    for number, ago in enumerate([-5, 1 << 70, 1.5, True, "10", None]):
        user = SubjectId(f"@user{number}:city.localhost")
        edu = presence(user, last_active_ago=ago, status_msg="a\0b")
        assert (await harness.send("1", {"ephemeral": [edu]})).status == 200
        shown = harness.presence.state(user)
        assert (shown.status, shown.status_msg) == (Status.ONLINE, "a\N{REPLACEMENT CHARACTER}b")
        assert 0 <= (shown.last_active_ms or 0) <= now_ms(), "nobody was active in the future"


async def test_invalid_ephemeral_list_keeps_events(harness: TransactionHarness) -> None:
    lists: list[Any] = [None, {}, "all", 3]
    for number, ephemeral in enumerate(lists):
        assert (await harness.send("1", {"events": [event(f"${number}")], "ephemeral": ephemeral})).status == 200
    assert len(await harness.stored()) == len(lists)
