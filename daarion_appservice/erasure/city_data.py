"""The first part of an erasure: the city's own data, in small transactions.

    messages ─► deleted, with another author          reactions, votes ─► deleted, counted again
    members  ─► leave                                  mentions by others ─► without the data subject
    direct chats with one agent ─► deleted             direct chats of citizens ─► read-only for the other one
                                                       all other tables: `storage.personal_data.holdings`

Every transaction is complete in itself, and finds what is left, so that the part can be repeated at any point. What the second
part needs (rooms, events, chats) is stored before or together with the deletion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from ..city.data_subjects import DataSubject
from ..city.erased_people import deleted_author
from ..city.events import CityEvent, MembershipChanged, OutboxChanged, RegistryChanged, RoomEventStored
from ..city.identity import Identities
from ..city.message_edits import MessageEdits
from ..city.polls import with_results
from ..city.ports import NowMs, Publish, publish_all
from ..city.room_events import RoomEvent, RoomEventKind
from ..city.room_sequence import record
from ..city.types import AgentSlug, Author, AuthorKind, EventId, Room, RoomId, UserId, author_key
from ..storage.database import Database, Transaction
from ..storage.personal_data.erasing import holdings_to_delete
from ..storage.personal_data.erasures import PendingRedaction, Plan, Remains, StoredErasure

_PORTION: Final = 50
"""Messages or reactions of one transaction."""
_PAUSE_S: Final = 0.01
"""The pause between two transactions, in which other writers have the database."""
_UNREDACTABLE: Final = "only the person can delete their own messages of a direct chat"


class CityDataErasure:
    """Erases the city's data of data subjects."""

    def __init__(
        self,
        database: Database,
        message_edits: MessageEdits,
        identities: Identities,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._database = database
        self._message_edits = message_edits
        self._identities = identities
        self._publish = publish
        self._now_ms = now_ms

    async def run(self, erasure: StoredErasure) -> None:
        """Erase everything that is there now. Can be repeated."""
        assert erasure.data_subject is not None
        await self._store_plan(erasure.id, erasure.data_subject)
        await self._delete_chats(erasure.id, erasure.data_subject)
        await self._leave_rooms(erasure.data_subject)
        await self._forget_removals(erasure.data_subject)
        await self._repeat(self._delete_messages, erasure.id, erasure.data_subject)
        await self._repeat(self._delete_reactions, erasure.id, erasure.data_subject)
        await self._repeat(self._delete_votes, erasure.id, erasure.data_subject)
        await self._forget_in_rooms(erasure.id, erasure.data_subject)
        await self._repeat(self._delete_feed, erasure.id, erasure.data_subject)
        await self._remove_agent(erasure.data_subject)
        await self._delete_rows(erasure.id, erasure.data_subject, last=False)
        async with self._database.transaction() as tx:
            await tx.erasing.forget_rooms(erasure.data_subject, erasure.id)
            for subject in erasure.data_subject.subjects:
                if author_key(subject)[0] is not AuthorKind.MATRIX:
                    await tx.citizen_chats.forget(subject, deleted_author(AuthorKind.CITIZEN, erasure.id).id)

    async def finish(self, erasure: str, data_subject: DataSubject) -> None:
        """Delete what the requests to the homeserver needed."""
        await self._delete_rows(erasure, data_subject, last=True)

    async def _delete_rows(self, erasure: str, data_subject: DataSubject, *, last: bool) -> None:
        """Delete the data subject's rows of all tables without statements of their own.

        Args:
            erasure: the id of the erasure.
            data_subject: whose rows they are.
            last: the rows that the requests to the homeserver needed, instead of all others.
        """
        for holding in holdings_to_delete(last=last):
            async with self._database.transaction() as tx:
                count = await tx.erasing.delete_rows(holding, data_subject)
                await tx.erasures.add_counts(erasure, {str(holding.table.name): count})
            await asyncio.sleep(_PAUSE_S)

    async def _repeat(
        self, step: Callable[[str, DataSubject], Awaitable[bool]], erasure: str, data_subject: DataSubject
    ) -> None:
        is_unfinished = True
        while is_unfinished:
            is_unfinished = await step(erasure, data_subject)
            await asyncio.sleep(_PAUSE_S)

    # --- what is left to do on Matrix ---------------------------------------------------------------------

    async def _store_plan(self, erasure: str, data_subject: DataSubject) -> None:
        async with self._database.transaction() as tx:
            stored = await tx.erasures.get(erasure)
            assert stored is not None
            rooms, files = (
                {*stored.plan.rooms, *await tx.erasing.matrix_rooms(data_subject)},
                await tx.erasing.files(data_subject),
            )
            rooms |= set(await tx.erasing.matrix_rooms_with_picture(files))
            chats = set(stored.plan.chats)
            remains = [Remains("file", mxc, "the homeserver holds it") for mxc in files]
            chats |= {(room, self._identities.bot) for room in await tx.erasing.take_bot_chats(data_subject)}
            for chat in await tx.erasing.own_chats(data_subject):
                if chat.matrix_room_id is not None:
                    slugs = {*await tx.erasing.chat_agents(chat.id), *([chat.agent] if chat.agent else [])}
                    chats |= {(chat.matrix_room_id, self._identities.agent(AgentSlug(slug))) for slug in slugs}
                    remains.append(Remains("chat", chat.matrix_room_id, _UNREDACTABLE))
            for chat in await tx.erasing.abandoned_chats(data_subject):
                if chat.matrix_room_id is not None:
                    chats.add((chat.matrix_room_id, self._identities.bot))
            await tx.erasures.set_plan(erasure, Plan(tuple(sorted(rooms)), tuple(sorted(chats))))
            await tx.erasures.add_remains(erasure, remains)
            await tx.erasing.delete_files([each.name for each in remains if each.kind == "file"])

    # --- rooms ------------------------------------------------------------------------------------------

    async def _delete_chats(self, erasure: str, data_subject: DataSubject) -> None:
        async with self._database.read_only() as tx:
            chats = [*await tx.erasing.own_chats(data_subject), *await tx.erasing.abandoned_chats(data_subject)]
        for chat in chats:
            is_left = True
            while is_left:
                async with self._database.transaction() as tx:
                    is_left = await tx.erasing.delete_chat_messages(chat.id, limit=_PORTION)
                    await tx.rooms.mark_history_changed(chat.id)
                await asyncio.sleep(_PAUSE_S)
            async with self._database.transaction() as tx:
                await tx.erasing.delete_chat(chat.id)
                await tx.erasures.add_counts(erasure, {"rooms": 1})

    async def _leave_rooms(self, data_subject: DataSubject) -> None:
        async with self._database.read_only() as tx:
            memberships = await tx.erasing.memberships(data_subject)
        for room, user in memberships:
            async with self._database.transaction() as tx:
                events = await self._leave(tx, data_subject, room, user)
            publish_all(self._publish, events)
            await asyncio.sleep(_PAUSE_S)

    async def _leave(self, tx: Transaction, data_subject: DataSubject, room: RoomId, user: UserId) -> list[CityEvent]:
        """Record that the data subject leaves a room. Connected clients get the id again, to remove it from their lists."""
        await tx.rooms.lock_any(room)
        member = await tx.members.get(room, user)
        if member is None:
            return []
        await tx.outbox.delete_moves(room, user)
        await tx.members.remove(room, [user])
        subject = data_subject.id if user == data_subject.user else data_subject.subjects[-1]
        (seq,), visibility = await tx.rooms.next_seqs(room, 1)
        kind, name = author_key(subject)
        who = Author(kind, name, member.display_name or name)
        event = RoomEvent(room, seq, RoomEventKind.LEAVE, self._now_ms(), who=who, visibility=visibility)
        await tx.room_events.add([event])
        return [MembershipChanged(room, subject, joined=False), RoomEventStored(event)]

    async def _forget_removals(self, data_subject: DataSubject) -> None:
        """Remove the data subject from removals of messages that are not finished, before the rooms' events."""
        async with self._database.read_only() as tx:
            unfinished = await tx.message_removals.unfinished()
        for each in unfinished:
            async with self._database.transaction() as tx:
                await tx.rooms.lock_any(each.room)
                if (removal := await tx.message_removals.current(each)) is not None:
                    await tx.message_removals.forget(removal, data_subject)

    async def _forget_in_rooms(self, erasure: str, data_subject: DataSubject) -> None:
        """Replace the data subject in events of rooms, and remove the data subject from what others mention."""
        async with self._database.read_only() as tx:
            windows = await tx.erasing.windows()
        for window in windows:
            events: list[CityEvent] = []
            async with self._database.transaction() as tx:
                await tx.rooms.lock_any(window[0])
                count = await tx.erasing.forget_in_events(data_subject, erasure, window)
                mentioning = await tx.erasing.mentioning(data_subject, window)
                for message in mentioning:
                    await tx.erasing.forget_mentions(data_subject, message.id)
                    if (changed := await tx.messages.get(message.id)) is not None:
                        events.append(await record(tx, RoomEventKind.UPDATED, changed, changed.author, self._now_ms()))
                await tx.erasures.add_counts(erasure, {"room_events": count, "mentions": len(mentioning)})
            publish_all(self._publish, events)
            await asyncio.sleep(_PAUSE_S)

    # --- messages ---------------------------------------------------------------------------------------

    async def _delete_messages(self, erasure: str, data_subject: DataSubject) -> bool:
        events: list[CityEvent] = []
        async with self._database.transaction() as tx:
            found = await tx.erasing.messages(data_subject, limit=_PORTION)
            room = await tx.rooms.lock_any(found[0].room_id) if found else None
            for message_id in [message.id for message in found]:
                # The room's row is locked only now: another transaction may have changed the message before.
                message = await tx.messages.get(message_id)
                if message is None or room is None:
                    continue
                event_ids = [*([message.matrix_event_id] if message.matrix_event_id else [])]
                event_ids += await tx.erasing.edit_events(message.id)
                await self._add_redactions(tx, erasure, data_subject, room, message.author, event_ids)
                author = deleted_author(message.author.kind, erasure)
                await tx.erasing.replace_author(message.id, author)
                events += await self._message_edits.erase(
                    tx, replace(message, author=author, client_id=None, edited_at_ms=None)
                )
            await tx.erasures.add_counts(erasure, {"messages": len(found)})
        publish_all(self._publish, [*events, OutboxChanged()])
        return bool(found)

    async def _delete_reactions(self, erasure: str, data_subject: DataSubject) -> bool:
        events: list[CityEvent] = []
        async with self._database.read_only() as readable:
            found = await readable.erasing.reactions(data_subject, limit=_PORTION)
        for reaction in found:
            async with self._database.transaction() as tx:
                message = await tx.messages.get(reaction.message_id)
                room = await tx.rooms.lock_any(message.room_id) if message is not None else None
                message = await tx.messages.get(reaction.message_id)
                if message is None or room is None:
                    continue  # Retention or the removal of its room deleted it, with the reaction.
                await tx.reactions.delete(reaction.id)
                if reaction.matrix_event_id is not None:
                    await self._add_redactions(
                        tx, erasure, data_subject, room, reaction.author, [reaction.matrix_event_id]
                    )
                counts = await tx.reactions.counts(message.id)
                await tx.messages.set_reactions(message.id, counts)
                author = deleted_author(reaction.author.kind, erasure)
                message = replace(message, reactions=counts)
                events.append(
                    await record(
                        tx, RoomEventKind.REACTION, message, author, self._now_ms(), key=reaction.key, added=False
                    )
                )
                await tx.erasures.add_counts(erasure, {"reactions": 1})
        publish_all(self._publish, events)
        return bool(found)

    async def _delete_votes(self, erasure: str, data_subject: DataSubject) -> bool:
        async with self._database.read_only() as readable:
            found = await readable.erasing.polls(data_subject, limit=_PORTION)
        for poll in found:
            async with self._database.transaction() as tx:
                message = await tx.messages.get(poll)
                room = await tx.rooms.lock_any(message.room_id) if message is not None else None
                message = await tx.messages.get(poll)
                if message is None or room is None:
                    continue  # Retention or the removal of its room deleted it, with the votes.
                for event, author in await tx.erasing.delete_votes(data_subject, poll):
                    await self._add_redactions(tx, erasure, data_subject, room, author, [event])
                message = await with_results(tx, message)
                who = deleted_author(AuthorKind.CITIZEN, erasure)
                event_stored = await record(tx, RoomEventKind.UPDATED, message, who, self._now_ms())
                await tx.erasures.add_counts(erasure, {"poll_responses": 1})
            publish_all(self._publish, [event_stored])
        return bool(found)

    async def _add_redactions(
        self,
        tx: Transaction,
        erasure: str,
        data_subject: DataSubject,
        room: Room,
        author: Author,
        events: list[EventId],
    ) -> None:
        """Store events of the data subject that are to be redacted, with the ghost or Matrix user that sent them."""
        is_own = author.kind is AuthorKind.MATRIX
        if room.matrix_room_id is None or (room.agent is not None and is_own):
            return
        sender = UserId(author.id) if is_own else data_subject.ghosts[0]
        await tx.erasures.add_redactions(
            erasure, [PendingRedaction(event, room.matrix_room_id, sender) for event in events]
        )

    # --- other rows -------------------------------------------------------------------------------------

    async def _delete_feed(self, erasure: str, data_subject: DataSubject) -> bool:
        async with self._database.transaction() as tx:
            count = await tx.erasing.delete_feed(data_subject)
            await tx.erasures.add_counts(erasure, {"feed": count})
        return count > 0

    async def _remove_agent(self, data_subject: DataSubject) -> None:
        if data_subject.agent is None:
            return
        async with self._database.transaction() as tx:
            is_known = await tx.agents.by_slug(data_subject.agent) is not None
            if is_known:
                await tx.agents.remove([data_subject.agent], now_ms=self._now_ms())
            await tx.erasing.delete_removal(data_subject)
        if is_known:
            self._publish(RegistryChanged())
