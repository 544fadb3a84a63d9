"""Votes and ends of polls, made in the city or on Matrix.

Of each voter the vote with the newest time counts, and an end counts from the first valid one on, whatever the order of
arrival (MSC3381). Votes and ends are stored, and the results are counted again with each change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..errors import Conflict, Forbidden, InvalidInput, NotFound
from .events import OutboxChanged, RoomEventStored
from .history_visibility import as_seen
from .message_kinds import Poll, valid_selections
from .message_lookup import find_message, find_writable_message, may_know_room
from .permissions import RoomPermissions
from .poll_responses import PollResponse, PollResponseKind
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .room_events import RoomEventKind
from .room_sequence import record
from .timestamps import plausible_ms
from .types import Author, Message, OutboxKind, Room

START_TYPE: Final = "org.matrix.msc3381.poll.start"
"""The type of the event that starts a poll of the city: the one that clients send and understand."""
RESPONSE_TYPES: Final = {True: "m.poll.response", False: "org.matrix.msc3381.poll.response"}
"""The event type of a vote, by whether its poll was started by the stable event type."""
END_TYPES: Final = {True: "m.poll.end", False: "org.matrix.msc3381.poll.end"}


class Polls:
    """Votes in polls and ends them, and applies votes and ends from Matrix."""

    def __init__(
        self, store: CityStore, publish: Publish, permissions: RoomPermissions, now_ms: NowMs, new_id: NewId
    ) -> None:
        self._store = store
        self._publish = publish
        self._permissions = permissions
        self._now_ms = now_ms
        self._new_id = new_id

    async def vote(self, author: Author, room_id: str, message_id: str, selections: Sequence[str]) -> Message:
        """Vote in a poll, in place of an earlier vote. An equal vote changes nothing.

        Args:
            author: The voter.
            room_id: Id or slug of the room.
            message_id: The message of the poll.
            selections: Ids of options; none to withdraw the vote.

        Returns:
            The message with its new results.

        Raises:
            NotFound: The room, the message or the poll does not exist.
            Conflict: The poll has ended, the message is deleted, or the room archived or encrypted.
            Forbidden: The author may not vote in the room.
            InvalidInput: There is no such option, or there are too many.
        """
        async with self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            poll = _open_poll(message)
            _check_selections(poll, selections)
            await self._permissions.check_may_vote(tx, room, author, RESPONSE_TYPES[poll.is_stable])
            readable = await self._permissions.readable_ranges(tx, room, author)
            earlier = await self._vote_of(tx, message, author)
            chosen = tuple(dict.fromkeys(selections))
            if chosen == (earlier.selections if earlier else ()):
                return as_seen(message, room, readable)
            at_ms = max(self._now_ms(), earlier.at_ms + 1 if earlier else 0)
            vote = PollResponse(self._new_id(), message.id, author, PollResponseKind.VOTE, chosen, at_ms)
            await tx.poll_responses.add(vote)
            message, happened = await self._counted(tx, message, author)
            await tx.outbox.add(OutboxKind.VOTE, message.id, room.id, txn_id=vote.id)
        publish_all(self._publish, [*happened, OutboxChanged()])
        return as_seen(message, room, readable)

    async def own_vote(self, author: Author, room_id: str, message_id: str) -> tuple[str, ...]:
        """Return the ids of the options that the author's vote counts for.

        Raises:
            NotFound: The room, the message or the poll does not exist, or the author may not read it.
        """
        async with self._store.read_only() as tx:
            room = await tx.rooms.find_shown(room_id)
            if room is None or not await may_know_room(tx, room, author, self._permissions):
                raise NotFound("no_such_room", f"there is no room {room_id!r}")
            message = await find_message(
                tx, room, message_id, await self._permissions.readable_ranges(tx, room, author)
            )
            poll = _poll_of(message)
            vote = await self._vote_of(tx, message, author)
            return valid_selections(poll, vote.selections) if vote else ()

    async def _vote_of(self, tx: CityTransaction, message: Message, author: Author) -> PollResponse | None:
        """Return the author's newest vote, made in the city or, by a linked person, on Matrix."""
        votes = [await tx.poll_responses.vote_of(message.id, each) for each in self._permissions.authors_of(author)]
        return max((vote for vote in votes if vote is not None), key=lambda vote: vote.at_ms, default=None)

    async def end(self, author: Author, room_id: str, message_id: str, *, may_moderate: bool) -> Message:
        """End a poll, as its author or as one who may redact its message. A poll that has ended remains as it is.

        Args:
            author: The author of the end.
            room_id: Id or slug of the room.
            message_id: The message of the poll.
            may_moderate: Whether the city allows the author to delete messages of others.

        Raises:
            NotFound: The room, the message or the poll does not exist.
            Conflict: The message is deleted, the room archived or encrypted, or the author started the poll on Matrix in a
                chat whose agent cannot redact: Matrix clients ignore its end.
            Forbidden: The author may not end the poll.
        """
        async with self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            poll = _poll_of(message)
            if message.author.subject == author.subject:
                await self._permissions.check_may_vote(tx, room, author, END_TYPES[poll.is_stable])
            elif not may_moderate and not self._may_end(room, message, author):
                raise Forbidden("not_yours", "only their author and moderators may end polls")
            readable = await self._permissions.readable_ranges(tx, room, author)
            if message.poll_results is not None and message.poll_results.ended_at_ms is not None:
                return as_seen(message, room, readable)
            self._permissions.check_is_redactable(room, message.author, author)
            end = PollResponse(self._new_id(), message.id, author, PollResponseKind.END, (), self._now_ms())
            await tx.poll_responses.add(end)
            message, happened = await self._counted(tx, message, author)
            await tx.outbox.add(OutboxKind.END_POLL, message.id, room.id, txn_id=end.id)
        publish_all(self._publish, [*happened, OutboxChanged()])
        return as_seen(message, room, readable)

    def _may_end(self, room: Room, message: Message, author: Author) -> bool:
        """Return whether the author may end a poll that another subject started."""
        is_own = self._permissions.is_same_person(message.author, author)
        return is_own or self._permissions.may_redact(room, author)

    async def receive(
        self, tx: CityTransaction, room: Room, message: Message, response: PollResponse, *, is_history: bool = False
    ) -> list[RoomEventStored]:
        """Store a vote or an end from Matrix, inside the caller's transaction.

        Args:
            tx: The caller's transaction, which has locked the room.
            message: The message, which need not be a poll.
            response: The vote or end, with its event; its id is replaced, its time limited to the present.
            is_history: Whether it is imported with the room's earlier history: then it is no event of its own.

        Returns:
            The events to publish after the commit; none if the response is known, not valid, or changes nothing.
        """
        event_id = response.matrix_event_id
        if message.deleted or message.details.poll is None or event_id is None:
            return []
        if await tx.poll_responses.by_event_id(event_id) is not None:
            return []
        is_own = response.author.subject == message.author.subject
        is_end = response.kind is PollResponseKind.END
        if is_end and not is_own and not self._permissions.may_redact(room, response.author):
            return []
        at_ms = plausible_ms(response.at_ms, self._now_ms())
        await tx.poll_responses.add(replace(response, id=self._new_id(), at_ms=at_ms))
        return (await self._counted(tx, message, response.author, is_history=is_history))[1]

    async def receive_removal(
        self, tx: CityTransaction, room: Room, response: PollResponse, by: Author
    ) -> list[RoomEventStored]:
        """Apply the redaction of a vote or an end: an earlier vote of the same voter counts again."""
        message = await tx.messages.get(response.message_id)
        if message is None or message.room_id != room.id:
            return []
        await tx.poll_responses.delete(response.id)
        return (await self._counted(tx, message, by))[1]

    async def _counted(
        self, tx: CityTransaction, message: Message, by: Author, *, is_history: bool = False
    ) -> tuple[Message, list[RoomEventStored]]:
        """Count the votes. Returns the message with its results, and the events to publish after the commit."""
        counted = await with_results(tx, message)
        if counted.poll_results == message.poll_results:
            return message, []
        if is_history:
            return counted, []
        return counted, [await record(tx, RoomEventKind.UPDATED, counted, by, self._now_ms())]


