"""The typing sender: sends typing of citizens and agents to the homeserver, as their ghosts.

Typing is best effort: a change that cannot be sent at once, or occurs in a process that is not the leader, is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ...city.events import LocalUserTyping, MessagePosted
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.types import AuthorKind, RoomId, UserId, is_agent
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor

_LASTS_MS: Final = 12_000
"""The timeout of a typing notification: slightly longer than the city waits for the author's next typing event."""
_MOST_WAITING: Final = 500

log = structlog.get_logger()


class TypingSender:
    """Sends typing changes; calls ``on_spoke`` for each typing ghost, because homeservers show it online then."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        identities: Identities,
        online_members: OnlineMembers,
        *,
        on_spoke: Callable[[UserId], None],
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._identities = identities
        self._online_members = online_members
        self._on_spoke = on_spoke
        self._wishes: dict[tuple[RoomId, UserId], bool] = {}
        """The typing changes to send; the newest wins."""
        self._typing: set[tuple[RoomId, UserId]] = set()
        """The ghosts that type according to the last request, with their room."""
        self._wake = asyncio.Event()
        self._is_running = False

    def follow(self, event: LocalUserTyping) -> None:
        """Queue the typing change of a citizen or agent."""
        self._wish(event.room_id, self._identities.author(event.author), typing=event.typing)

    def posted(self, posted: MessagePosted) -> None:
        """End the typing of the author of a new message."""
        author = posted.message.author
        if author.kind is not AuthorKind.MATRIX:
            self._wish(posted.message.room_id, self._identities.author(author), typing=False)

    async def run(self) -> None:
        """Send typing changes until cancelled."""
        self._wishes.clear()
        self._typing.clear()
        self._is_running = True
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._wishes:
                    key = next(iter(self._wishes))
                    await self._tell(*key, typing=self._wishes.pop(key))
        finally:
            self._is_running = False

    def _wish(self, room: RoomId, user: UserId, *, typing: bool) -> None:
        is_news = typing or (room, user) in self._typing or (room, user) in self._wishes
        if (
            not self._is_running
            or not self._monitor.is_up
            or not is_news
            or not self._may_be_there(room, user)
            or len(self._wishes) >= _MOST_WAITING
        ):
            return
        self._wishes[room, user] = typing
        self._wake.set()

    def _may_be_there(self, room: RoomId, user: UserId) -> bool:
        """Return whether a ghost may be in a room.

        Every agent passes: the memberships of direct chats are not recorded, and agents type in their own rooms only.
        """
        subject = self._identities.subject(user)
        return subject is not None and (is_agent(subject) or self._online_members.is_member(room, subject))

    async def _tell(self, room_id: RoomId, user: UserId, *, typing: bool) -> None:
        try:
            async with self._database.reading() as tx:
                room = await tx.rooms.get(room_id)
            if room is None or room.matrix_room_id is None:
                return
            await self._homeserver.set_typing(room.matrix_room_id, user, typing=typing, timeout_ms=_LASTS_MS)
        except HomeserverUnavailable as error:
            self._monitor.lost(error)
        except (HomeserverRefused, DatabaseError) as error:
            log.debug("typing_not_sent", user=user, error=str(error))
        else:
            (self._typing.add if typing else self._typing.discard)((room_id, user))
            if typing:
                self._on_spoke(user)
