"""The presence of people on Matrix, as the homeserver tells it: asked for, seen by the observer, or sent to us."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..city.ports import NowMs
from ..city.presence import Shown, Status
from ..city.types import UserId, person_subject
from ..errors import HomeserverError
from ..realtime.presence import MemoryPresence
from .event_handlers import storable
from .homeserver import Homeserver
from .homeserver_watch import HomeserverWatch
from .namespace import Namespace, is_user_id

_SESSION: Final = "matrix"
"""The name of the session that stands for all a person's Matrix clients."""


class PresenceQuery:
    """What the homeserver knows of anybody's presence, in the city's words."""

    def __init__(self, homeserver: Homeserver, watch: HomeserverWatch, namespace: Namespace, now_ms: NowMs) -> None:
        self._homeserver = homeserver
        self._watch = watch
        self._namespace = namespace
        self._now_ms = now_ms

    async def shown(self, user: UserId) -> Shown:
        """Somebody unknown, or whose presence may not be seen, is offline; so is everybody while nobody can be asked."""
        if not self._watch.is_up:
            return Shown()
        try:
            answer = await self._homeserver.presence(user, as_user=self._namespace.bot)
        except HomeserverError:
            return Shown()
        return shown_of(answer, self._now_ms())


def shown_of(presence: dict[str, object], now_ms: int) -> Shown:
    """The content of an ``m.presence`` event or answer, in the city's words."""
    status = {"online": Status.ONLINE, "unavailable": Status.AWAY}.get(str(presence.get("presence")), Status.OFFLINE)
    ago_ms, status_msg = presence.get("last_active_ago"), presence.get("status_msg")
    return Shown(
        status,
        storable(status_msg) if isinstance(status_msg, str) else None,
        min(max(0, now_ms - ago_ms), now_ms) if isinstance(ago_ms, int) else None,
    )


class People:
    """Takes the presence of people as the observer sees it, or as it came with a transaction."""

    def __init__(self, presence: MemoryPresence, namespace: Namespace, now_ms: NowMs) -> None:
        self._presence = presence
        self._namespace = namespace
        self._now_ms = now_ms
        self._here: set[UserId] = set()

    async def take(self, events: list[Any]) -> None:
        """Changes, in the order in which they happened."""
        for user, shown in self._read(events):
            await self._place(user, shown)

    async def take_all(self, events: list[Any]) -> None:
        """The whole state: whoever is not mentioned is not here."""
        seen = dict(self._read(events))
        for user in self._here - seen.keys():
            await self._place(user, Shown())
        for user, shown in seen.items():
            await self._place(user, shown)

    def _read(self, events: list[Any]) -> Iterator[tuple[UserId, Shown]]:
        for event in events:
            match event:
                case {"type": "m.presence", "sender": str(sender), "content": dict(content)}:
                    user = UserId(sender)
                    if is_user_id(user) and not self._namespace.is_ours(user):
                        yield user, shown_of(content, self._now_ms())

    async def _place(self, user: UserId, shown: Shown) -> None:
        if shown.status is Status.OFFLINE:
            self._here.discard(user)
        else:
            self._here.add(user)
        await self._presence.place(
            person_subject(user),
            status=shown.status,
            status_msg=shown.status_msg,
            last_active_ms=shown.last_active_ms,
            session=_SESSION,
        )
