"""Signs that people give to messages, from the city's side and from Matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..errors import Conflict, InvalidInput
from .emoji import normal_form
from .events import OutboxChanged, RoomEventStored
from .history_visibility import as_seen
from .media import is_mxc
from .messages import find_open
from .ports import CityStore, CityTransaction, NewId, NowMs, Publish, RoomPermissions, publish_all
from .room_sequence import record
from .text_sanitizing import one_line
from .timestamps import plausible_ms
from .types import Author, EventId, Message, OutboxKind, Reaction, ReactionId, Room, RoomEventKind

MAX_KEY_CHARS: Final = 64
"""Of a sign that is given in the city. An emoji may be long: a family with skin colours has eleven characters."""
MAX_MATRIX_KEY_CHARS: Final = 255
"""Of a sign that is given on Matrix; as many as are stored."""
_MAX_SIGNS: Final = 100
"""Different signs that one message may have; so many are shown in no client."""


class Reactions:
    def __init__(
        self, store: CityStore, publish: Publish, permissions: RoomPermissions, now_ms: NowMs, new_id: NewId
    ) -> None:
        self._store = store
        self._publish = publish
        self._permissions = permissions
        self._now_ms = now_ms
        self._new_id = new_id

    async def give(self, author: Author, room_id: str, message_id: str, key: str) -> Message:
        """Give a message a sign; the same again changes nothing. Returns the message as it stands then.

        Raises NotFound, Conflict for a deleted message or an archived room, Forbidden, InvalidInput for what is no sign.
        """
        key = normal_form(key)
        if not is_mxc(key):
            check_key(key)
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._permissions)
            if message.deleted:
                raise Conflict("message_deleted", "this message is deleted: nobody can react to it")
            await self._permissions.check_may_react(tx, room, author)
            if await tx.reactions.given(message.id, author, key):
                return message
            first = await tx.reactions.first(message.id, key)
            if first is None and is_mxc(key):
                raise InvalidInput("no_emoji", "a picture can be given where somebody gave it before", status=422)
            if first is None and len(message.reactions) >= _MAX_SIGNS:
                raise Conflict("too_many_reactions", f"a message may have {_MAX_SIGNS} different signs at most")
            reaction = Reaction(ReactionId(self._new_id()), message.id, author, key, self._now_ms())
            if first is not None:
                # Written as those wrote it who gave it before, so that it is one sign on Matrix, too.
                reaction = replace(reaction, shortcode=first.shortcode, matrix_key=first.matrix_key)
            await tx.reactions.add(reaction)
            message, happened = await self._counted(tx, message, reaction, added=True)
            await tx.outbox.add(OutboxKind.REACT, message.id, room.id, txn_id=reaction.id, reaction=reaction.id)
        publish_all(self._publish, [happened, OutboxChanged()])
        return message

    async def take_back(self, author: Author, room_id: str, message_id: str, key: str) -> Message:
        """Take back a sign; one that was not given is fine. Raises NotFound, and Conflict in an archived room."""
        async with self._store.transaction() as tx:
            room, message = await find_open(tx, room_id, message_id, author, self._permissions)
            reaction = await tx.reactions.given(message.id, author, normal_form(key))
            reading = await self._permissions.reading(tx, room, author)
            if reaction is None:
                return as_seen(message, room, reading)
            # Which event it is on Matrix must be known until that is gone, too.
            await tx.reactions.mark_removed(reaction.id)
            message, happened = await self._counted(tx, message, reaction, added=False)
            await tx.outbox.add(OutboxKind.UNREACT, message.id, room.id, txn_id=self._new_id(), reaction=reaction.id)
        publish_all(self._publish, [happened, OutboxChanged()])
        return as_seen(message, room, reading)

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
        """Somebody gave a sign on Matrix; None when it is known already, or cannot be one.

        Args:
            given_at_ms: when a reaction of a room's earlier history was given, in milliseconds since 1970; clients are not
                told of it, so that None is returned.
        """
        if message.deleted or await tx.reactions.by_event_id(event_id):
            return None
        written, key = key, normal_form(one_line(key))[:MAX_MATRIX_KEY_CHARS]
        if not key:
            return None
        is_known = key in {tally.key for tally in message.reactions}
        if await tx.reactions.given(message.id, author, key) or (len(message.reactions) >= _MAX_SIGNS and not is_known):
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
        if given_at_ms is not None:
            await tx.messages.set_reactions(message.id, await tx.reactions.tallies(message.id))
            return None
        _, happened = await self._counted(tx, message, reaction, added=True)
        return happened

    async def receive_removal(self, tx: CityTransaction, room: Room, reaction: Reaction) -> RoomEventStored | None:
        """A sign is gone on Matrix; None when it was taken back already, or was given in another room."""
        message = await tx.messages.get(reaction.message_id)
        if message is None or message.room_id != room.id:
            return None
        await tx.reactions.drop(reaction.id)
        if reaction.removed:
            return None
        _, happened = await self._counted(tx, message, reaction, added=False)
        return happened

    async def _counted(
        self, tx: CityTransaction, message: Message, reaction: Reaction, *, added: bool
    ) -> tuple[Message, RoomEventStored]:
        """Count anew; returns the message as it stands then, and what to publish once that is committed."""
        tallies = await tx.reactions.tallies(message.id)
        await tx.messages.set_reactions(message.id, tallies)
        message = replace(message, reactions=tallies)
        happened = await record(
            tx,
            RoomEventKind.REACTION,
            message,
            reaction.author,
            self._now_ms(),
            key=reaction.key,
            added=added,
        )
        return message, happened


def check_key(key: str) -> None:
    """Raise InvalidInput unless ``key`` can be given as a sign."""
    if not key.strip() or len(key) > MAX_KEY_CHARS or not all(map(_may_stand_in_emoji, key)):
        raise InvalidInput("no_emoji", f"react with an emoji, or up to {MAX_KEY_CHARS} characters", status=422)


def _may_stand_in_emoji(char: str) -> bool:
    """Joiners and the tags of flags cannot be printed by themselves, but are part of many an emoji."""
    return char.isprintable() or char == "\N{ZERO WIDTH JOINER}" or "\U000e0020" <= char <= "\U000e007f"