async def with_results(tx: CityTransaction, message: Message) -> Message:
    """Count the votes of a message's poll, if it has one, and store the results. Returns the message with them."""
    poll = message.details.poll
    if poll is None:
        if message.poll_results is not None:
            await tx.messages.set_poll_results(message.id, None)
        return replace(message, poll_results=None)
    results = await tx.poll_responses.count(message.id, poll)
    if results != message.poll_results:
        await tx.messages.set_poll_results(message.id, results)
    return replace(message, poll_results=results)


def _poll_of(message: Message) -> Poll:
    if message.deleted:
        raise Conflict("message_deleted", "this message is deleted: nobody can vote in it")
    if message.details.poll is None:
        raise NotFound("no_such_poll", f"the message {message.id!r} is not a poll")
    return message.details.poll


def _open_poll(message: Message) -> Poll:
    poll = _poll_of(message)
    if message.poll_results is not None and message.poll_results.ended_at_ms is not None:
        raise Conflict("poll_ended", "this poll has ended: nobody can vote any more")
    return poll


def _check_selections(poll: Poll, selections: Sequence[str]) -> None:
    known = {option.id for option in poll.options}
    for each in selections:
        if each not in known:
            raise InvalidInput("no_such_option", f"the poll has no option {each!r}", status=422)
    if len(set(selections)) > poll.max_selections:
        raise InvalidInput(
            "too_many_selections", f"select at most {poll.max_selections} options of this poll", status=422
        )
