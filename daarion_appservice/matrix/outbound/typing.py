"""Citizens and agents who type → the homeserver, so that people on Matrix see it.

Of little worth and soon over: what cannot be told at once, or when this process does not lead, is not told at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ...city.events import LocalUserTyping, MessagePosted
from ...city.identity import Identities
from ...city.online_members import OnlineMembers
from ...city.types import AuthorKind, RoomId, UserId, is_agent
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor

_LASTS_MS: Final = 12_000
"""A little longer than the city waits for the next word that somebody is still typing."""
_MOST_WAITING: Final = 500

log = structlog.get_logger()


class TypingSender:
    """``on_spoke`` is told of ghosts who typed, which makes homeservers show them online."""

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
        """What is to be told; the newest wins."""
        self._typing: set[tuple[RoomId, UserId]] = set()
        """Of whom was told that they type."""
        self._wake = asyncio.Event()
        self._is_running = False

    def follow(self, event: LocalUserTyping) -> None:
        self._wish(event.room_id, self._identities.author(event.author), typing=event.typing)

    def posted(self, posted: MessagePosted) -> None:
        """Whoever has said it has typed it."""
        author = posted.message.author
        if author.kind is not AuthorKind.MATRIX:
            self._wish(posted.message.room_id, self._identities.author(author), typing=False)

    async def run(self) -> None:
        """Tell the homeserver, until cancelled."""
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
        """Who is in an agent's direct chats is not counted; agents type only where they are."""
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
        except (HomeserverRefused, SQLAlchemyError, OSError) as error:
            log.debug("typing_not_sent", user=user, error=str(error))
        else:
            (self._typing.add if typing else self._typing.discard)((room_id, user))
            if typing:
                self._on_spoke(user)
