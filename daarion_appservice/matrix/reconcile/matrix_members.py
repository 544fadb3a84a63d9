"""Makes the members of a Matrix room those of the city room, with joins and leaves that no event reported.

    stored members ─► /joined_members ─► transaction: differences, without members that an event has changed meanwhile

The homeserver may answer before an event that is handled before the transaction: the event is newer than the list.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...city.events import MembershipChanged
from ...city.identity import Identities
from ...city.member_log import MemberLog
from ...city.ports import Publish, publish_all
from ...city.types import Room
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..inbound.members import read_member
from .reconciled_rooms import matrix_room_of


@dataclass(frozen=True, slots=True)
class MatrixMembers:
    """Reads the members of linked rooms from the homeserver."""

    homeserver: Homeserver
    database: Database
    identities: Identities
    log: MemberLog
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
        async with self.database.transaction() as tx:
            events = await self.log.replace_members(tx, room.id, current, before=before, moving=moving)
            members = await tx.members.of_room(room.id)
        publish_all(self.publish, events)
        # The command line may have stored them, without an event in this process.
        for member in members:
            if subject := self.identities.subject(member.user_id):
                self.publish(MembershipChanged(room.id, subject, joined=True))
