"""Joins of citizens' ghosts to direct chats that their linked persons opened on Matrix with agents."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import structlog

from ...city.identity import Identities
from ...city.power_levels import RoomPowerLevels
from ...city.types import Room, UserId
from ...errors import HomeserverRefused
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.refusals import is_unregistered
from ..client.room_rules import SERVICE_MEMBERS

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChatJoins:
    """Lets a ghost enter a chat: the agent invites it there."""

    database: Database
    homeserver: Homeserver
    identities: Identities

    async def ensure_joined(self, ghost: UserId, chat: Room, *, force: bool) -> None:
        """Join a registered ghost to a chat.

        Args:
            ghost: the ghost of the citizen who writes.
            chat: the chat, with its Matrix room and agent.
            force: send the join even if the ghost is recorded as a member.

        Raises:
            HomeserverRefused: the homeserver refused; also if the agent may not invite.
        """
        async with self.database.read_only() as tx:
            if not force and await tx.membership_periods.is_joined(chat.id, ghost):
                return
        assert chat.matrix_room_id is not None
        try:
            await self.homeserver.join(chat.matrix_room_id, as_user=ghost)
        except HomeserverRefused as error:
            if error.status != 403 or is_unregistered(error):
                raise
            agent = self.identities.service_user(chat)
            await self.homeserver.invite(chat.matrix_room_id, ghost, as_user=agent)
            await self.homeserver.join(chat.matrix_room_id, as_user=ghost)
        # Before the join is recorded: if the homeserver becomes unavailable here, the next attempt does both again.
        await self._name_as_service_member(ghost, chat)
        async with self.database.transaction() as tx:
            current = await tx.rooms.lock_any(chat.id) or chat
            await tx.membership_periods.record_joins(chat.id, {ghost: current.last_seq})

    async def _name_as_service_member(self, ghost: UserId, chat: Room) -> None:
        """Add the ghost to the service members, whom Element leaves out of a chat's name, if the agent may set that state."""
        assert chat.matrix_room_id is not None
        agent, powers = self.identities.service_user(chat), RoomPowerLevels(orjson.loads(chat.power_levels))
        if powers.of(agent) < powers.to_send(SERVICE_MEMBERS, is_state=True):
            return
        try:
            content = await self.homeserver.state(chat.matrix_room_id, SERVICE_MEMBERS, as_user=agent) or {}
            named = content.get("service_members")
            members = named if isinstance(named, list) else []
            if ghost not in members:
                wanted = content | {"service_members": [*members, ghost]}
                await self.homeserver.set_state(chat.matrix_room_id, SERVICE_MEMBERS, wanted, as_user=agent)
        except HomeserverRefused as error:
            log.debug("service_member_not_named", room=chat.id, error=str(error))
