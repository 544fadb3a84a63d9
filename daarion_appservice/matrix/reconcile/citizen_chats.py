"""Creates the Matrix rooms of direct chats of citizens with each other and with agents.

    a pending chat ─► the bot creates a private room ─► linked ─► the outbox joins both ghosts, whom the bot invites

Two citizens get the power level 100, as Matrix clients give it to both in a direct chat (``trusted_private_chat``). Nothing
else is reconciled: the city lets nobody change the name or rules of a chat.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog

from ...city.events import OutboxChanged, RoomChanged
from ...city.granted_levels import with_granted_levels
from ...city.identity import Identities
from ...city.ports import Publish
from ...city.types import HistoryVisibility, MatrixStatus, Room, UserId
from ...errors import HomeserverRefused
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.room_rules import change_levels, read_rules, stored_json
from .room_creation import RoomCreator

_POLL_S: Final = 5.0
"""Seconds between two reads of the pending chats: another process may have opened one."""

log = structlog.get_logger()


class CitizenChatRooms:
    """Links direct chats of citizens with Matrix rooms."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        identities: Identities,
        creator: RoomCreator,
        publish: Publish,
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._identities = identities
        self._creator = creator
        self._publish = publish
        self._worker = Worker("citizen_chats", idle_s=_POLL_S, monitor=monitor)

    def wake(self) -> None:
        """Look for pending chats now."""
        self._worker.wake()

    async def run(self) -> None:
        """Link pending chats until cancelled."""
        await self._worker.run(self._link_pending)

    async def _link_pending(self) -> None:
        async with self._database.read_only() as tx:
            pending = await tx.citizen_chats.pending()
        for room in pending:
            try:
                await self._link(room)
            except HomeserverRefused as error:
                log.warning("citizen_chat_not_created", room=room.id, error=str(error), help="trying again")

    async def _accounts(self, room: Room) -> list[UserId]:
        """Return the linked Matrix account of the citizen who has a chat with an agent."""
        async with self._database.read_only() as tx:
            chat = await tx.citizen_chats.of_room(room.id)
            if chat is None or chat.agent is None:
                return []
            users = [await tx.accounts.of(citizen) for citizen in chat.citizens]
        return [user for user in users if user is not None]

    async def _pair(self, room: Room) -> list[UserId]:
        """Return the ghosts of a chat of two citizens; none of a chat with an agent."""
        async with self._database.read_only() as tx:
            chat = await tx.citizen_chats.of_room(room.id)
        return [] if chat is None or chat.agent is not None else list(map(self._identities.citizen, chat.citizens))

    async def _link(self, room: Room) -> None:
        bot = self._identities.bot
        matrix_room = room.matrix_room_id
        if matrix_room is None:
            matrix_room = await self._creator.create_private_room(await self._accounts(room))
            async with self._database.transaction() as tx:
                await tx.matrix_rooms.link(room.id, matrix_room, HistoryVisibility.SHARED)
        rules = await read_rules(self._homeserver, matrix_room, as_user=bot)
        change = partial(with_granted_levels, bot=bot, admins=await self._pair(room), observer=None)
        powers = await change_levels(self._homeserver, matrix_room, rules.powers, change, as_user=bot)
        async with self._database.transaction() as tx:
            await tx.rooms.set_rules(room.id, power_levels=stored_json(powers.content), join_rule=rules.join_rule)
            await tx.matrix_rooms.set_status(room.id, MatrixStatus.LINKED, None)
            linked = await tx.rooms.get(room.id)
        if linked is not None:
            self._publish(RoomChanged(linked))
        self._publish(OutboxChanged())
