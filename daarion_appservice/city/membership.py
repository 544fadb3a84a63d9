"""Joins and leaves of citizens and agents: immediate in the city, and sent to Matrix by the outbox."""

from __future__ import annotations

from dataclasses import replace

from ..errors import Conflict, NotFound
from .agents import AgentDirectory
from .events import OutboxChanged
from .member_log import MemberLog
from .message_lookup import lock_writable_room, may_know_room
from .permissions import RoomPermissions
from .ports import CityStore, NewId, Publish, publish_all
from .room_deletions import check_not_being_deleted
from .room_entry import enter_room
from .types import Author, OutboxKind, Room


class Membership:
    """Joins and leaves rooms for citizens and agents."""

    def __init__(
        self,
        store: CityStore,
        publish: Publish,
        member_log: MemberLog,
        permissions: RoomPermissions,
        agents: AgentDirectory,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._publish = publish
        self._member_log = member_log
        self._permissions = permissions
        self._agents = agents
        self._new_id = new_id

    async def join(self, author: Author, room_id: str) -> Room:
        """Join a room. A member remains one, and the outbox sends a changed display name to Matrix.

        Raises:
            NotFound: The room does not exist.
            Conflict: The room is archived or encrypted.
            Forbidden: The author is banned, or needs an invitation.
        """
        async with self._store.transaction() as tx:
            room = await lock_writable_room(tx, room_id, author, self._permissions)
            if room.agent is not None:  # A chat is entered by an invitation on Matrix, and by the first message.
                return room
            await self._permissions.check_may_join(tx, room, author)
            await self._permissions.end_kick(tx, room, author)
            member = self._member_log.member(room.id, author)
            known = await tx.members.get(room.id, member.user_id)
            if known is not None:
                member = replace(known, display_name=member.display_name)
            if member == known:
                return room
            events = await enter_room(tx, self._member_log, member, txn_id=self._new_id())
        publish_all(self._publish, [*events, OutboxChanged()])
        return room

    async def leave(self, author: Author, room_id: str) -> Room:
        """Leave a room; a room without membership changes nothing.

        Raises:
            NotFound: The room does not exist.
            Conflict: The registry lists the room among the agent's rooms, or the room is being deleted.
        """
        async with self._store.transaction() as tx:
            room = await tx.rooms.lock(room_id)
            if room is None or not await may_know_room(tx, room, author, self._permissions):
                raise NotFound("no_such_room", f"there is no room {room_id!r}")
            await check_not_being_deleted(tx, room)
            if self._agents.is_assigned_to(author, room):
                raise Conflict(
                    "room_assigned_to_agent",
                    f"the registry assigns the room {room.slug} to {author.id}: remove it from the agent's rooms first",
                )
            member = self._member_log.member(room.id, author)
            if await tx.members.get(room.id, member.user_id) is None:
                return room
            events = await self._member_log.leave_from_city(tx, member)
            await tx.outbox.add_move(OutboxKind.LEAVE, member.user_id, room.id, txn_id=self._new_id())
        publish_all(self._publish, [*events, OutboxChanged()])
        return room
