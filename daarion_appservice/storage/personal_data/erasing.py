"""The statements of an erasure: a data subject's rows in small portions, and what other rows say about the data subject."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

import orjson
from sqlalchemy import Column, ColumnElement, and_, delete, exists, or_, select, union, update

from ...city.data_subjects import DataSubject
from ...city.erased_people import DELETED_CITIZEN, deleted_author
from ...city.types import (
    AGENT_SUBJECT,
    Author,
    AuthorKind,
    Delivery,
    EventId,
    MatrixRoomId,
    Message,
    MessageId,
    Reaction,
    Room,
    RoomId,
    UserId,
)
from ..author_columns import author_in_row
from ..inbox import InboxState
from ..message_rows import read_message
from ..parameter_lists import parts
from ..repository import Repository
from ..room_columns import room_of
from ..tables import (
    accounts,
    bot_chats,
    citizen_chats,
    direct_chat_agents,
    feed,
    former_matrix_rooms,
    ghosts,
    inbox,
    media,
    members,
    membership_periods,
    messages,
    outbox,
    poll_responses,
    reactions,
    removed_agents,
    revisions,
    room_events,
    rooms,
)
from .holdings import HOLDINGS, ErasureAction, Holding
from .ownership import any_of, author_is, by_citizen, by_own_user, by_text, by_uploader, by_user

WINDOW: Final = 5_000
"""The sequence numbers of a room that one transaction examines for mentions of the data subject."""
_FEED_PORTION: Final = 500
_NOT_BY_ROWS: Final = (messages, revisions, room_events, feed, rooms, members)
"""Tables that have their own statements."""


class ErasingRepository(Repository):
    """Deletes and changes rows of one data subject. Each method is a part of a transaction, and is repeatable."""

    # --- what an erasure has to do on Matrix --------------------------------------------------------------

    async def matrix_rooms(self, data_subject: DataSubject) -> list[MatrixRoomId]:
        """Return the Matrix rooms of the city, also former ones, in which the data subject may have sent events."""
        by_message = select(messages.c.id).where(author_is(messages, data_subject))
        of_reactions = select(reactions.c.message_id).where(author_is(reactions, data_subject))
        of_votes = select(poll_responses.c.message_id).where(author_is(poll_responses, data_subject))
        city_rooms = union(
            select(messages.c.room_id).where(
                or_(messages.c.id.in_(by_message), messages.c.id.in_(of_reactions), messages.c.id.in_(of_votes))
            ),
            select(members.c.room_id).where(members.c.user_id.in_(data_subject.users)),
            select(membership_periods.c.room_id).where(membership_periods.c.user_id.in_(data_subject.users)),
        ).subquery()
        found = union(
            select(rooms.c.matrix_room_id).where(
                rooms.c.id.in_(select(city_rooms.c.room_id)), rooms.c.matrix_room_id.is_not(None)
            ),
            select(former_matrix_rooms.c.matrix_room_id).where(
                former_matrix_rooms.c.room_id.in_(select(city_rooms.c.room_id))
            ),
        )
        return sorted(MatrixRoomId(room) for room in await self._connection.scalars(found))

    async def matrix_rooms_with_picture(self, addresses: Collection[str]) -> list[MatrixRoomId]:
        """Return the Matrix rooms of the city whose picture is one of these files."""
        found = set[MatrixRoomId]()
        for some in parts(addresses):
            has_picture = and_(rooms.c.avatar_url.in_(some), rooms.c.matrix_room_id.is_not(None))
            found |= set(await self._connection.scalars(select(rooms.c.matrix_room_id).where(has_picture)))
        return sorted(found)

    async def own_chats(self, data_subject: DataSubject) -> list[Room]:
        """Return the direct chats between the data subject and one agent."""
        own = (rooms.c.agent.is_not(None), ~rooms.c.is_group, rooms.c.name.in_(data_subject.users))
        return [room_of(row) for row in await self._connection.execute(select(rooms).where(*own))]

    async def abandoned_chats(self, data_subject: DataSubject) -> list[Room]:
        """Return the direct chats of the data subject with agents, and with citizens who were erased before."""
        first, second = citizen_chats.c.first, citizen_chats.c.second
        pairs = ((first, second), (second, first))
        is_abandoned = or_(
            *(
                and_(
                    by_citizen(one)(data_subject),
                    or_(other.startswith(DELETED_CITIZEN, autoescape=True), other.startswith(AGENT_SUBJECT)),
                )
                for one, other in pairs
            )
        )
        found = select(rooms).where(rooms.c.id.in_(select(citizen_chats.c.room_id).where(is_abandoned)))
        return [room_of(row) for row in await self._connection.execute(found)]

    async def chat_agents(self, chat: RoomId) -> list[str]:
        """Return the slugs of the agents of a direct chat."""
        found = select(direct_chat_agents.c.agent).where(direct_chat_agents.c.room_id == chat)
        return list(await self._connection.scalars(found))

    async def files(self, data_subject: DataSubject) -> list[str]:
        """Return the ``mxc://`` URIs of the data subject's uploads and avatars, which the homeserver holds."""
        found = union(
            select(media.c.mxc).where(by_uploader(media)(data_subject)),
            select(members.c.avatar_url).where(by_user(members.c.user_id)(data_subject)),
            select(ghosts.c.avatar_mxc).where(by_user(ghosts.c.user_id)(data_subject)),
        )
        return sorted(mxc for mxc in await self._connection.scalars(found) if mxc and mxc.startswith("mxc://"))

    async def delete_files(self, addresses: Collection[str]) -> None:
        """Delete the rows of files, so that the city serves them no longer."""
        await self._connection.execute(delete(media).where(media.c.mxc.in_(addresses)))

    async def take_bot_chats(self, data_subject: DataSubject) -> list[MatrixRoomId]:
        """Delete the chats of the data subject with the bot and return their Matrix rooms.

        They are not kept until the bot has left: the data subject may come back before and invite the bot again.
        """
        own = by_user(bot_chats.c.inviter)(data_subject)
        found = await self._connection.execute(delete(bot_chats).where(own).returning(bot_chats.c.matrix_room_id))
        return [MatrixRoomId(room) for room in found.scalars()]

    async def unlink(self, data_subject: DataSubject) -> None:
        """Delete the link of the data subject's subjects."""
        links = any_of(by_citizen(accounts.c.citizen_id), by_own_user(accounts.c.matrix_user_id))
        await self._connection.execute(delete(accounts).where(links(data_subject)))

    # --- messages ---------------------------------------------------------------------------------------

    async def messages(self, data_subject: DataSubject, *, limit: int) -> list[Message]:
        """Return messages of the data subject from one room."""
        first = select(messages.c.room_id).where(author_is(messages, data_subject)).limit(1).scalar_subquery()
        rows = await self._connection.execute(
            select(messages).where(author_is(messages, data_subject), messages.c.room_id == first).limit(limit)
        )
        return [read_message(row) for row in rows]

    async def replace_author(self, message: MessageId, author: Author) -> None:
        """Replace the author of a message, whose content is deleted separately."""
        await self._connection.execute(
            update(messages)
            .where(messages.c.id == message)
            .values(
                author_kind=author.kind,
                author_id=author.id,
                author_name=author.display_name,
                author_avatar=None,
                client_id=None,
                edited_at_ms=None,
            )
        )
        await self._connection.execute(
            update(messages)
            .where(messages.c.id == message, messages.c.matrix_event_id.is_(None))
            .values(delivery=Delivery.FAILED)
        )
        await self._connection.execute(delete(outbox).where(outbox.c.message_id == message))

    async def edit_events(self, message: MessageId) -> list[EventId]:
        """Return the Matrix events of the edits of a message."""
        found = select(revisions.c.event_id).where(revisions.c.message_id == message, revisions.c.event_id.is_not(None))
        return [EventId(event) for event in await self._connection.scalars(found)]

    async def reactions(self, data_subject: DataSubject, *, limit: int) -> list[Reaction]:
        rows = await self._connection.execute(select(reactions).where(author_is(reactions, data_subject)).limit(limit))
        return [
            Reaction(
                row.id,
                MessageId(row.message_id),
                author_in_row(row),
                row.key,
                row.at_ms,
                EventId(row.matrix_event_id) if row.matrix_event_id else None,
                removed=row.removed,
            )
            for row in rows
        ]

    async def polls(self, data_subject: DataSubject, *, limit: int) -> list[MessageId]:
        """Return messages in whose polls the data subject has voted."""
        found = (
            select(poll_responses.c.message_id).distinct().where(author_is(poll_responses, data_subject)).limit(limit)
        )
        return [MessageId(message) for message in await self._connection.scalars(found)]

    async def delete_votes(self, data_subject: DataSubject, poll: MessageId) -> list[tuple[EventId, Author]]:
        """Delete the data subject's votes in a poll, and return their Matrix events with their authors."""
        own = (poll_responses.c.message_id == poll, author_is(poll_responses, data_subject))
        rows = (await self._connection.execute(select(poll_responses).where(*own))).all()
        await self._connection.execute(delete(poll_responses).where(*own))
        return [(EventId(row.matrix_event_id), author_in_row(row)) for row in rows if row.matrix_event_id]

    # --- rooms ------------------------------------------------------------------------------------------

    async def memberships(self, data_subject: DataSubject) -> list[tuple[RoomId, UserId]]:
        """Return the rooms that the data subject's users are members of."""
        rows = await self._connection.execute(
            select(members.c.room_id, members.c.user_id)
            .where(members.c.user_id.in_(data_subject.users))
            .order_by(members.c.room_id)
        )
        return [(RoomId(row.room_id), UserId(row.user_id)) for row in rows]

    async def delete_chat_messages(self, chat: RoomId, *, limit: int) -> bool:
        """Delete some messages of a direct chat; return False if there are none left."""
        some = select(messages.c.id).where(messages.c.room_id == chat).limit(limit)
        return (await self._connection.execute(delete(messages).where(messages.c.id.in_(some)))).rowcount > 0

    async def delete_chat(self, chat: RoomId) -> None:
        """Delete a direct chat with all that belongs to it."""
        await self._connection.execute(delete(rooms).where(rooms.c.id == chat))

    async def windows(self) -> list[tuple[RoomId, int, int]]:
        """Return the sequence numbers of all rooms in portions: room, first number, last number."""
        rows = (await self._connection.execute(select(rooms.c.id, rooms.c.first_seq, rooms.c.last_seq))).all()
        return [
            (RoomId(row.id), first, min(first + WINDOW - 1, row.last_seq))
            for row in rows
            for first in range(min(row.first_seq, 1), row.last_seq + 1, WINDOW)
        ]

    async def forget_in_events(self, data_subject: DataSubject, erasure: str, window: tuple[RoomId, int, int]) -> int:
        """Replace the data subject as the author of room events, and as the moderator of removals; return how many changed."""
        room, first, last = window
        within = (room_events.c.room_id == room, room_events.c.seq >= first, room_events.c.seq <= last)
        count = 0
        for kind, name in data_subject.authors:
            own = and_(room_events.c.author_kind == kind, room_events.c.author_id == name)
            author = deleted_author(kind, erasure)
            changed = await self._connection.execute(
                update(room_events)
                .where(*within, own)
                .values(author_id=author.id, author_name=author.display_name, author_avatar=None)
            )
            count += changed.rowcount
        named = by_text(room_events.c.removal)(data_subject) | _named_agent(room_events.c.removal, data_subject)
        for row in (await self._connection.execute(select(room_events).where(*within, named))).all():
            removal = orjson.loads(row.removal)
            if removal["by"] and (removal["by"]["kind"], removal["by"]["id"]) in data_subject.authors:
                removal = {"kind": removal["kind"], "by": None, "reason": None}
                await self._connection.execute(
                    update(room_events)
                    .where(room_events.c.room_id == room, room_events.c.seq == row.seq)
                    .values(removal=orjson.dumps(removal).decode())
                )
                count += 1
        return count

    async def mentioning(self, data_subject: DataSubject, window: tuple[RoomId, int, int]) -> list[Message]:
        """Return messages that mention the data subject, now or before an edit."""
        room, first, last = window
        within = (messages.c.room_id == room, messages.c.seq >= first, messages.c.seq <= last)
        names = by_text(messages.c.mentions)(data_subject) | _linked(messages.c.formatted_body, data_subject)
        earlier = by_text(revisions.c.mentions)(data_subject) | _linked(revisions.c.formatted_body, data_subject)
        in_revisions = exists().where(revisions.c.message_id == messages.c.id, earlier)
        rows = await self._connection.execute(
            select(messages).where(*within, or_(names, in_revisions)).order_by(messages.c.seq)
        )
        return [read_message(row) for row in rows]

    async def forget_mentions(self, data_subject: DataSubject, message: MessageId) -> None:
        """Remove the data subject from the mentions of a message and its edits, and the links from their texts."""
        for table, key in ((messages, messages.c.id), (revisions, revisions.c.message_id)):
            for row in (await self._connection.execute(select(table).where(key == message))).all():
                left = [each for each in orjson.loads(row.mentions) if each not in data_subject.subjects]
                await self._connection.execute(
                    update(table)
                    .where(table.c.id == row.id)
                    .values(
                        mentions=orjson.dumps(left).decode(),
                        formatted_body=_without_links(row.formatted_body, data_subject),
                    )
                )

    # --- other rows -------------------------------------------------------------------------------------

    async def delete_feed(self, data_subject: DataSubject) -> int:
        """Delete some entries of the data subject, and return how many."""
        some = select(feed.c.id).where(author_is(feed, data_subject)).limit(_FEED_PORTION)
        return (await self._connection.execute(delete(feed).where(feed.c.id.in_(some)))).rowcount

    async def delete_rows(self, holding: Holding, data_subject: DataSubject) -> int:
        """Delete the data subject's rows of a table, and return how many."""
        if holding.erasure is ErasureAction.FORGET_EVENT:
            forgotten = await self._connection.execute(
                update(inbox)
                .where(holding.owned(data_subject), inbox.c.state != InboxState.DONE)
                .values(state=InboxState.DONE, event="", error=None)
            )
            return forgotten.rowcount
        return (await self._connection.execute(delete(holding.table).where(holding.owned(data_subject)))).rowcount

    async def forget_rooms(self, data_subject: DataSubject, erasure: str) -> None:
        """Remove the data subject as the one who opened rooms, and as the inviter of group chats."""
        names = (*data_subject.subjects, *((data_subject.agent,) if data_subject.agent is not None else ()))
        await self._connection.execute(update(rooms).where(rooms.c.created_by.in_(names)).values(created_by=None))
        nobody = deleted_author(AuthorKind.MATRIX, erasure).id
        await self._connection.execute(update(rooms).where(rooms.c.name.in_(data_subject.users)).values(name=nobody))

    async def delete_removal(self, data_subject: DataSubject) -> None:
        """Delete the note that the agent's ghost has to leave: the erasure has it leave."""
        if data_subject.agent is not None:
            await self._connection.execute(delete(removed_agents).where(removed_agents.c.slug == data_subject.agent))


