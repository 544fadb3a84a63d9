"""Rendering of outbox entries as Matrix events, and the changes in the city once an entry is sent or given up.

The functions below the renderer return the content of ``m.room.message`` and ``m.reaction`` (client-server API).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ...city.delivery_errors import DeliveryError
from ...city.erased_people import erasure_of
from ...city.event_fields import EDIT_ID, MESSAGE_ID, REACTION_ID
from ...city.events import CityEvent
from ...city.identity import Identities, ServiceUser
from ...city.member_log import MemberLog
from ...city.messages import Messages
from ...city.poll_responses import PollResponseKind
from ...city.polls import END_TYPES, RESPONSE_TYPES, START_TYPE
from ...city.power_levels import may_redact
from ...city.types import Author, AuthorKind, CitizenId, EventId, Message, OutboxKind, Reaction, Room, SubjectId, UserId
from ...city.unread import ROOM_MENTION
from ...storage.database import Transaction
from ...storage.outbox import OutboxRow
from ..client.message_content import HTML_FORMAT, SHORTCODE_KEYS
from ..encryption.support import UNREADABLE
from .erased_authors import redact_sent
from .kind_content import end_content, location_content, media_content, poll_content, vote_content
from .thread_position import ThreadPosition, thread_position

_MAX_EXCERPT_CHARS: Final = 250
PER_MESSAGE_PROFILE: Final = "com.beeper.per_message_profile"
"""The key of the profile of one message (MSC4144), by its unstable name, which clients read."""


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """One event to send or redact, or one join or leave."""

    sender: Author | None
    """The author of the event; None for the bot."""
    ts_ms: int
    event_type: str = ""
    content: dict[str, Any] = field(default_factory=dict)
    redacts: EventId | None = None
    edits_by: UserId | None = None
    """For a redaction, the user whose edits of the event are redacted as well."""
    is_unreadable_notice: bool = False
    """Whether this is the notice of an agent that it cannot read the encrypted chat, which is sent in clear."""
    membership: OutboxKind | None = None
    """JOIN or LEAVE if the sender joins or leaves instead of sending an event."""

    def user(self, identities: Identities) -> UserId:
        """Return the user that sends the event."""
        return identities.bot if self.sender is None else identities.author(self.sender)


@dataclass
class OutboxRenderer:
    """Renders outbox entries, and records the results of their delivery."""

    messages: Messages
    members: MemberLog
    identities: Identities

    async def render(
        self, tx: Transaction, entry: OutboxRow, room: Room | None = None, message: Message | None = None
    ) -> OutgoingEvent | None:
        """Return the event of an entry; None if nothing remains to send, or the event it refers to is not on Matrix.

        Args:
            tx: the transaction or connection to read with.
            room: the entry's room; None to read it where the event depends on it.
            message: the entry's message; None to read it.
        """
        message = message or await _message_of(tx, entry)
        if message is None:
            return await self._membership_change(tx, entry, entry.user_id) if entry.user_id is not None else None
        if entry.kind in {OutboxKind.DELETE, OutboxKind.REMOVE}:
            sender = message.author if entry.kind is OutboxKind.DELETE else None
            author = self.identities.author(message.author)
            return _redaction(sender, message.matrix_event_id, message.created_at_ms, edits_by=author)
        return await self._content_event(tx, entry, message, room)

    async def _content_event(
        self, tx: Transaction, entry: OutboxRow, message: Message, room: Room | None
    ) -> OutgoingEvent | None:
        match entry.kind:
            case OutboxKind.MESSAGE:
                return await self._message(tx, message, room)
            case OutboxKind.EDIT:
                return await self._edit(tx, entry, message, room)
            case OutboxKind.REACT | OutboxKind.UNREACT:
                return await self._reaction(tx, entry, message)
            case OutboxKind.VOTE | OutboxKind.END_POLL:
                return await self._poll_response(tx, entry, message)
        return None

    async def record_sent(self, tx: Transaction, entry: OutboxRow, event_id: EventId | None) -> list[CityEvent]:
        """Record that an entry is sent.

        Args:
            event_id: the id of the event; None for a join or leave.

        Returns:
            The events to publish after the commit.
        """
        if event_id is None:
            return []
        if entry.kind is OutboxKind.MESSAGE:
            # The lock prevents a concurrent deletion from being missed.
            await tx.rooms.lock_any(entry.room_id)
            message = await _message_of(tx, entry)
            if message is None or message.matrix_event_id is not None:
                return []
            if (erasure := erasure_of(message.author)) is not None:
                return await redact_sent(tx, self.identities, message, event_id, erasure)
            return [await self.messages.mark_sent(tx, message, event_id)]
        if entry.kind is OutboxKind.EDIT:
            await tx.revisions.set_event(entry.txn_id, event_id)
        if entry.kind in {OutboxKind.VOTE, OutboxKind.END_POLL}:
            await tx.poll_responses.set_event(entry.txn_id, event_id)
        if entry.reaction_id is not None:
            if entry.kind is OutboxKind.REACT:
                await tx.reactions.set_event(entry.reaction_id, event_id)
            else:
                await tx.reactions.delete(entry.reaction_id)
        return []

    async def record_dropped(
        self, tx: Transaction, entry: OutboxRow, error: DeliveryError = DeliveryError.REFUSED
    ) -> list[CityEvent]:
        """Record that an entry needs no event; a message becomes failed with ``error``.

        Returns:
            The events to publish after the commit.
        """
        if entry.kind is OutboxKind.UNREACT and entry.reaction_id is not None:
            await tx.reactions.delete(entry.reaction_id)
        # A message that is never sent must not stay pending.
        return await self.record_failed(tx, entry, error) if entry.kind is OutboxKind.MESSAGE else []

    async def record_failed(self, tx: Transaction, entry: OutboxRow, error: DeliveryError) -> list[CityEvent]:
        """Record that Matrix refuses an entry; a message becomes failed with ``error``.

        A refused edit or reaction stays unchanged in the city, because it is part of the room's history already.

        Returns:
            The events to publish after the commit.
        """
        await tx.rooms.lock_any(entry.room_id)
        if entry.kind is OutboxKind.JOIN and entry.user_id is not None:
            return await self.members.record_removal(tx, entry.room_id, entry.user_id)
        message = await _message_of(tx, entry)
        # A message that came back as an event is sent, whatever the response to the request was.
        if entry.kind is not OutboxKind.MESSAGE or message is None or message.matrix_event_id is not None:
            return []
        return [await self.messages.mark_failed(tx, message, error)]

    async def _membership_change(self, tx: Transaction, entry: OutboxRow, user: UserId) -> OutgoingEvent | None:
        identity, member = self.identities.describe(user), await tx.members.get(entry.room_id, user)
        if isinstance(identity, ServiceUser) or (entry.kind is OutboxKind.JOIN and member is None):
            return None
        kind, name = identity
        return OutgoingEvent(Author(kind, name, (member and member.display_name) or name), 0, membership=entry.kind)

    async def _message(self, tx: Transaction, message: Message, room: Room | None) -> OutgoingEvent | None:
        if message.matrix_event_id is not None or message.deleted:
            return None
        replied_to = await tx.messages.get(message.reply_to) if message.reply_to else None
        is_private = await _is_private(tx, message, room)
        thread = await thread_position(tx, message)
        content = message_content(message, replied_to, self.identities, thread=thread, is_private=is_private)
        event_type = START_TYPE if message.details.poll is not None else "m.room.message"
        is_unreadable_notice = message.client_id == UNREADABLE and message.msgtype == "m.notice"
        return OutgoingEvent(
            message.author, message.created_at_ms, event_type, content, is_unreadable_notice=is_unreadable_notice
        )

    async def _poll_response(self, tx: Transaction, entry: OutboxRow, message: Message) -> OutgoingEvent | None:
        response, poll, original = (
            await tx.poll_responses.get(entry.txn_id),
            message.details.poll,
            message.matrix_event_id,
        )
        room = await tx.rooms.get(message.room_id)
        if response is None or poll is None or original is None or room is None:
            return None
        if response.kind is PollResponseKind.VOTE:
            content = vote_content(poll, original, response)
            return OutgoingEvent(response.author, response.at_ms, RESPONSE_TYPES[poll.is_stable], content)
        # Clients ignore an end by others than the author, unless they may redact: for an admin of the city the bot sends it.
        is_own = response.author.subject == message.author.subject
        may_end = is_own or may_redact(room.power_levels, self.identities.author(response.author))
        content = end_content(poll, message.poll_results, original, response)
        return OutgoingEvent(response.author if may_end else None, response.at_ms, END_TYPES[poll.is_stable], content)

    async def _edit(
        self, tx: Transaction, entry: OutboxRow, message: Message, room: Room | None
    ) -> OutgoingEvent | None:
        original = message.matrix_event_id
        if original is None or message.deleted:
            return None
        # Send the content of this revision, not of the newest: it remains if the newest edit is redacted on Matrix.
        if revision := await tx.revisions.get(entry.txn_id):
            message = replace(message.with_content(revision.content), edited_at_ms=revision.at_ms)
        content = edit_content(
            message,
            await tx.messages.get(message.reply_to) if message.reply_to else None,
            original,
            self.identities,
            edit_id=entry.txn_id,
            mentioned_before=await tx.revisions.mentioned_before(revision)
            if revision
            else {*message.mentions, ROOM_MENTION},
            is_private=await _is_private(tx, message, room),
        )
        return OutgoingEvent(message.author, message.edited_at_ms or message.created_at_ms, "m.room.message", content)

    async def _reaction(self, tx: Transaction, entry: OutboxRow, message: Message) -> OutgoingEvent | None:
        reaction = await tx.reactions.get(entry.reaction_id) if entry.reaction_id else None
        if reaction is None or message.matrix_event_id is None:
            return None
        if entry.kind is OutboxKind.UNREACT:
            # The ghost cannot redact a reaction that its person sent on Matrix, but the bot can.
            sender = None if reaction.author.kind is AuthorKind.MATRIX else reaction.author
            return _redaction(sender, reaction.matrix_event_id, reaction.at_ms)
        # Send a removed reaction all the same: an earlier attempt may have sent it, and the redaction needs its id.
        content = reaction_content(message.matrix_event_id, reaction)
        return OutgoingEvent(reaction.author, reaction.at_ms, "m.reaction", content)


async def _is_private(tx: Transaction, message: Message, room: Room | None) -> bool:
    """Return whether a message belongs to a direct chat of one person and one agent alone."""
    room = room or await tx.rooms.get(message.room_id)
    return room is not None and room.agent is not None and not room.is_group


async def _message_of(tx: Transaction, entry: OutboxRow) -> Message | None:
    return await tx.messages.get(entry.message_id) if entry.message_id is not None else None


def _redaction(
    sender: Author | None, event: EventId | None, ts_ms: int, *, edits_by: UserId | None = None
) -> OutgoingEvent | None:
    return None if event is None else OutgoingEvent(sender, ts_ms, redacts=event, edits_by=edits_by)


# --- event content ------------------------------------------------------------------------------------


def message_content(
    message: Message,
    reply_target: Message | None,
    identities: Identities,
    *,
    thread: ThreadPosition | None = None,
    is_private: bool = False,
) -> dict[str, Any]:
    """Return the content of the Matrix event for a message.

    Args:
        reply_target: the message that it replies to.
        identities: names its users.
        thread: the position in the thread that it belongs to; None in the main timeline.
        is_private: the message belongs to a direct chat with one person alone. Every message there is for that person,
            so the content has no reply and no mentions, for each of which clients would notify.
    """
    content = _content(message, _mentioned_subjects(message, reply_target, is_private=is_private), identities) | {
        MESSAGE_ID: message.id
    }
    if message.details.poll is not None:
        content = poll_content(message.details.poll, message.body) | {
            key: value for key, value in content.items() if key not in {"msgtype", "body"}
        }
    replied_to = None if reply_target is None or is_private else reply_target.matrix_event_id
    if relation := _relation(replied_to, thread):
        content["m.relates_to"] = relation
    return content


def _relation(replied_to: EventId | None, thread: ThreadPosition | None) -> dict[str, Any]:
    """Return the relation of a reply, a message in a thread, or both (client-server API, "Replies inside threads")."""
    if thread is None:
        return {"m.in_reply_to": {"event_id": replied_to}} if replied_to is not None else {}
    return {
        "rel_type": "m.thread",
        "event_id": thread.root,
        # Clients without threads show the message as a reply to the newest one of the thread.
        "is_falling_back": replied_to is None,
        "m.in_reply_to": {"event_id": replied_to or thread.last},
    }


def edit_content(
    message: Message,
    reply_target: Message | None,
    original: EventId,
    identities: Identities,
    *,
    edit_id: str,
    mentioned_before: Collection[SubjectId],
    is_private: bool = False,
) -> dict[str, Any]:
    """Return the content of the Matrix event for an edit; clients without support for edits show its body.

    Args:
        message: the message with its new content.
        reply_target: the message that it replies to.
        original: the event of the message.
        edit_id: the id of the revision, by which the city recognizes its own event.
        mentioned_before: the subjects mentioned before this edit, with ``ROOM_MENTION``. The event mentions only others, so
            that no user is notified twice, and its ``m.new_content`` mentions all (MSC3952, "Editing").
        is_private: as for ``message_content``.
    """
    # The fallback is an excerpt: an event cannot contain the longest message twice.
    excerpt = message.body if len(message.body) <= _MAX_EXCERPT_CHARS else message.body[:_MAX_EXCERPT_CHARS] + "…"
    mentioned = _mentioned_subjects(message, reply_target, is_private=is_private)
    notified = {*mentioned_before, *([reply_target.author.subject] if reply_target else [])}
    return {
        "msgtype": "m.text",
        "body": f"* {excerpt}",
        "m.mentions": _mentions(
            [subject for subject in mentioned if subject not in notified],
            identities,
            with_room=message.details.mentions_room and ROOM_MENTION not in notified,
        ),
        "m.new_content": _content(message, mentioned, identities),
        "m.relates_to": {"rel_type": "m.replace", "event_id": original},
        MESSAGE_ID: message.id,
        EDIT_ID: edit_id,
    } | _profile_fields(message.author, identities)


def _mentioned_subjects(message: Message, reply_target: Message | None, *, is_private: bool) -> list[SubjectId]:
    """Return the subjects that a message mentions: the named ones and, as specified, the author that it replies to."""
    if is_private:
        return []
    is_reply = reply_target is not None and reply_target.matrix_event_id is not None
    return list(
        dict.fromkeys([*message.mentions, *([reply_target.author.subject] if reply_target and is_reply else [])])
    )


def reaction_content(original: EventId, reaction: Reaction) -> dict[str, Any]:
    """Return the content of the Matrix event for a reaction to the event ``original``."""
    content: dict[str, Any] = {
        "m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": reaction.matrix_key or reaction.key},
        REACTION_ID: reaction.id,
    }
    return content | (dict.fromkeys(SHORTCODE_KEYS, reaction.shortcode) if reaction.shortcode else {})


def _content(message: Message, mentioned: list[SubjectId], identities: Identities) -> dict[str, Any]:
    content: dict[str, Any] = {
        "msgtype": message.msgtype,
        "body": message.body,
        "m.mentions": _mentions(mentioned, identities, with_room=message.details.mentions_room),
    }
    if message.formatted_body is not None:
        content |= {"format": HTML_FORMAT, "formatted_body": message.formatted_body}
    if message.media is not None:
        content |= media_content(message.media)
    if message.details.location is not None:
        content |= location_content(message.details.location, message.body)
    return content | _profile_fields(message.author, identities)


def _mentions(subjects: list[SubjectId], identities: Identities, *, with_room: bool) -> dict[str, Any]:
    """Return ``m.mentions``: a linked citizen is mentioned as the Matrix user, whom clients can notify."""
    users = map(identities.user, identities.accounts.canonical_subjects(subjects))
    return ({"user_ids": list(users)} if subjects else {}) | ({"room": True} if with_room else {})


def _profile_fields(author: Author, identities: Identities) -> dict[str, Any]:
    """Return the profile of a message of a linked citizen, which the ghost sends: it names the Matrix user.

    The content has no fallback in its text, because the ghost itself has the same display name and avatar.
    """
    account = identities.accounts.of_citizen(CitizenId(author.id)) if author.kind is AuthorKind.CITIZEN else None
    if account is None:
        return {}
    shown = identities.accounts.shown(author)
    profile = {"id": account.user, "displayname": shown.display_name}
    return {PER_MESSAGE_PROFILE: profile | ({"avatar_url": shown.avatar_url} if shown.avatar_url else {})}
