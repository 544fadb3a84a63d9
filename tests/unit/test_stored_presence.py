"""The presence of Matrix users, set by events and responses of the homeserver."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pytest

from daarion_appservice.city.identity import Identities
from daarion_appservice.city.presence import PresenceState, Status
from daarion_appservice.city.types import SubjectId, UserId
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.presence.user_presence import UserPresence, presence_state_of
from daarion_appservice.realtime.bus import Bus
from daarion_appservice.realtime.presence_memory import MemoryPresence
from tests.parts.clock import MillisecondsClock

ALICE, BOB = UserId("@alice:city.localhost"), UserId("@bob:city.localhost")
NOW_MS = 10_000_000


def presence_event(user: UserId, presence: str, **more: Any) -> dict[str, Any]:
    return {"type": "m.presence", "sender": user, "content": {"presence": presence} | more}


def user_presence(clock: MillisecondsClock, non_members: Container[UserId] = ()) -> tuple[UserPresence, MemoryPresence]:
    presence = MemoryPresence(Bus().publish, clock, ttl_ms=40_000)
    return UserPresence(
        presence, Identities("city.localhost", "daarion_bot"), clock, is_member=lambda user: user not in non_members
    ), presence


async def test_received_presence_is_stored() -> None:
    people, _ = user_presence(MillisecondsClock(NOW_MS))
    assert people.stored(ALICE) is None
    await people.apply_events([presence_event(ALICE, "unavailable", last_active_ago=5000, status_msg="обідаю")])
    await people.apply_events([presence_event(BOB, "offline", last_active_ago=415_845)])
    assert people.stored(ALICE) == PresenceState(Status.AWAY, "обідаю", NOW_MS - 5000)
    assert people.stored(BOB) == PresenceState(Status.OFFLINE, None, NOW_MS - 415_845)


async def test_status_text_is_one_line_of_255_characters() -> None:
    people, presence = user_presence(MillisecondsClock(NOW_MS))
    await people.apply_events(
        [
            presence_event(ALICE, "online", status_msg="я" * 60_000),
            presence_event(BOB, "online", status_msg="a\n\u202eb"),
        ]
    )
    assert presence.state(SubjectId(ALICE)).status_msg == "я" * 255
    assert presence.state(SubjectId(BOB)).status_msg == "a b"
    assert presence_state_of({"presence": "online", "status_msg": "я" * 60_000}, NOW_MS).status_msg == "я" * 255


async def test_user_missing_in_initial_sync_is_offline() -> None:
    people, presence = user_presence(MillisecondsClock(NOW_MS))
    await people.apply_initial_sync([presence_event(ALICE, "online"), presence_event(BOB, "online")])
    await people.apply_initial_sync([presence_event(BOB, "online")])
    assert people.stored(ALICE) is None
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE
    assert presence.state(SubjectId(BOB)).status is Status.ONLINE


async def test_currently_active_user_was_active_a_minute_ago() -> None:
    clock = MillisecondsClock(NOW_MS)
    people, presence = user_presence(clock)
    await people.apply_events([presence_event(ALICE, "online", last_active_ago=10, currently_active=True)])
    await people.apply_events([presence_event(BOB, "online", last_active_ago=10, currently_active=False)])
    clock.now_ms += 3_600_000
    assert people.stored(ALICE) == PresenceState(Status.ONLINE, None, clock.now_ms - 60_000)
    assert people.stored(BOB) == PresenceState(Status.ONLINE, None, NOW_MS - 10)
    await people.republish()
    assert presence.state(SubjectId(ALICE)).last_active_ms == clock.now_ms - 60_000


async def test_response_older_than_event_is_requested_again() -> None:
    people, presence = user_presence(MillisecondsClock(NOW_MS))
    responses = [{"presence": "online", "status_msg": "old"}, {"presence": "online", "status_msg": "new"}]

    async def request(user: UserId) -> dict[str, Any]:
        if len(responses) == 2:
            await people.apply_events([presence_event(user, "offline")])
        return responses.pop(0)

    assert await people.fetch(ALICE, request) == PresenceState(Status.ONLINE, "new")
    assert responses == []
    assert presence.state(SubjectId(ALICE)).status_msg == "new"


async def test_non_member_is_offline() -> None:
    people, presence = user_presence(MillisecondsClock(NOW_MS), non_members={ALICE})

    async def online(_: UserId) -> dict[str, Any]:
        return {"presence": "online"}

    await people.apply_initial_sync([presence_event(ALICE, "online"), presence_event(BOB, "online")])
    assert [presence.state(SubjectId(each)).status for each in (ALICE, BOB)] == [Status.OFFLINE, Status.ONLINE]
    await people.apply_events([presence_event(ALICE, "unavailable")])
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE
    assert await people.fetch(ALICE, online) == PresenceState()
    await people.republish()
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE


async def test_user_who_left_every_room_is_offline() -> None:
    non_members: set[UserId] = set()
    people, presence = user_presence(MillisecondsClock(NOW_MS), non_members)
    await people.apply_events([presence_event(ALICE, "online")])
    non_members.add(ALICE)
    await people.apply_events([presence_event(ALICE, "online", status_msg="still")])
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE


async def test_failed_request_stores_nothing() -> None:
    people, _ = user_presence(MillisecondsClock(NOW_MS))

    async def request(_: UserId) -> dict[str, Any]:
        raise HomeserverUnavailable("no response")

    with pytest.raises(HomeserverUnavailable):
        await people.fetch(ALICE, request)
    assert people.stored(ALICE) is None
