"""Direct chats: Matrix rooms that users of Matrix opened and invited agents to, stored as rooms with an agent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, func, literal, or_, select, update

from ..city.types import AgentSlug, CitizenId, MatrixRoomId, MatrixStatus, Room, RoomId, UserId
from .readable import account_is_joined, chat_is_listed, room_is_shown
from .room_columns import IS_CITY_ROOM, NEWEST_FIRST, RoomColumns, room_of
from .tables import accounts, direct_chat_agents, direct_chat_names, membership_periods, rooms
from .upsert import insert

_NEVER_READ: Final = "{}"
"""The power levels of a chat until its state is read for the first time."""


class ChatAgentState(StrEnum):
    """The membership of an agent in a direct chat."""

    INVITED = "invited"
    JOINED = "joined"


class DirectChatRepository(RoomColumns):
    """The direct chats of the table ``rooms``, their agents and the names of their people.

    The name of a chat is the user id of its inviter.
    """

    async def pending(self, *, exclude: Collection[RoomId] = (), limit: int | None = None) -> list[Room]:
        """Return the chats that the reconciler has yet to check or whose invitations it has to accept, oldest first."""
        is_pending = or_(rooms.c.matrix_status == MatrixStatus.PENDING, _has_invited_agent())
        return await self._open_chats(is_pending & rooms.c.id.not_in(exclude), limit)

    async def linked(self, agents: Collection[AgentSlug] | None = None) -> list[Room]:
        """Return the chats that their agents, or one of ``agents``, have joined, oldest first."""
        is_linked = rooms.c.matrix_status == MatrixStatus.LINKED
        return await self._open_chats(is_linked if agents is None else is_linked & rooms.c.agent.in_(agents), None)

    async def _open_chats(self, condition: ColumnElement[bool], limit: int | None) -> list[Room]:
        chats = ~IS_CITY_ROOM & ~rooms.c.archived & condition
        found = await self._connection.execute(select(rooms).where(chats).order_by(rooms.c.created_at_ms).limit(limit))
        return [room_of(row) for row in found]

    async def count_pending(self, inviter: UserId) -> int:
        """Return how many direct chats with an invitation by this user are still pending; not those to check again."""
        found = await self._connection.execute(
            select(func.count())
            .select_from(rooms)
            .where(
                ~IS_CITY_ROOM,
                ~rooms.c.archived,
                rooms.c.matrix_status == MatrixStatus.PENDING,
                rooms.c.name == inviter,
                _has_invited_agent(),
            )
        )
        return int(found.scalar_one())

    async def mark_pending(self, chat: RoomId, *, is_group: bool | None = None) -> None:
        """Mark a direct chat as pending, to be checked by the reconciler.

        Args:
            is_group: whether the chat has other members too; None leaves it unchanged.
        """
        company = {} if is_group is None else {"is_group": is_group}
        await self._update(chat, matrix_status=MatrixStatus.PENDING, archived=False, **company)

    async def read_again(
        self, account: UserId | None = None, *, after: RoomId | None = None, limit: int | None = None
    ) -> RoomId | None:
        """Mark chats of linked accounts as pending whose power levels and members were never read.

        An earlier version of the service linked them. Nobody reads those of other people in the pages.

        Args:
            account: only the chats of this account; None for all linked accounts.
            after: only chats with a higher id.
            limit: the maximum number of chats, those with the lowest ids.

        Returns:
            The highest id of a marked chat; None if there is none.
        """
        user = accounts.c.matrix_user_id
        names = direct_chat_names.c
        is_there = or_(rooms.c.name == user, exists().where(names.room_id == rooms.c.id, names.user_id == user))
        found = await self._connection.execute(
            select(rooms.c.id)
            .where(
                chat_is_listed(),
                rooms.c.matrix_status == MatrixStatus.LINKED,
                rooms.c.power_levels == _NEVER_READ,
                exists().where(is_there, *(() if account is None else (user == account,))).select_from(accounts),
                *(() if after is None else (rooms.c.id > after,)),
            )
            .order_by(rooms.c.id)
            .limit(limit)
        )
        chats = [RoomId(chat) for chat in found.scalars()]
        for chat in chats:
            await self._update(chat, matrix_status=MatrixStatus.PENDING)
        return chats[-1] if chats else None

    async def mark_group(self, chat: RoomId) -> None:
        """Note that the chat has more than one agent, before the second one joins."""
        await self._update(chat, is_group=True)

    async def mark_linked(self, chat: RoomId, *, is_group: bool) -> None:
        """Mark a direct chat as linked: at least one agent has joined."""
        await self._update(chat, matrix_status=MatrixStatus.LINKED, matrix_error=None, is_group=is_group)

    async def close(self, chat: RoomId) -> None:
        """Archive a direct chat that its last agent has left."""
        await self._update(chat, archived=True)
        for table in (direct_chat_agents, direct_chat_names):
            await self._connection.execute(delete(table).where(table.c.room_id == chat))

    async def replace_by_city_room(self, matrix_room: MatrixRoomId) -> None:
        """End the direct chat in this Matrix room, because the Matrix room belongs to a public room."""
        await self._connection.execute(
            update(rooms)
            .where(rooms.c.matrix_room_id == matrix_room, ~IS_CITY_ROOM)
            .values(matrix_room_id=None, archived=True)
        )

    # --- in the pages ---------------------------------------------------------------------------------

    async def of_account(self, user: UserId, *, limit: int, agent: AgentSlug | None = None) -> list[Room]:
        """Return chats that the pages list for a linked account, the one with the newest event first.

        Args:
            user: the account.
            limit: the maximum number of chats.
            agent: only the chats that are read as this agent's ghost; None for all.
        """
        of_agent = () if agent is None else (rooms.c.agent == agent,)
        found = await self._connection.execute(
            select(rooms)
            .where(chat_is_listed(), account_is_joined(literal(user)), *of_agent)
            .order_by(*NEWEST_FIRST)
            .limit(limit)
        )
        return [room_of(row) for row in found]

    async def linked_citizens(self, chat: RoomId) -> list[CitizenId]:
        """Return the citizens who read a chat in the pages."""
        found = await self._connection.execute(
            select(accounts.c.citizen_id)
            .join(membership_periods, membership_periods.c.user_id == accounts.c.matrix_user_id)
            .join(rooms, rooms.c.id == membership_periods.c.room_id)
            .where(rooms.c.id == chat, ~IS_CITY_ROOM, room_is_shown(), *_is_joined())
            .distinct()
        )
        return [CitizenId(citizen) for citizen in found.scalars()]

    async def joined_by(self, ghost: UserId) -> list[RoomId]:
        """Return the chats that the ghost of a citizen is joined to."""
        found = await self._connection.execute(
            select(rooms.c.id)
            .join(membership_periods, membership_periods.c.room_id == rooms.c.id)
            .where(~IS_CITY_ROOM, membership_periods.c.user_id == ghost, *_is_joined())
            .order_by(rooms.c.id)
        )
        return [RoomId(chat) for chat in found.scalars()]

    # --- agents ---------------------------------------------------------------------------------------

    async def agents(self, chat: RoomId) -> list[AgentSlug]:
        """Return the agents that are invited to a direct chat or joined to it, in the order of their slugs."""
        rows = await self._connection.execute(
            select(direct_chat_agents.c.agent)
            .where(direct_chat_agents.c.room_id == chat)
            .order_by(direct_chat_agents.c.agent)
        )
        return [AgentSlug(slug) for slug in rows.scalars()]

    async def set_agent(self, chat: RoomId, agent: AgentSlug, state: ChatAgentState) -> None:
        """Store that an agent is invited or joined."""
        table = direct_chat_agents.c
        await self._connection.execute(
            insert(self._connection, direct_chat_agents)
            .values(room_id=chat, agent=agent, state=state)
            .on_conflict_do_update(index_elements=[table.room_id, table.agent], set_={"state": state})
        )

    async def remove_agent(self, chat: RoomId, agent: AgentSlug) -> None:
        """Remove an agent that left a direct chat, or was not able to join it."""
        table = direct_chat_agents.c
        await self._connection.execute(delete(direct_chat_agents).where(table.room_id == chat, table.agent == agent))

    async def remove_invited_agents(self, chat: RoomId) -> None:
        """Remove the agents whose joins failed for good."""
        table = direct_chat_agents.c
        await self._connection.execute(
            delete(direct_chat_agents).where(table.room_id == chat, table.state == ChatAgentState.INVITED)
        )

    async def set_reader(self, chat: RoomId, agent: AgentSlug) -> None:
        """Store the agent as whose ghost the service reads the chat."""
        await self._update(chat, agent=agent)

    # --- display names --------------------------------------------------------------------------------

    async def display_name(self, chat: RoomId, user: UserId) -> str | None:
        """Return the display name of a Matrix user in a direct chat; None if it is not known."""
        table = direct_chat_names.c
        name: str | None = await self._connection.scalar(
            select(table.display_name).where(table.room_id == chat, table.user_id == user)
        )
        return name

    async def set_display_names(self, chat: RoomId, names: Mapping[UserId, str]) -> None:
        """Store the display names of Matrix users in a direct chat."""
        if names:
            statement = insert(self._connection, direct_chat_names)
            table = direct_chat_names.c
            await self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[table.room_id, table.user_id],
                    set_={"display_name": statement.excluded.display_name},
                ),
                [{"room_id": chat, "user_id": user, "display_name": name} for user, name in names.items()],
            )


def _is_joined() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a membership period lasts, and is not that of an invitation."""
    return membership_periods.c.joined_seq.is_not(None), membership_periods.c.end_seq.is_(None)


def _has_invited_agent() -> ColumnElement[bool]:
    table = direct_chat_agents.c
    return exists().where(table.room_id == rooms.c.id, table.state == ChatAgentState.INVITED)
