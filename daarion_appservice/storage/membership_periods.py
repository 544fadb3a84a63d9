"""Membership periods: from which to which sequence number a user was joined to a room or invited."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import delete, exists, func, insert, select, update

from ..city.history_visibility import MembershipPeriod, ReadableRanges, readable_ranges
from ..city.types import RoomId, UserId
from .parameter_lists import parts
from .readable import chat_is_listed, period_counts
from .repository import Repository
from .tables import ghosts, membership_periods, rooms

_MOST = 100
"""Most periods of one reader in one room that are considered, the newest first: each is a condition of a query."""
_MOST_ROOMS = 400
"""The same limit for the periods of all rooms, those that last first: each is a condition, also of a search."""
_LASTING_FIRST = (membership_periods.c.end_seq.is_not(None), membership_periods.c.start_seq.desc())


class MembershipPeriodRepository(Repository):
    """The table ``membership_periods``."""

    async def readable_ranges(self, room: RoomId, users: Collection[UserId]) -> ReadableRanges:
        """Return the readable ranges of one reader with these user ids in a room."""
        if not users:
            return readable_ranges([])
        table = membership_periods.c
        rows = await self._connection.execute(
            select(membership_periods)
            .join(rooms, rooms.c.id == table.room_id)
            .where(table.room_id == room, table.user_id.in_(users), period_counts())
            .order_by(*_LASTING_FIRST)
            .limit(_MOST)
        )
        return readable_ranges(MembershipPeriod(row.start_seq, row.joined_seq, row.end_seq) for row in rows)

    async def ranges_by_room(self, users: Collection[UserId]) -> dict[RoomId, ReadableRanges]:
        """Return the same for each restricted room in which the reader was or is a member or invited."""
        if not users:
            return {}
        table = membership_periods.c
        rows = await self._connection.execute(
            select(membership_periods)
            .join(rooms, rooms.c.id == table.room_id)
            .where(table.user_id.in_(users), rooms.c.was_private, period_counts())
            .order_by(*_LASTING_FIRST)
            .limit(_MOST_ROOMS)
        )
        found: dict[RoomId, list[MembershipPeriod]] = {}
        for row in rows:
            found.setdefault(RoomId(row.room_id), []).append(
                MembershipPeriod(row.start_seq, row.joined_seq, row.end_seq)
            )
        return {room: readable_ranges(periods) for room, periods in found.items()}

    async def is_joined(self, room: RoomId, user: UserId) -> bool:
        """Return whether a user is joined to a room now."""
        table = membership_periods.c
        is_now = (table.joined_seq.is_not(None), table.end_seq.is_(None))
        of_user = exists().where(table.room_id == room, table.user_id == user, *is_now)
        return bool(await self._connection.scalar(select(of_user)))

    async def joined_users(self, room: RoomId) -> set[UserId]:
        """Return the users who are joined to a room now."""
        table = membership_periods.c
        lasting = (table.room_id == room, table.joined_seq.is_not(None), table.end_seq.is_(None))
        rows = await self._connection.execute(select(table.user_id).where(*lasting))
        return {UserId(user) for user in rows.scalars()}

    async def newest_join(self, room: RoomId) -> int:
        """Return the sequence number of the newest join or invitation that has not ended; 0 if there is none.

        In a chat of one person with one agent, the ghost that sends the person's messages from the pages does not count.
        """
        table = membership_periods.c
        is_own_ghost = exists().where(rooms.c.id == table.room_id, chat_is_listed(), ghosts.c.user_id == table.user_id)
        newest = await self._connection.scalar(
            select(func.max(func.coalesce(table.joined_seq, table.start_seq))).where(
                table.room_id == room, table.end_seq.is_(None), ~is_own_ghost
            )
        )
        return int(newest or 0)

    async def record_invitation(self, room: RoomId, user: UserId, seq: int) -> None:
        """Begin a period with an invitation, unless one is open already."""
        if not await self._lasting(room, [user]):
            await self._add([{"room_id": room, "user_id": user, "start_seq": seq}])

    async def record_joins(self, room: RoomId, joins: Mapping[UserId, int]) -> None:
        """Note joins by sequence number; the period of a user who is joined already goes on."""
        lasting = await self._lasting(room, list(joins))
        await self._add(
            [
                {"room_id": room, "user_id": user, "start_seq": seq, "joined_seq": seq}
                for user, seq in joins.items()
                if user not in lasting
            ]
        )
        table = membership_periods.c
        for user in joins.keys() & lasting:
            await self._connection.execute(
                update(membership_periods)
                .where(
                    table.room_id == room,
                    table.user_id == user,
                    table.end_seq.is_(None),
                    table.joined_seq.is_(None),
                )
                .values(joined_seq=joins[user])
            )

    async def end_periods(self, room: RoomId, users: Collection[UserId], seq: int) -> None:
        """End the periods of these users with the event ``seq``."""
        table = membership_periods.c
        for part in parts(list(users)):
            lasting = (table.room_id == room, table.user_id.in_(part), table.end_seq.is_(None))
            # An invitation that is withdrawn before the next event is a period without events, and the next one begins
            # at the same number.
            await self._connection.execute(delete(membership_periods).where(*lasting, table.start_seq > seq))
            await self._connection.execute(update(membership_periods).where(*lasting).values(end_seq=seq))

    async def _lasting(self, room: RoomId, users: list[UserId]) -> set[UserId]:
        table, found = membership_periods.c, set()
        for part in parts(users):
            rows = await self._connection.execute(
                select(table.user_id).where(table.room_id == room, table.user_id.in_(part), table.end_seq.is_(None))
            )
            found |= {UserId(row.user_id) for row in rows}
        return found

    async def _add(self, values: list[dict[str, object]]) -> None:
        if values:
            await self._connection.execute(insert(membership_periods), values)
