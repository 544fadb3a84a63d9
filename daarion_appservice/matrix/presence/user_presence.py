"""The presence of people on Matrix, as the homeserver tells it: asked for, seen by the observer, or sent to us."""

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
from ..client.homeserver import JSON, Homeserver
from ..client.monitor import HomeserverMonitor
from .observer_coverage import ObserverCoverage

_SESSION: Final = "matrix"
"""The name of the session that stands for all a person's Matrix clients."""
_ACTIVE_MS: Final = 60_000
"""Synapse's ``last_active_granularity``: of somebody who was active within this time it tells nothing when they are again."""


class UserPresenceQuery:
    """What the homeserver knows of anybody's presence, in the city's words."""

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
        """Somebody unknown, or whose presence may not be seen, is offline; so is everybody while nobody can be asked.

        The homeserver is asked about those whom the observer does not see, and once about those it was not told of yet.
        """
        if not self._monitor.is_up:
            return PresenceState()
        sees = self._observer_coverage.sees(user)
        known = self._people.known(user) if sees else None
        if known is not None:
            return known
        try:
            # What the observer does not see changes unheard, so that the answer is no more than an answer.
            return await (self._people.learn(user, self._ask) if sees else self._answer(user))
        except HomeserverError:
            return PresenceState()

    async def _answer(self, user: UserId) -> PresenceState:
        return presence_state_of(await self._ask(user), self._now_ms())

    async def _ask(self, user: UserId) -> JSON:
        return await self._homeserver.presence(user, as_user=self._identities.bot)


def presence_state_of(presence: JSON, now_ms: int) -> PresenceState:
    """The content of an ``m.presence`` event or answer, in the city's words."""
    status = {"online": Status.ONLINE, "unavailable": Status.AWAY}.get(str(presence.get("presence")), Status.OFFLINE)
    ago_ms, status_msg = presence.get("last_active_ago"), presence.get("status_msg")
    return PresenceState(
        status,
        one_line(status_msg) or None if isinstance(status_msg, str) else None,
        min(max(0, now_ms - ago_ms), now_ms) if isinstance(ago_ms, int) else None,
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What was last told of somebody."""

    shown: PresenceState
    is_active: bool
    """Active now, and for as long as nothing else is told."""

    def as_of(self, now_ms: int) -> PresenceState:
        if not self.is_active or self.shown.last_active_ms is None:
            return self.shown
        return replace(self.shown, last_active_ms=max(self.shown.last_active_ms, now_ms - _ACTIVE_MS))


_ELSEWHERE: Final = _Told(PresenceState(), is_active=False)


class UserPresence:
    """Takes the presence of people as the observer sees it, or as it came with a transaction."""

    def __init__(
        self, presence: PresenceStore, identities: Identities, now_ms: NowMs, *, is_member: Callable[[UserId], bool]
    ) -> None:
        """``is_member`` says whether somebody is in a room of the city; the presence of others does not count there."""
        self._presence = presence
        self._is_member = is_member
        self._identities = identities
        self._now_ms = now_ms
        self._told: dict[UserId, _Told] = {}
        self._here: set[UserId] = set()
        self._in_question: set[UserId] = set()

    async def take(self, events: list[Any]) -> set[UserId]:
        """Apply ``m.presence`` events, oldest first; return the users that they are of."""
        changes = list(self._read(events))
        await self._place(changes)
        return {user for user, _ in changes}

    async def take_all(self, events: list[Any]) -> None:
        """The whole state: whoever is not mentioned is not here."""
        seen = dict(self._read(events))
        gone = [(user, _Told(PresenceState(), is_active=False)) for user in self._here - seen.keys()]
        self._told.clear()
        await self._place([*gone, *seen.items()])
        for user, _ in gone:
            # When they were last active was not told.
            self._told.pop(user, None)

    async def learn(self, user: UserId, ask: Callable[[UserId], Awaitable[JSON]]) -> PresenceState:
        """Take the answer to a question about somebody; one that was overtaken by an event is asked once more.

        Raises what ``ask`` raises, and nothing was learnt then.
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
        """What was last told of somebody; None when nothing was."""
        told = self._told.get(user)
        return told.as_of(self._now_ms()) if told else None

    async def say_again(self) -> None:
        """Everybody who is here still is: the presence store forgets who is not spoken of."""
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
        # For a while, and in the state that it gives at the start of a sync, Synapse shows the presence of people who have
        # left every room. Those who join are asked about then (see ``observer_coverage``).
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
