"""The observer's coverage: which users' presence is complete, and which has to be requested."""

from __future__ import annotations

import asyncio

import pytest

from daarion_appservice.city.events import MembershipChanged
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.types import RoomId, SubjectId, UserId
from daarion_appservice.matrix.presence.observer_coverage import ObserverCoverage
from tests.parts.waiting import WAIT_S

GENERAL, ATTIC = RoomId("city_general"), RoomId("city_attic")
ALICE, BOB = UserId("@alice:city.localhost"), UserId("@bob:city.localhost")


class City:
    """A city in which Alice is in General, which the observer covers."""

    def __init__(self, *, settle_s: float = 0.0) -> None:
        self.online_members = OnlineMembers()
        self.observer_coverage = ObserverCoverage(self.online_members, settle_s=settle_s)
        self.move(ALICE, joined=True)
        self.observer_coverage.begin_sync()
        self.observer_coverage.end_sync(frozenset({GENERAL}))

    def move(self, user: str, *, joined: bool, room: RoomId = GENERAL) -> None:
        """Change a membership as the subscription of ``MembershipChanged`` does."""
        change_members = self.online_members.add_membership if joined else self.online_members.remove_membership
        if change_members(room, SubjectId(user)):
            self.observer_coverage.on_membership_changed(MembershipChanged(room, SubjectId(user), joined))


async def test_member_of_observed_room_is_covered() -> None:
    city = City()
    city.move(BOB, joined=True, room=ATTIC)
    assert (city.observer_coverage.covers(ALICE), city.observer_coverage.covers(BOB)) == (True, False)


async def test_lost_coverage_returns_with_initial_sync() -> None:
    city = City()
    city.observer_coverage.lose()
    assert not city.observer_coverage.covers(ALICE)
    city.observer_coverage.end_sync(frozenset({GENERAL}))
    assert not city.observer_coverage.covers(ALICE), "the response of a poll that began before the loss"
    city.observer_coverage.begin_sync()
    assert not city.observer_coverage.covers(ALICE)
    city.observer_coverage.end_sync(frozenset({GENERAL}))
    assert city.observer_coverage.covers(ALICE)


async def test_moved_user_is_covered_after_request() -> None:
    city = City()
    city.move(BOB, joined=True)
    assert not city.observer_coverage.covers(BOB)
    assert await city.observer_coverage.next_user() == BOB
    assert not city.observer_coverage.covers(BOB)
    city.observer_coverage.finish_request()
    assert city.observer_coverage.covers(BOB)
    city.move(BOB, joined=False)
    assert await city.observer_coverage.next_user() == BOB
    city.observer_coverage.finish_request()
    assert not city.observer_coverage.covers(BOB)


async def test_move_during_request_causes_another_request() -> None:
    city = City()
    city.move(BOB, joined=True)
    await city.observer_coverage.next_user()
    city.move(BOB, joined=False)
    city.move(BOB, joined=True)
    city.observer_coverage.finish_request()
    assert not city.observer_coverage.covers(BOB)
    assert await city.observer_coverage.next_user() == BOB


async def test_request_without_response_is_repeated() -> None:
    city = City()
    city.move(BOB, joined=True)
    await city.observer_coverage.next_user()
    city.observer_coverage.retry_request()
    assert not city.observer_coverage.covers(BOB)
    assert await city.observer_coverage.next_user() == BOB


async def test_profile_changes_and_ghosts_cause_no_request() -> None:
    city = City()
    city.move(ALICE, joined=True)
    city.move("agent:daarwizz", joined=True)
    city.move("u_1", joined=True)
    city.move(BOB, joined=False)
    assert city.observer_coverage.covers(ALICE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(city.observer_coverage.next_user(), 0.05)


async def test_waiting_for_next_user_ends_with_a_join() -> None:
    city = City()
    waiting = asyncio.create_task(city.observer_coverage.next_user())
    await asyncio.sleep(0)
    city.move(BOB, joined=True)
    assert await asyncio.wait_for(waiting, WAIT_S) == BOB


async def test_request_waits_until_settle_time_is_over() -> None:
    city = City(settle_s=0.05)
    began_s = asyncio.get_running_loop().time()
    city.move(BOB, joined=True)
    assert await asyncio.wait_for(city.observer_coverage.next_user(), WAIT_S) == BOB
    assert asyncio.get_running_loop().time() - began_s >= 0.05


async def test_presence_from_sync_cancels_request() -> None:
    city = City(settle_s=0.05)
    city.move(BOB, joined=True)
    city.observer_coverage.mark_received([BOB, ALICE])
    assert city.observer_coverage.covers(BOB)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(city.observer_coverage.next_user(), 0.1)


async def test_presence_by_sync_before_join_cancels_nothing() -> None:
    city = City()
    city.observer_coverage.mark_received([BOB])
    city.move(BOB, joined=True)
    assert await asyncio.wait_for(city.observer_coverage.next_user(), WAIT_S) == BOB
