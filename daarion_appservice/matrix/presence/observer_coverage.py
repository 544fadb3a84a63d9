"""Whom the observer sees, so that nobody need be asked about them.

The homeserver tells the observer of changes only, and that somebody online comes into a room is none: they would be told
of with their next change, which need not come for hours (measured: not within 90 s). Nor does it say that somebody left,
whom the observer then sees no more. So whoever came or left is asked about, once, and is not in sight until then.

``GET /presence`` is sent ``SETTLE_S`` after the join or leave, and not at all when ``/sync`` returns the user's presence before
that. Synapse 1.163 has a race: a request for the presence of a user who comes online for the first time at that moment
overwrites the new state with the default one (``current_state_for_users``). Users who follow a link to a room join it and come
online within milliseconds of each other.

    lost ──open──► opening ──the whole state──► open ──homeserver away──► lost
                      └── who comes or leaves is noted ──┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from ...city.events import MembershipChanged
from ...city.online_members import OnlineMembers
from ...city.types import RoomId, UserId, person_subject

SETTLE_S: Final = 1.0
"""Seconds between a join or leave and the request for the user's presence."""


class ObserverCoverage:
    def __init__(self, online_members: OnlineMembers, *, settle_s: float = SETTLE_S) -> None:
        self._online_members = online_members
        self._settle_s = settle_s
        self._rooms: frozenset[RoomId] = frozenset()
        self._is_looking = False
        self._is_open = False
        self._moved: dict[UserId, float] = {}
        """Users who joined or left, with the time of the event loop (s) from which to ask for their presence, earliest first."""
        self._in_question: UserId | None = None
        self._wake = asyncio.Event()

    def sees(self, user: UserId) -> bool:
        """Whether what is known of a person is all that the homeserver would say."""
        return (
            self._is_open
            and user not in self._moved
            and user != self._in_question
            and not self._rooms.isdisjoint(self._online_members.rooms_of(person_subject(user)))
        )

    def open(self) -> None:
        """The whole state is being asked for."""
        self._moved.clear()
        self._is_looking = True

    def covers(self, rooms: frozenset[RoomId]) -> None:
        """What there is to see in these rooms was told; from here on changes will be. Nothing, if sight was lost meanwhile."""
        self._rooms = rooms
        self._is_open = self._is_looking

    def lose(self) -> None:
        """Changes may be missed from here on."""
        self._is_looking = self._is_open = False
        self._moved.clear()

    def follow(self, change: MembershipChanged) -> None:
        """Note a person who came or left; must be told before the occupancy is, which knows whether they really did."""
        is_news = self._online_members.is_member(change.room_id, change.subject) is not change.joined
        if is_news and change.subject.startswith("@"):
            self._note(UserId(change.subject))

    async def next_moved(self) -> UserId:
        """Wait for somebody to be asked about; ``settled`` or ``put_back`` tells what came of it."""
        loop = asyncio.get_running_loop()
        while (due_s := next(iter(self._moved.values()), None)) is None or due_s > loop.time():
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._wake.wait()
        self._in_question = next(iter(self._moved))
        # Taken out already now: whoever moves on while they are asked about is asked about once more.
        del self._moved[self._in_question]
        return self._in_question

    def told(self, users: Iterable[UserId]) -> None:
        """Drop the pending requests for these users: ``/sync`` returned their presence after they joined or left."""
        for user in users:
            self._moved.pop(user, None)

    def settled(self) -> None:
        self._in_question = None

    def put_back(self) -> None:
        """The question was not answered."""
        if self._in_question is not None:
            self._note(self._in_question)
            self._in_question = None

    def _note(self, user: UserId) -> None:
        if self._is_looking:
            # Last in the dict, which is in the order of the times.
            self._moved.pop(user, None)
            self._moved[user] = asyncio.get_running_loop().time() + self._settle_s
            self._wake.set()
