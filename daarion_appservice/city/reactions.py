"""Reactions to messages, made in the city or on Matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..errors import Conflict, InvalidInput
from .emoji import normal_form
from .events import OutboxChanged, RoomEventStored
from .history_visibility import as_seen
from .media import is_mxc
from .message_lookup import find_writable_message
from .permissions import RoomPermissions
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, publish_all
from .room_events import RoomEventKind
from .room_sequence import record
from .text_sanitizing import one_line
from .timestamps import plausible_ms
from .types import Author, EventId, Message, OutboxKind, Reaction, ReactionId, Room

MAX_KEY_CHARS: Final = 64
"""The longest key of a reaction made in the city. A family emoji with skin colours has eleven characters."""
MAX_MATRIX_KEY_CHARS: Final = 255
"""The longest key of a reaction made on Matrix: as many characters as the database stores."""
_MAX_FORMS: Final = 8
"""The number of reactions of one person with the same key at most: ``👍`` with and without U+FE0F are two on Matrix."""
_MAX_KEYS: Final = 100
"""The number of different keys per message at most; no client shows more."""


class Reactions:
    """Adds and removes reactions, and applies reactions from Matrix."""

    def __init__(
        self, store: CityStore, publish: Publish, permissions: RoomPermissions, now_ms: NowMs, new_id: NewId
    ) -> None:
        self._store = store
        self._publish = publish
        self._permissions = permissions
        self._now_ms = now_ms
        self._new_id = new_id

    async def add(self, author: Author, room_id: str, message_id: str, key: str) -> Message:
        """Add a reaction to a message; an equal reaction changes nothing.

        Returns:
            The message with its new reaction counts.

        Raises:
            NotFound: The room or the message does not exist.
            Conflict: The message is deleted, or the room archived or encrypted.
            Forbidden: The author may not react in the room.
            InvalidInput: The key is not an emoji.
        """
        key = normal_form(key)
        if not is_mxc(key):
            check_key(key)
        async with self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            if message.deleted:
                raise Conflict("message_deleted", "the message is deleted and takes no reactions")
            await self._permissions.check_may_react(tx, room, author)
            if await self._own_reactions(tx, message, author, key):
                return message
            first = await tx.reactions.first(message.id, key)
            if first is None and is_mxc(key):
                raise InvalidInput(
                    "reaction_key_invalid",
                    "an image can be a reaction only if the message has that reaction already",
                    status=422,
                )
            if first is None and len(message.reactions) >= _MAX_KEYS:
                raise Conflict("too_many_reactions", f"a message may have {_MAX_KEYS} different reactions at most")
            reaction = Reaction(ReactionId(self._new_id()), message.id, author, key, self._now_ms())
            if first is not None:
                # The reaction takes the form of the earlier ones, so that Matrix clients count it as the same key.
                reaction = replace(reaction, shortcode=first.shortcode, matrix_key=first.matrix_key)
            await tx.reactions.add(reaction)
            message, event = await self._update_counts(tx, message, reaction, added=True)
            await tx.outbox.add(OutboxKind.REACT, message.id, room.id, txn_id=reaction.id, reaction=reaction.id)
        publish_all(self._publish, [event, OutboxChanged()])
        return message

    async def remove(self, author: Author, room_id: str, message_id: str, key: str) -> Message:
        """Remove one's reaction; a missing reaction changes nothing.

        Raises:
            NotFound: The room or the message does not exist.
            Conflict: The room is archived or encrypted, or the author reacted on Matrix in a chat whose agent cannot redact.
        """
        async with self._store.transaction() as tx:
            room, message = await find_writable_message(tx, room_id, message_id, author, self._permissions)
            own = await self._own_reactions(tx, message, author, normal_form(key))
            readable = await self._permissions.readable_ranges(tx, room, author)
            if not own:
                return as_seen(message, room, readable)
            for each in own:
                self._permissions.check_is_redactable(room, each.author, author)
                # The row with the event id remains until the outbox has redacted the event.
                await tx.reactions.mark_removed(each.id)
                await tx.outbox.add(OutboxKind.UNREACT, message.id, room.id, txn_id=self._new_id(), reaction=each.id)
            message, event = await self._update_counts(tx, message, own[0], added=False)
        publish_all(self._publish, [event, OutboxChanged()])
        return as_seen(message, room, readable)

    async def _own_reactions(self, tx: CityTransaction, message: Message, author: Author, key: str) -> list[Reaction]:
        """Return the author's reactions with this key: of a linked person those made in the city and on Matrix."""
        authors = self._permissions.authors_of(author)
        return [reaction for each in authors for reaction in await tx.reactions.given(message.id, each, key)]

    async def receive(
        self,
        tx: CityTransaction,
        message: Message,
        author: Author,
        key: str,
        *,
        event_id: EventId,
        shortcode: str | None = None,
        given_at_ms: int | None = None,
    ) -> RoomEventStored | None:
        """Store a reaction made on Matrix, inside the caller's transaction.

        Args:
            tx: The caller's transaction.
            author: The sender.
            key: The key as the client sent it.
            event_id: The reaction's event.
            shortcode: The name of an image, if the key is an ``mxc://`` URI.
            given_at_ms: For a reaction of a room's earlier history, its time in milliseconds since 1970; clients get no
                event of it, and the method returns None.

        Returns:
            The event to publish after the commit; None if the reaction is known or not valid.
        """
        if message.deleted or await tx.reactions.by_event_id(event_id):
            return None
        written, key = key, normal_form(one_line(key))[:MAX_MATRIX_KEY_CHARS]
        if not key:
            return None
        is_known = key in {count.key for count in message.reactions}
        given = await tx.reactions.given(message.id, author, key)
        if len(given) >= _MAX_FORMS or (len(message.reactions) >= _MAX_KEYS and not is_known):
            return None
        reaction = Reaction(
            ReactionId(self._new_id()),
            message.id,
            author,
            key,
            self._now_ms() if given_at_ms is None else plausible_ms(given_at_ms, self._now_ms()),
            event_id,
            shortcode=shortcode,
            matrix_key=written if written != key else None,
        )
        await tx.reactions.add(reaction)
        if given:
            return None  # It is counted as soon as the other one is redacted.
        if given_at_ms is not None:
            await tx.messages.set_reactions(message.id, await tx.reactions.counts(message.id))
            return None
        _, event = await self._update_counts(tx, message, reaction, added=True)
        return event

    async def receive_removal(self, tx: CityTransaction, room: Room, reaction: Reaction) -> RoomEventStored | None:
        """Apply a redaction. Returns None if the reaction was removed before, or belongs to a message of another room."""
        message = await tx.messages.get(reaction.message_id)
        if message is None or message.room_id != room.id:
            return None
        await tx.reactions.delete(reaction.id)
        if reaction.removed or await tx.reactions.given(message.id, reaction.author, reaction.key):
            return None
        _, event = await self._update_counts(tx, message, reaction, added=False)
        return event

    async def _update_counts(
        self, tx: CityTransaction, message: Message, reaction: Reaction, *, added: bool
    ) -> tuple[Message, RoomEventStored]:
        """Update the reaction counts.

        Returns the message with the new counts, and the event to publish after the commit.
        """
        counts = await tx.reactions.counts(message.id)
        await tx.messages.set_reactions(message.id, counts)
        message = replace(message, reactions=counts)
        event = await record(
            tx,
            RoomEventKind.REACTION,
            message,
            reaction.author,
            self._now_ms(),
            key=reaction.key,
            added=added,
        )
        return message, event


def check_key(key: str) -> None:
    """Raise InvalidInput unless ``key`` can be the key of a reaction."""
    if not key.strip() or len(key) > MAX_KEY_CHARS or not all(map(_is_emoji_character, key)):
        raise InvalidInput(
            "reaction_key_invalid",
            f"the key of a reaction must be an emoji or 1 to {MAX_KEY_CHARS} printable characters",
            status=422,
        )


def _is_emoji_character(char: str) -> bool:
    """Joiners and the tag characters of flags are not printable, but parts of many emoji."""
    return char.isprintable() or char == "\N{ZERO WIDTH JOINER}" or "\U000e0020" <= char <= "\U000e007f"
