"""Whom the observer sees: whoever it does not see must be asked about, and never anybody whom it does."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any

import pytest

from daarion_appservice.city.events import MembershipChanged
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.presence import PresenceState, Status
from daarion_appservice.city.types import RoomId, SubjectId, UserId
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.presence.observer_coverage import ObserverCoverage
from daarion_appservice.matrix.presence.user_presence import UserPresence, presence_state_of
from daarion_appservice.realtime.bus import Bus
from daarion_appservice.realtime.presence_memory import MemoryPresence

GENERAL, ATTIC = RoomId("city_general"), RoomId("city_attic")
ALICE, BOB = UserId("@alice:city.localhost"), UserId("@bob:city.localhost")
NOW_MS = 10_000_000


# --- sight --------------------------------------------------------------------------------------------


class City:
    """Alice is in General, which is looked on."""

    def __init__(self, *, settle_s: float = 0.0) -> None:
        self.online_members = OnlineMembers()
        self.observer_coverage = ObserverCoverage(self.online_members, settle_s=settle_s)
        self.move(ALICE, joined=True)
        self.observer_coverage.open()
        self.observer_coverage.covers(frozenset({GENERAL}))

    def move(self, user: str, *, joined: bool, room: RoomId = GENERAL) -> None:
        """Change a membership as the subscription of ``MembershipChanged`` does."""
        change_members = self.online_members.joined if joined else self.online_members.left
        if change_members(room, SubjectId(user)):
            self.observer_coverage.follow(MembershipChanged(room, SubjectId(user), joined))


async def test_who_is_in_a_room_that_is_looked_on_is_seen() -> None:
    city = City()
    city.move(BOB, joined=True, room=ATTIC)
    assert (city.observer_coverage.sees(ALICE), city.observer_coverage.sees(BOB)) == (True, False)


async def test_nobody_is_seen_from_when_sight_is_lost_until_all_was_told_anew() -> None:
    city = City()
    city.observer_coverage.lose()
    assert not city.observer_coverage.sees(ALICE)
    city.observer_coverage.covers(frozenset({GENERAL}))
    assert not city.observer_coverage.sees(ALICE), "an answer that was under way when sight was lost"
    city.observer_coverage.open()
    assert not city.observer_coverage.sees(ALICE)
    city.observer_coverage.covers(frozenset({GENERAL}))
    assert city.observer_coverage.sees(ALICE)


async def test_who_came_or_left_is_seen_once_they_were_asked_about() -> None:
    city = City()
    city.move(BOB, joined=True)
    assert not city.observer_coverage.sees(BOB)
    assert await city.observer_coverage.next_moved() == BOB
    assert not city.observer_coverage.sees(BOB)
    city.observer_coverage.settled()
    assert city.observer_coverage.sees(BOB)
    city.move(BOB, joined=False)
    assert await city.observer_coverage.next_moved() == BOB
    city.observer_coverage.settled()
    assert not city.observer_coverage.sees(BOB)


async def test_who_moves_on_while_they_are_asked_about_is_asked_about_again() -> None:
    city = City()
    city.move(BOB, joined=True)
    await city.observer_coverage.next_moved()
    city.move(BOB, joined=False)
    city.move(BOB, joined=True)
    city.observer_coverage.settled()
    assert not city.observer_coverage.sees(BOB)
    assert await city.observer_coverage.next_moved() == BOB


async def test_a_question_without_an_answer_is_asked_again() -> None:
    city = City()
    city.move(BOB, joined=True)
    await city.observer_coverage.next_moved()
    city.observer_coverage.put_back()
    assert not city.observer_coverage.sees(BOB)
    assert await city.observer_coverage.next_moved() == BOB


async def test_who_only_changed_their_name_and_ghosts_are_not_asked_about() -> None:
    city = City()
    city.move(ALICE, joined=True)
    city.move("agent:daarwizz", joined=True)
    city.move("u_1", joined=True)
    city.move(BOB, joined=False)
    assert city.observer_coverage.sees(ALICE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(city.observer_coverage.next_moved(), 0.05)


async def test_who_waits_for_somebody_to_ask_about_is_woken() -> None:
    city = City()
    waiting = asyncio.create_task(city.observer_coverage.next_moved())
    await asyncio.sleep(0)
    city.move(BOB, joined=True)
    assert await asyncio.wait_for(waiting, 10) == BOB


async def test_moved_person_waits_until_settled_and_is_returned_once() -> None:
    city = City(settle_s=0.05)
    began_s = asyncio.get_running_loop().time()
    city.move(BOB, joined=True)
    assert await asyncio.wait_for(city.observer_coverage.next_moved(), 10) == BOB
    assert asyncio.get_running_loop().time() - began_s >= 0.05


async def test_moved_person_whom_sync_tells_of_is_not_asked_about() -> None:
    city = City(settle_s=0.05)
    city.move(BOB, joined=True)
    city.observer_coverage.told([BOB, ALICE])
    assert city.observer_coverage.sees(BOB)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(city.observer_coverage.next_moved(), 0.1)


async def test_moved_person_told_of_before_is_asked_about() -> None:
    city = City()
    city.observer_coverage.told([BOB])
    city.move(BOB, joined=True)
    assert await asyncio.wait_for(city.observer_coverage.next_moved(), 10) == BOB


# --- what is known of people --------------------------------------------------------------------------


def says(user: UserId, presence: str, **more: Any) -> dict[str, Any]:
    return {"type": "m.presence", "sender": user, "content": {"presence": presence} | more}


class Clock:
    now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def some_people(clock: Clock, elsewhere: Container[UserId] = ()) -> tuple[UserPresence, MemoryPresence]:
    presence = MemoryPresence(Bus().publish, clock, ttl_ms=40_000)
    return UserPresence(
        presence, Identities("city.localhost", "daarion_bot"), clock, is_member=lambda user: user not in elsewhere
    ), presence


async def test_what_was_told_is_known_also_of_who_is_offline() -> None:
    people, _ = some_people(Clock())
    assert people.known(ALICE) is None
    await people.handle_ephemeral([says(ALICE, "unavailable", last_active_ago=5000, status_msg="обідаю")])
    await people.handle_ephemeral([says(BOB, "offline", last_active_ago=415_845)])
    assert people.known(ALICE) == PresenceState(Status.AWAY, "обідаю", NOW_MS - 5000)
    assert people.known(BOB) == PresenceState(Status.OFFLINE, None, NOW_MS - 415_845)


async def test_status_text_from_matrix_is_bounded_to_255_characters_on_one_line() -> None:
    people, presence = some_people(Clock())
    await people.handle_ephemeral(
        [says(ALICE, "online", status_msg="я" * 60_000), says(BOB, "online", status_msg="a\n\u202eb")]
    )
    assert presence.state(SubjectId(ALICE)).status_msg == "я" * 255
    assert presence.state(SubjectId(BOB)).status_msg == "a b"
    assert presence_state_of({"presence": "online", "status_msg": "я" * 60_000}, NOW_MS).status_msg == "я" * 255


async def test_who_is_not_in_the_whole_state_is_gone_and_since_when_is_not_known() -> None:
    people, presence = some_people(Clock())
    await people.take_all([says(ALICE, "online"), says(BOB, "online")])
    await people.take_all([says(BOB, "online")])
    assert people.known(ALICE) is None
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE
    assert presence.state(SubjectId(BOB)).status is Status.ONLINE


async def test_who_is_active_was_so_within_the_last_minute_however_long_nothing_is_told() -> None:
    clock = Clock()
    people, presence = some_people(clock)
    await people.handle_ephemeral([says(ALICE, "online", last_active_ago=10, currently_active=True)])
    await people.handle_ephemeral([says(BOB, "online", last_active_ago=10, currently_active=False)])
    clock.now_ms += 3_600_000
    assert people.known(ALICE) == PresenceState(Status.ONLINE, None, clock.now_ms - 60_000)
    assert people.known(BOB) == PresenceState(Status.ONLINE, None, NOW_MS - 10)
    await people.republish()
    assert presence.state(SubjectId(ALICE)).last_active_ms == clock.now_ms - 60_000


async def test_an_answer_that_something_newer_overtook_does_not_count() -> None:
    people, presence = some_people(Clock())
    answers = [{"presence": "online", "status_msg": "old"}, {"presence": "online", "status_msg": "new"}]

    async def ask(user: UserId) -> dict[str, Any]:
        if len(answers) == 2:
            await people.handle_ephemeral([says(user, "offline")])
        return answers.pop(0)

    assert await people.learn(ALICE, ask) == PresenceState(Status.ONLINE, "new")
    assert answers == []
    assert presence.state(SubjectId(ALICE)).status_msg == "new"


async def test_presence_of_non_members_not_counted() -> None:
    people, presence = some_people(Clock(), elsewhere={ALICE})

    async def online(_: UserId) -> dict[str, Any]:
        return {"presence": "online"}

    await people.take_all([says(ALICE, "online"), says(BOB, "online")])
    assert [presence.state(SubjectId(each)).status for each in (ALICE, BOB)] == [Status.OFFLINE, Status.ONLINE]
    await people.handle_ephemeral([says(ALICE, "unavailable")])
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE
    assert await people.learn(ALICE, online) == PresenceState()
    await people.republish()
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE


async def test_member_who_leaves_every_room_gone_with_next_event() -> None:
    elsewhere: set[UserId] = set()
    people, presence = some_people(Clock(), elsewhere)
    await people.handle_ephemeral([says(ALICE, "online")])
    elsewhere.add(ALICE)
    await people.handle_ephemeral([says(ALICE, "online", status_msg="still")])
    assert presence.state(SubjectId(ALICE)).status is Status.OFFLINE


async def test_a_question_that_failed_teaches_nothing() -> None:
    people, _ = some_people(Clock())

    async def ask(_: UserId) -> dict[str, Any]:
        raise HomeserverUnavailable("nobody there")

    with pytest.raises(HomeserverUnavailable):
        await people.learn(ALICE, ask)
    assert people.known(ALICE) is None
