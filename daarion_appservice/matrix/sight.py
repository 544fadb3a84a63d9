"""Whom the observer sees, so that nobody need be asked about them.

The homeserver tells the observer of changes only, and that somebody online comes into a room is none: they would be told
of with their next change, which need not come for hours (measured: not within 90 s). Nor does it say that somebody left,
whom the observer then sees no more. So whoever came or left is asked about, once, and is not in sight until then.

``GET /presence`` waits ``SETTLE_S`` and is not sent when ``/sync`` tells of the person meanwhile. Synapse 1.163 loses that a user
came online for the first time when it is asked about them in the same moment (``current_state_for_users`` writes the default
state over the new one); people who follow an invitation link come in and come online within milliseconds.

    lost ──open──► opening ──the whole state──► open ──homeserver away──► lost
                      └── who comes or leaves is noted ──┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from ..city.events import MembershipChanged
from ..city.occupancy import Occupancy
from ..city.types import RoomId, UserId, person_subject

SETTLE_S: Final = 1.0


class Sight:
    def __init__(self, occupancy: Occupancy, *, settle_s: float = SETTLE_S) -> None:
        self._occupancy = occupancy
        self._settle_s = settle_s
        self._rooms: frozenset[RoomId] = frozenset()
        self._is_looking = False
        self._is_open = False
        self._moved: dict[UserId, float] = {}
        """Who came or left and was not asked about yet, and when they may be, by the event loop's clock (s), oldest first."""
        self._in_question: UserId | None = None
        self._wake = asyncio.Event()

    def sees(self, user: UserId) -> bool:
        """Whether what is known of a person is all that the homeserver would say."""
        return (
            self._is_open
            and user not in self._moved
            and user != self._in_question
            and not self._rooms.isdisjoint(self._occupancy.rooms_of(person_subject(user)))
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
        is_news = self._occupancy.is_member(change.room_id, change.subject) is not change.joined
        if is_news and change.subject.startswith("@"):
            self._note(UserId(change.subject))

    async def next_moved(self) -> UserId:
        """Wait for somebody to be asked about; ``settled`` or ``put_back`` tells what came of it."""
        while not (due := self._due()):
            self._wake.clear()
            try:
                async with asyncio.timeout_at(next(iter(self._moved.values()), None)):
                    await self._wake.wait()
            except TimeoutError:
                continue
        self._in_question = due
        # Taken out already now: whoever moves on while they are asked about is asked about once more.
        del self._moved[self._in_question]
        return self._in_question

    def _due(self) -> UserId | None:
        now_s = asyncio.get_running_loop().time()
        return next((user for user, due_s in self._moved.items() if due_s <= now_s), None)

    def told(self, users: Iterable[UserId]) -> None:
        """Take note that ``/sync`` told of these after they came or left: nobody need ask about them."""
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
            self._moved.pop(user, None)
            self._moved[user] = asyncio.get_running_loop().time() + self._settle_s
            self._wake.set()
