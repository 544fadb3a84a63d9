"""The presence of Matrix users: requested, received by the observer, or delivered in transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from ...city.identity import Identities, is_user_id
from ...city.ports import NowMs, PresenceStore
from ...city.presence import PresenceState, RemotePresence, Status
from ...city.text_sanitizing import one_line
from ...city.types import UserId, person_subject
from ...errors import HomeserverError
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.transport import JSON
from .observer_coverage import ObserverCoverage

_SESSION: Final = "matrix"
"""The session id that represents all Matrix clients of a person."""
_ACTIVE_MS: Final = 60_000
"""Synapse's ``last_active_granularity``: activity within this time after the last one causes no presence event."""


class UserPresenceQuery:
    """Returns the presence of any Matrix user as a presence state of the city."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        identities: Identities,
        people: UserPresence,
        observer_coverage: ObserverCoverage,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._identities = identities
        self._people = people
        self._observer_coverage = observer_coverage
        self._now_ms = now_ms

    async def shown(self, user: UserId) -> PresenceState:
        """Return the presence of a user; offline if it is unknown or not readable, or the homeserver does not respond.

        The homeserver is asked about each user whom the observer does not cover, and once about a covered user without
        a stored presence.
        """
        if not self._monitor.is_up:
            return PresenceState()
        sees = self._observer_coverage.sees(user)
        known = self._people.known(user) if sees else None
        if known is not None:
            return known
        try:
            # Do not store the presence of a user whom the observer does not cover: later changes would not arrive.
            return await (self._people.learn(user, self._ask) if sees else self._answer(user))
        except HomeserverError:
            return PresenceState()

    async def _answer(self, user: UserId) -> PresenceState:
        return presence_state_of(await self._ask(user), self._now_ms())

    async def _ask(self, user: UserId) -> JSON:
        return await self._homeserver.presence(user, as_user=self._identities.bot)


def presence_state_of(presence: JSON, now_ms: int) -> PresenceState:
    """Convert the content of an ``m.presence`` event, or a response of ``GET /presence``, to a presence state."""
    status = {"online": Status.ONLINE, "unavailable": Status.AWAY}.get(str(presence.get("presence")), Status.OFFLINE)
    ago_ms, status_msg = presence.get("last_active_ago"), presence.get("status_msg")
    return PresenceState(
        status,
        one_line(status_msg) or None if isinstance(status_msg, str) else None,
        min(max(0, now_ms - ago_ms), now_ms) if isinstance(ago_ms, int) else None,
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """The last received presence of a user."""

    shown: PresenceState
    is_active: bool
    """Whether the user was ``currently_active``, which holds until the next event."""

    def as_of(self, now_ms: int) -> PresenceState:
        if not self.is_active or self.shown.last_active_ms is None:
            return self.shown
        return replace(self.shown, last_active_ms=max(self.shown.last_active_ms, now_ms - _ACTIVE_MS))


_ELSEWHERE: Final = _Told(PresenceState(), is_active=False)


class UserPresence:
    """Stores the presence of Matrix users and forwards it to the presence store."""

    def __init__(
        self, presence: PresenceStore, identities: Identities, now_ms: NowMs, *, is_member: Callable[[UserId], bool]
    ) -> None:
        """Create the store; ``is_member`` returns whether a user is in a room of the city: all others are offline."""
        self._presence = presence
        self._is_member = is_member
        self._identities = identities
        self._now_ms = now_ms
        self._told: dict[UserId, _Told] = {}
        self._here: set[UserId] = set()
        self._in_question: set[UserId] = set()

    async def handle_ephemeral(self, events: list[Any]) -> set[UserId]:
        """Apply ``m.presence`` events, oldest first, and return the users whose presence they contain."""
        changes = list(self._read(events))
        await self._place(changes)
        return {user for user, _ in changes}

    async def take_all(self, events: list[Any]) -> None:
        """Apply the presence events of an initial sync; users without an event become offline."""
        seen = dict(self._read(events))
        gone = [(user, _Told(PresenceState(), is_active=False)) for user in self._here - seen.keys()]
        self._told.clear()
        await self._place([*gone, *seen.items()])
        for user, _ in gone:
            # The time of their last activity is unknown.
            self._told.pop(user, None)

    async def learn(self, user: UserId, ask: Callable[[UserId], Awaitable[JSON]]) -> PresenceState:
        """Request a user's presence and store it; repeat the request if an event arrives before the response.

        Raises:
            HomeserverError: raised by ``ask``; nothing is stored then.
        """
        try:
            while True:
                self._in_question.add(user)
                told = self._understand(await ask(user))
                if user in self._in_question:
                    await self._place([(user, told)])
                    return self._told[user].shown
        finally:
            self._in_question.discard(user)

    def known(self, user: UserId) -> PresenceState | None:
        """Return the last received presence of a user, or None if none was received."""
        told = self._told.get(user)
        return told.as_of(self._now_ms()) if told else None

    async def republish(self) -> None:
        """Send the presence of all users who are not offline again, before the presence store times them out."""
        now_ms = self._now_ms()
        await self._presence.set_remote([_placed(user, self._told[user].as_of(now_ms)) for user in self._here])

    def _read(self, events: list[Any]) -> Iterator[tuple[UserId, _Told]]:
        for event in events:
            match event:
                case {"type": "m.presence", "sender": str(sender), "content": dict(content)}:
                    user = UserId(sender)
                    if self._identities.is_person(user) and is_user_id(user):
                        yield user, self._understand(content)

    def _understand(self, content: JSON) -> _Told:
        return _Told(presence_state_of(content, self._now_ms()), is_active=content.get("currently_active") is True)

    async def _place(self, people: list[tuple[UserId, _Told]]) -> None:
        # In an initial sync, and for some time after, Synapse returns the presence of users who have left every room.
        # The presence of users who join is requested then (see ``observer_coverage``).
        people = [(user, told if self._is_member(user) else _ELSEWHERE) for user, told in people]
        for user, told in people:
            self._told[user] = told
            self._in_question.discard(user)
            if told.shown.status is Status.OFFLINE:
                self._here.discard(user)
            else:
                self._here.add(user)
        await self._presence.set_remote([_placed(user, told.shown) for user, told in people])


def _placed(user: UserId, shown: PresenceState) -> RemotePresence:
    return RemotePresence(person_subject(user), shown, _SESSION)