def holdings_to_delete(*, last: bool) -> Sequence[Holding]:
    """Return the tables whose rows `ErasingRepository.delete_rows` deletes.

    Args:
        last: only those that the requests to the homeserver need. The data subject may have come back meanwhile: rows found by a
            subject must not be deleted any more.
    """
    wanted = {ErasureAction.LAST} if last else {ErasureAction.DELETE, ErasureAction.FORGET_EVENT}
    return [each for each in HOLDINGS if each.erasure in wanted and each.table not in _NOT_BY_ROWS]


def _named_agent(column: Column[str], data_subject: DataSubject) -> ColumnElement[bool]:
    return column.contains(f'"id":{orjson.dumps(data_subject.agent or "").decode()}', autoescape=True)


def _linked(column: Column[str], data_subject: DataSubject) -> ColumnElement[bool]:
    return or_(*(column.contains(user, autoescape=True) for user in data_subject.users))


def _without_links(html: str | None, data_subject: DataSubject) -> str | None:
    """Return HTML in which links to the data subject are replaced by their texts."""
    if html is None:
        return None
    for user in data_subject.users:
        html = re.sub(rf'<a [^>]*matrix\.to/#/{re.escape(user)}"[^>]*>(.*?)</a>', r"\1", html, flags=re.DOTALL)
    return html
