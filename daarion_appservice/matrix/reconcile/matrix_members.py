"""Makes the members of a Matrix room those of the city room, with joins and leaves that no event reported.

    stored members ─► /joined_members ─► transaction: differences, without members that an event has changed meanwhile

The homeserver may answer before an event that is handled before the transaction: the event is newer than the list.

A ghost that is not in the list and never joined the Matrix room did not leave: the room was upgraded, and the ghost has not
joined the new one yet. It joins now. If the homeserver refuses that, because the bot may not invite it, the ghost remains a
member of the city room, and each reconciliation tries again: also after the bot was given its power level.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import structlog

from ...city.events import MembershipChanged
from ...city.identity import Identities
from ...city.member_log import MemberLog
from ...city.ports import Publish, publish_all
from ...city.types import MatrixRoomId, Room, UserId
from ...errors import HomeserverRefused
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.refusals import is_unregistered
from ..ghosts.ghosts import Ghosts
from ..inbound.members import read_member
from .reconciled_rooms import matrix_room_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MatrixMembers:
    """Reads the members of linked rooms from the homeserver."""

    homeserver: Homeserver
    database: Database
    identities: Identities
    ghosts: Ghosts
    member_log: MemberLog
    publish: Publish

    async def update(self, room: Room) -> None:
        """Store the joined members of the Matrix room, and publish all memberships of the room.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the bot may not read the members.
        """
        async with self.database.read_only() as tx:
            before = await tx.members.of_room(room.id)
            moving = await tx.outbox.pending_moves(room.id)
        joined = await self.homeserver.joined_members(matrix_room_of(room), as_user=self.identities.bot)
        current = [
            read_member(room.id, user, profile, name="display_name")
            for user, profile in joined.items()
            if self.identities.subject(user)
        ]
        absent = [
            member.user_id
            for member in before
            if self.identities.is_ours(member.user_id) and member.user_id not in joined and member.user_id not in moving
        ]
        awaited = await self._join_newcomers(matrix_room_of(room), absent)
        async with self.database.transaction() as tx:
            events = await self.member_log.replace_members(
                tx, room.id, current, before=before, moving={*moving, *awaited}
            )
            members = await tx.members.of_room(room.id)
        publish_all(self.publish, events)
        # The command line may have stored them, without an event in this process.
        for member in members:
            if subject := self.identities.subject(member.user_id):
                self.publish(MembershipChanged(room.id, subject, joined=True))

    async def _join_newcomers(self, matrix_room: MatrixRoomId, absent: Collection[UserId]) -> list[UserId]:
        """Join the ghosts that never were in a Matrix room, until the room refuses one; return all of them.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the bot may not read the state of the room.
        """
        newcomers = [ghost for ghost in absent if await self.ghosts.is_newcomer(ghost, matrix_room)]
        for ghost in newcomers:
            try:
                await self.ghosts.join(ghost, matrix_room)
            except HomeserverRefused as error:
                log.info("ghost_not_joined", ghost=ghost, room=matrix_room, waiting=len(newcomers), error=str(error))
                if error.status == 403 and not is_unregistered(error):
                    break  # The bot may not invite it, nor the others.
        return newcomers
