"""Events of other servers are handled only if the homeserver shows them to clients."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.inbound import confirmation as confirmation_module
from daarion_appservice.matrix.inbound.worker import MAX_ATTEMPTS
from tests.parts.city import eventually
from tests.parts.inbound_harness import (
    ALICE,
    BUILDERS,
    InboundHarness,
    member_event,
    message_event,
    state_event,
)
from tests.parts.scripted_homeserver import Reply, refused

FAY = "@fay:elsewhere.org"
UNSEEN = refused(404, "M_NOT_FOUND", "Event not found.")


@pytest.fixture
def short_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation_module, "_RETRY_DELAYS_MS", (10, 20))


async def test_event_never_shown_is_dropped(harness: InboundHarness, short_retries: None) -> None:
    harness.homeserver.next("event", UNSEEN, UNSEEN, UNSEEN)
    await harness.store(message_event("$1", sender=FAY), message_event("$2"))
    await harness.handle_all()

    assert await harness.bodies() == ["$2"]
    assert [received.path["event"] for received in harness.homeserver.all("event")].count("$1") == 3
    assert not await harness.dead()


async def test_event_shown_later_is_handled(harness: InboundHarness, short_retries: None) -> None:
    harness.homeserver.next("event", UNSEEN)
    await harness.store(message_event("$1", sender=FAY), message_event("$2"))
    await harness.handle_all()

    assert sorted(await harness.bodies()) == ["$1", "$2"]


async def test_local_events_cause_no_requests(harness: InboundHarness) -> None:
    await harness.store(
        message_event("$1"), member_event("$2", ALICE), state_event("$3", "m.room.name", {"name": "New"})
    )
    await harness.handle_all()

    assert harness.homeserver.requests == []


async def test_many_remote_events_cost_one_page_request(harness: InboundHarness) -> None:
    events = [message_event(f"${n}", sender=FAY) for n in range(20)]
    harness.homeserver.next("messages", Reply(200, {"chunk": events[::-1]}))
    await harness.store(*events)
    await harness.handle_all()

    assert await harness.bodies() == [f"${n}" for n in range(20)]
    assert [received.what for received in harness.homeserver.requests] == ["messages"]


async def test_remote_state_event_yields_current_state(harness: InboundHarness) -> None:
    now = state_event("$now", "m.room.name", {"name": "As it is"}, sender=FAY)
    for _ in range(2):
        harness.homeserver.next("state", Reply(200, now))
    await harness.store(
        state_event("$lost", "m.room.name", {"name": "As it was claimed"}, sender=FAY), message_event("$1")
    )
    await harness.handle_all()

    assert (await harness.room()).name == "As it is"


async def test_soft_failed_join_keeps_the_ban(harness: InboundHarness) -> None:
    ban = member_event("$ban", FAY, "ban") | {"sender": ALICE}
    await harness.store(member_event("$join", ALICE), ban)
    harness.homeserver.next("state", Reply(200, ban))
    await harness.store(member_event("$back", FAY, displayname="Not banned"))
    await harness.handle_all()

    async with harness.database.read_only() as tx:
        assert [member.user_id for member in await tx.members.all()] == [ALICE]


async def test_refused_confirmation_pauses_its_room_only(
    harness: InboundHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation_module, "_MIN_PAUSE_MS", 10)
    harness.homeserver.next("event", refused(500, "M_UNKNOWN"))
    await harness.store(message_event("$1", sender=FAY), message_event("$2"), message_event("$3", room=BUILDERS))
    await harness.handle_all()

    assert await harness.bodies() == ["$1", "$2"]
    assert await harness.bodies("builders") == ["$3"]


async def test_paused_room_is_not_confirmed_before_its_time(harness: InboundHarness) -> None:
    harness.homeserver.next("event", refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=60_000))
    await harness.store(message_event("$1", sender=FAY), message_event("$2"))
    async with harness.running():

        async def is_requested() -> bool:
            return bool(harness.homeserver.all("event"))

        await eventually(is_requested)
        await harness.store(message_event("$3", room=BUILDERS))
        await eventually(harness.has_tried("$3"))
        await harness.store(message_event("$4", room=BUILDERS))
        await eventually(harness.has_tried("$4"))
        assert len(harness.homeserver.all("event")) == 1
        assert await harness.bodies() == []
        # What was wrong with the homeserver may be over when it returns.
        harness.inbound._monitor.report_unavailable(HomeserverUnavailable("gone"))
        harness.inbound._monitor.mark_up()
        await eventually(harness.is_empty)
    assert await harness.bodies() == ["$1", "$2"]


@pytest.mark.parametrize("answer", [refused(400, "M_INVALID_PARAM"), refused(413, "M_TOO_LARGE"), Reply(200, [])])
async def test_state_always_refused_becomes_dead_letter(harness: InboundHarness, answer: Reply) -> None:
    if answer.status == 200:
        # Only the whole state is a list, and a change of power levels has the whole state read.
        harness.homeserver.next("whole_state", *[Reply(200, {})] * MAX_ATTEMPTS)
        event = state_event("$1", "m.room.power_levels", {}, sender=FAY)
    else:
        harness.homeserver.next("state", *[answer] * MAX_ATTEMPTS)
        event = state_event("$1", "m.room.name", {"name": "New"}, sender=FAY)
    await harness.store(event, message_event("$2"), message_event("$3", room=BUILDERS))
    await harness.handle_all()

    assert [row.event_id for row in await harness.dead()] == ["$1"]
    assert (await harness.bodies(), await harness.bodies("builders")) == (["$2"], ["$3"])


@pytest.mark.parametrize("sender", [ALICE, FAY])
async def test_redacted_state_is_read_again(harness: InboundHarness, sender: str) -> None:
    before = [
        state_event("$topic", "m.room.topic", {"topic": "rude"}),
        state_event("$picture", "m.room.avatar", {"url": "mxc://city.localhost/rude"}),
        member_event("$member", ALICE, displayname="Rude", avatar_url="mxc://city.localhost/rude"),
    ]
    await harness.store(*before)
    await harness.handle_all()
    assert (await harness.room()).description == "rude"

    for event in before:
        redacted = event | {"content": {"membership": "join"} if event["type"] == "m.room.member" else {}}
        if sender == FAY:
            harness.homeserver.next("event", Reply(200, {}))  # the redaction itself
        harness.homeserver.next("event", Reply(200, redacted))
        route = "member" if event["type"] == "m.room.member" else "state"
        harness.homeserver.next(route, Reply(200, redacted))
        redaction = {"type": "m.room.redaction", "redacts": event["event_id"], "content": {}, "sender": sender}
        await harness.store(message_event(f"$no-{event['event_id'][1:]}") | redaction)
        await harness.handle_all()

    room = await harness.room()
    assert (room.description, room.avatar_url) == ("", None)
    async with harness.database.read_only() as tx:
        (member,) = await tx.members.of_room(room.id)
    assert (member.user_id, member.display_name, member.avatar_url) == (ALICE, None, None)
    assert not await harness.dead()


async def test_redaction_of_a_message_requests_nothing(harness: InboundHarness) -> None:
    redaction = message_event("$redaction") | {"type": "m.room.redaction", "redacts": "$1", "content": {}}
    await harness.store(message_event("$1"))
    await harness.handle_all()
    await harness.store(redaction)
    await harness.handle_all()

    assert await harness.bodies() == [""]
    assert harness.homeserver.requests == []
