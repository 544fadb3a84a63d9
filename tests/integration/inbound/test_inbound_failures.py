"""Events that fail are retried and become dead letters; none blocks other rooms, is lost or is handled twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.matrix.inbound.worker import MAX_ATTEMPTS
from tests.parts.city import eventually
from tests.parts.inbound_harness import (
    ALICE,
    BUILDERS,
    GENERAL,
    SCRIBE,
    InboundHarness,
    inbound_harness,
    message_event,
)
from tests.parts.messaging import IDENTITIES


async def test_failing_event_is_retried_in_its_place(harness: InboundHarness) -> None:
    harness.handlers.broken = {"$2"}
    await harness.store(
        message_event("$1"), message_event("$2"), message_event("$3"), message_event("$b", room=BUILDERS)
    )

    async with harness.running():
        await eventually(harness.has_tried("$2", times=3))
        assert await harness.bodies() == ["$1"], "what follows in its room waits"
        assert await harness.bodies("builders") == ["$b"], "another room does not"
        harness.handlers.broken = set()
        await eventually(harness.is_empty)

    assert await harness.bodies() == ["$1", "$2", "$3"]
    assert [message.seq for message in await harness.in_room()] == [1, 2, 3], "a failed try took no number"
    assert len(harness.published) == 4


async def test_event_that_always_fails_becomes_dead_letter(harness: InboundHarness) -> None:
    harness.handlers.broken = {"$2"}
    await harness.store(message_event("$1"), message_event("$2"), message_event("$3"))
    await harness.handle_all()

    assert await harness.bodies() == ["$1", "$3"]
    (dead,) = await harness.dead()
    assert (dead.event_id, dead.matrix_room_id, dead.attempts) == ("$2", GENERAL, MAX_ATTEMPTS)
    assert dead.error == "RuntimeError: $2 is too much"
    assert json.loads(dead.event) == message_event("$2"), "it is kept as it came"


async def test_dead_letter_is_handled_after_retry(harness: InboundHarness) -> None:
    harness.handlers.broken = {"$1"}
    await harness.store(message_event("$1"), message_event("$2"))
    await harness.handle_all()
    harness.handlers.broken = set()

    async with harness.database.transaction() as tx:
        assert await tx.inbox.retry(["$other"]) == 0
        assert await tx.inbox.retry(["$1"]) == 1
    await harness.handle_all()

    assert await harness.bodies() == ["$2", "$1"]
    assert await harness.dead() == []


async def test_dead_letters_without_event_id_are_retried(harness: InboundHarness) -> None:
    await harness.store({"type": "m.room.message"}, message_event("$1"))
    async with harness.database.transaction() as tx:
        rows = [inbox_event(event) for event in (["no", "event"], 5, None)]
        await tx.inbox.add(rows, now_ms=1)
        assert await tx.inbox.retry(None) == 4
    await harness.handle_all()
    assert await harness.bodies() == ["$1"]


async def test_cancelled_batch_is_handled_once_later(harness: InboundHarness) -> None:
    harness.handlers.endless = {"$2"}
    await harness.store(message_event("$1"), message_event("$2"), message_event("$3"))
    async with harness.running():
        await eventually(harness.has_tried("$2"))
    assert await harness.bodies() == [], "nothing of a batch is there before all of it is"
    assert harness.published == []

    harness.handlers.endless = set()
    await harness.handle_all()
    await harness.handle_all()

    assert await harness.bodies() == ["$1", "$2", "$3"]
    assert len(harness.published) == 3


async def test_handled_event_keeps_only_its_id(harness: InboundHarness) -> None:
    await harness.store(message_event("$1", "a secret"))
    await harness.handle_all()
    await harness.store(message_event("$1", "a secret"))
    await harness.handle_all()

    assert await harness.bodies() == ["a secret"]
    async with harness.database.read_only() as tx:
        rows = (await tx.connection.exec_driver_sql("SELECT event_id, event, state FROM inbox")).all()
    assert [tuple(row) for row in rows] == [("$1", "", "done")]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OURS = st.sampled_from([SCRIBE, "@citizen_u_1:city.localhost", IDENTITIES.bot, "@citizen_=ff:city.localhost"])
IDS = OURS | st.sampled_from([ALICE, "@" + "x" * 300 + ":hs", "@a:\0", ""]) | ANYTHING
CONTENTS = (
    st.fixed_dictionaries(
        {},
        optional={
            "msgtype": st.sampled_from(["m.text", "m.notice"]) | ANYTHING,
            "body": ANYTHING,
            "membership": st.sampled_from(["join", "leave"]) | ANYTHING,
            "displayname": ANYTHING,
            "avatar_url": ANYTHING,
            "name": ANYTHING,
            "topic": ANYTHING,
            "m.relates_to": ANYTHING,
            MESSAGE_ID: ANYTHING,
        },
    )
    | ANYTHING
)
KINDS = [
    "m.room.message",
    "m.sticker",
    "m.reaction",
    "m.room.redaction",
    "m.room.member",
    "m.room.name",
    "m.room.topic",
]
EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(KINDS) | ANYTHING,
        "room_id": st.just(GENERAL) | ANYTHING,
    },
    optional={
        "event_id": TEXTS.map("${}".format) | ANYTHING,
        "sender": IDS,
        "state_key": st.just("") | IDS,
        "origin_server_ts": st.integers() | ANYTHING,
        "content": CONTENTS,
    },
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENTS, min_size=40, max_size=40))
@example(
    events=[
        message_event("$1", content={"msgtype": [], "body": ""}),
        message_event("$2", sender=SCRIBE, content={MESSAGE_ID: "\0"}),
    ]
)
def test_arbitrary_events_break_no_handler(database_url: str, events: list[dict[str, Any]]) -> None:
    async def handle_each() -> None:
        async with inbound_harness(database_url) as harness:
            for event in events:
                async with harness.database.transaction() as tx:
                    await harness.messaging.handlers().handle(tx, event)

    asyncio.run(handle_each())
