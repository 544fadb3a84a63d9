"""Coverage of the observer: for which Matrix users the presence from ``/sync`` is complete without further requests.

``/sync`` returns changes of presence only. A user who is online and joins a room causes none: the observer receives
that presence with the user's next change, possibly hours later (measured: not within 90 s). A user who leaves causes
none either, and is not visible to the observer afterwards. The presence of a user who joins or leaves is therefore
requested once, and the user is not covered until the response arrives.

``GET /presence`` is sent ``SETTLE_S`` after the join or leave, and not at all when ``/sync`` returns the user's
presence before that. Synapse 1.163 has a race: a request for the presence of a user who comes online for the first time
at that moment overwrites the new state with the default one (``current_state_for_users``). Users who follow a link to a
room join it and come online within milliseconds of each other.

    lost ──begin_sync──► syncing ──end_sync──► complete ──lose──► lost
                        └─ joins and leaves schedule requests ─┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from ...city.events import MembershipChanged
from ...city.online_members import OnlineMembers
from ...city.types import RoomId, UserId, user_subject

SETTLE_TIME_S: Final = 1.0
"""Seconds between a join or leave and the request for the user's presence."""


class ObserverCoverage:
    """The observed rooms, and the users in them whose presence has to be requested."""

    def __init__(self, online_members: OnlineMembers, *, settle_s: float = SETTLE_TIME_S) -> None:
        self._online_members = online_members
        self._settle_time_s = settle_s
        self._rooms: frozenset[RoomId] = frozenset()
        self._is_syncing = False
        self._is_complete = False
        self._pending: dict[UserId, float] = {}
        """Users who joined or left, with the event loop's time (s) of the request for their presence, earliest first."""
        self._requested: UserId | None = None
        self._wake = asyncio.Event()

    def covers(self, user: UserId) -> bool:
        """Return whether the stored presence of a person is as current as a response of the homeserver would be."""
        return (
            self._is_complete
            and user not in self._pending
            and user != self._requested
            and not self._rooms.isdisjoint(self._online_members.rooms_of(user_subject(user)))
        )

    def begin_sync(self) -> None:
        """Record that an initial sync begins."""
        self._pending.clear()
        self._is_syncing = True

    def end_sync(self, rooms: frozenset[RoomId]) -> None:
        """Record that ``/sync`` returned the state of these rooms; none is covered if ``lose`` was called meanwhile."""
        self._rooms = rooms
        self._is_complete = self._is_syncing

    def lose(self) -> None:
        """Record that changes may be missed from now on."""
        self._is_syncing = self._is_complete = False
        self._pending.clear()

    def on_membership_changed(self, change: MembershipChanged) -> None:
        """Note a person whose membership changed. The caller omits events that only repeat a membership."""
        if change.subject.startswith("@"):
            self._schedule_request(UserId(change.subject))

    async def next_user(self) -> UserId:
        """Wait for a user whose presence has to be requested.

        The caller reports the result with ``finish_request`` or ``retry_request``.
        """
        loop = asyncio.get_running_loop()
        while (due_s := next(iter(self._pending.values()), None)) is None or due_s > loop.time():
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._wake.wait()
        self._requested = next(iter(self._pending))
        # Remove the user before the request: a join or leave during the request causes another one.
        del self._pending[self._requested]
        return self._requested

    def mark_received(self, users: Iterable[UserId]) -> None:
        """Drop the pending requests for these users: ``/sync`` returned their presence after they joined or left."""
        for user in users:
            self._pending.pop(user, None)

    def finish_request(self) -> None:
        """Record that the request for the user's presence got a response."""
        self._requested = None

    def retry_request(self) -> None:
        """Record that the request got no response, and repeat it later."""
        if self._requested is not None:
            self._schedule_request(self._requested)
            self._requested = None

    def _schedule_request(self, user: UserId) -> None:
        if self._is_syncing:
            # Insert at the end: the dict is in the order of the times.
            self._pending.pop(user, None)
            self._pending[user] = asyncio.get_running_loop().time() + self._settle_time_s
            self._wake.set()
