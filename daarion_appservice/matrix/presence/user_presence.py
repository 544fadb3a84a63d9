"""The presence of Matrix users: requested, received by the observer, or delivered in transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from ...city.identity import Identities, is_user_id
from ...city.ports import NowMs, PresenceStore
from ...city.presence import PresenceState, RemotePresence, Status
from ...city.text_sanitizing import one_line
from ...city.types import UserId, user_subject
from ...errors import HomeserverError
from ...json_encoding import JSON
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from .observer_coverage import ObserverCoverage

MATRIX_SESSION: Final = "matrix"
"""The session id that represents all Matrix clients of a person."""
_ACTIVE_MS: Final = 60_000
"""Synapse's ``last_active_granularity``: activity within this time after the last one causes no presence event."""


@dataclass(frozen=True, slots=True)
class UserPresenceQuery:
    """Returns the presence of any Matrix user as a presence state of the city."""

    homeserver: Homeserver
    monitor: HomeserverMonitor
    identities: Identities
    user_presence: UserPresence
    observer_coverage: ObserverCoverage
    now_ms: NowMs

    async def state(self, user: UserId) -> PresenceState:
        """Return the presence of a user; offline if it is unknown or not readable, or the homeserver does not respond.

        The homeserver is asked about each user whom the observer does not cover, and once about a covered user without
        a stored presence.
        """
        if not self.monitor.is_up:
            return PresenceState()
        is_covered = self.observer_coverage.covers(user)
        stored = self.user_presence.stored(user) if is_covered else None
        if stored is not None:
            return stored
        try:
            # Do not store the presence of a user whom the observer does not cover: later changes would not arrive.
            return await (self.user_presence.fetch(user, self._request) if is_covered else self._request_state(user))
        except HomeserverError:
            return PresenceState()

    async def _request_state(self, user: UserId) -> PresenceState:
        return presence_state_of(await self._request(user), self.now_ms())

    async def _request(self, user: UserId) -> JSON:
        return await self.homeserver.presence(user, as_user=self.identities.bot)


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
class _ReceivedPresence:
    """The last received presence of a user."""

    state: PresenceState
    is_active: bool
    """Whether the user was ``currently_active``, which holds until the next event."""

    def as_of(self, now_ms: int) -> PresenceState:
        if not self.is_active or self.state.last_active_ms is None:
            return self.state
        return replace(self.state, last_active_ms=max(self.state.last_active_ms, now_ms - _ACTIVE_MS))


_OFFLINE: Final = _ReceivedPresence(PresenceState(), is_active=False)


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
        self._received: dict[UserId, _ReceivedPresence] = {}
        self._present: set[UserId] = set()
        self._requested: set[UserId] = set()

    async def apply_events(self, events: list[Any]) -> set[UserId]:
        """Apply ``m.presence`` events, oldest first, and return the users whose presence they contain."""
        changes = list(self._parse_events(events))
        await self._store(changes)
        return {user for user, _ in changes}

    async def apply_initial_sync(self, events: list[Any]) -> None:
        """Apply the presence events of an initial sync; users without an event become offline."""
        present = dict(self._parse_events(events))
        absent = [(user, _OFFLINE) for user in self._present - present.keys()]
        self._received.clear()
        await self._store([*absent, *present.items()])
        for user, _ in absent:
            # The time of their last activity is unknown.
            self._received.pop(user, None)

    async def fetch(self, user: UserId, request: Callable[[UserId], Awaitable[JSON]]) -> PresenceState:
        """Request a user's presence and store it; repeat the request if an event arrives before the response.

        Raises:
            HomeserverError: raised by ``request``; nothing is stored then.
        """
        try:
            while True:
                self._requested.add(user)
                received = self._parse(await request(user))
                if user in self._requested:
                    await self._store([(user, received)])
                    return self._received[user].state
        finally:
            self._requested.discard(user)

    def stored(self, user: UserId) -> PresenceState | None:
        """Return the last received presence of a user, or None if none was received."""
        received = self._received.get(user)
        return received.as_of(self._now_ms()) if received else None

    async def republish(self) -> None:
        """Send the presence of all users who are not offline again, before the presence store times them out."""
        now_ms = self._now_ms()
        await self._presence.set_remote(
            [_remote_presence(user, self._received[user].as_of(now_ms)) for user in self._present]
        )

    def _parse_events(self, events: list[Any]) -> Iterator[tuple[UserId, _ReceivedPresence]]:
        for event in events:
            match event:
                case {"type": "m.presence", "sender": str(sender), "content": dict(content)}:
                    user = UserId(sender)
                    if self._identities.is_person(user) and is_user_id(user):
                        yield user, self._parse(content)

    def _parse(self, content: JSON) -> _ReceivedPresence:
        return _ReceivedPresence(
            presence_state_of(content, self._now_ms()), is_active=content.get("currently_active") is True
        )

    async def _store(self, changes: list[tuple[UserId, _ReceivedPresence]]) -> None:
        # In an initial sync, and for some time after, Synapse returns the presence of users who have left every room.
        # The presence of users who join is requested then (see ``observer_coverage``).
        changes = [(user, received if self._is_member(user) else _OFFLINE) for user, received in changes]
        for user, received in changes:
            self._received[user] = received
            self._requested.discard(user)
            if received.state.status is Status.OFFLINE:
                self._present.discard(user)
            else:
                self._present.add(user)
        await self._presence.set_remote([_remote_presence(user, received.state) for user, received in changes])


def _remote_presence(user: UserId, state: PresenceState) -> RemotePresence:
    return RemotePresence(user_subject(user), state, MATRIX_SESSION)
