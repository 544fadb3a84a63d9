"""Who gets a push for a message, and its content.

A citizen gets one for a mention and for a message in a direct chat, if the city counts it as unread: the citizen may read it,
has not read it, and the notification mode of the room is not ``none``. Blocked citizens cause none.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from ..city.citizen_pairs import is_chat_id
from ..city.events import MessagePosted
from ..city.excerpts import excerpt
from ..city.history_visibility import PUBLIC
from ..city.identity import Identities
from ..city.message_mentions import chat_readers
from ..city.push_subscriptions import PushSubscription
from ..city.reader_memberships import ReaderMemberships
from ..city.types import Author, AuthorKind, CitizenId, Message, Room, SubjectId, author_key
from ..city.unread import ROOM_MENTION, NotificationMode
from ..realtime.unread_counts import count_unread
from ..storage.database import Database, Transaction
from .client import Push

_MAX_TEXT_CHARS: Final = 250
_MAX_NAME_CHARS: Final = 80
"""With both limits a payload has at most 3 kB, however many bytes its characters have."""
_MAX_PARSED_CHARS: Final = 4_000
"""Longer HTML is not parsed: its message is shown as plain text."""
_TOPIC_CHARS: Final = 32


def may_notify(posted: MessagePosted) -> bool:
    """Return whether a message mentions a user or may belong to a direct chat, without a query."""
    return bool(posted.mentioned) or is_chat_id(posted.message.room_id)


@dataclass(frozen=True, slots=True)
class PushNotices:
    """Finds the pushes for a message."""

    database: Database
    identities: Identities
    readers: ReaderMemberships

    async def of(self, posted: MessagePosted) -> list[Push]:
        """Return the pushes for a message, as it is now; none for a deleted one.

        Raises:
            DatabaseError: The database does not answer.
        """
        async with self.database.read_only() as tx:
            room_id = posted.message.room_id
            partners = frozenset(await chat_readers(tx, room_id) if is_chat_id(room_id) else ())
            citizens = partners | self._citizens(posted.mentioned)
            if ROOM_MENTION in posted.mentioned:
                citizens |= await tx.push_subscriptions.citizens()
            own = self._citizens([posted.message.author.subject])
            by_citizen = _by_citizen(await tx.push_subscriptions.of(citizens - own))
            if not by_citizen:
                return []
            message, room = await tx.messages.get(posted.message.id), await tx.rooms.get(room_id)
            if message is None or message.deleted or room is None:
                return []
            wanted = [
                subscription
                for citizen, subscriptions in by_citizen.items()
                if await self._is_wanted(tx, message, posted.mentioned, citizen, is_direct=citizen in partners)
                for subscription in subscriptions
            ]
        return [self._push(message, room, each, is_direct=each.citizen in partners) for each in wanted]

    async def _is_wanted(
        self,
        tx: Transaction,
        message: Message,
        mentioned: frozenset[SubjectId],
        citizen: CitizenId,
        *,
        is_direct: bool,
    ) -> bool:
        reader = Author(AuthorKind.CITIZEN, citizen, citizen)
        counted = await count_unread(tx, self.readers, reader, among=[message.room_id])
        unread = counted.rooms.get(message.room_id)
        if unread is None or unread.mode is NotificationMode.NONE:
            return False
        is_own_mention = any(subject in mentioned for subject in self.identities.accounts.subjects_of(reader.subject))
        if not (is_direct or is_own_mention or (ROOM_MENTION in mentioned and unread.is_joined)):
            return False
        if unread.marks.is_read(message.seq, message.thread_root):
            return False
        if not counted.ranges_by_room.get(message.room_id, PUBLIC).may_read_message(message):
            return False
        return not self._citizens([message.author.subject]) & await tx.citizen_chats.blocked_by(citizen)

    def _citizens(self, subjects: Iterable[SubjectId]) -> frozenset[CitizenId]:
        """Return the citizens among these subjects, and those who are linked with them."""
        accounts = self.identities.accounts
        return frozenset(
            CitizenId(each)
            for subject in subjects
            if subject != ROOM_MENTION
            for each in accounts.subjects_of(subject)
            if author_key(each)[0] is AuthorKind.CITIZEN
        )

    def _push(self, message: Message, room: Room, subscription: PushSubscription, *, is_direct: bool) -> Push:
        author = self.identities.accounts.shown(message.author)
        payload: dict[str, Any] = {
            "kind": "direct" if is_direct else "mention",
            "language": subscription.language,
            "room_id": room.id,
            "slug": room.slug,
            "room_name": None if is_direct else _cut(room.name, _MAX_NAME_CHARS),
            "author_name": _cut(author.display_name, _MAX_NAME_CHARS),
            "text": "" if room.encrypted else _text_of(message),
            "message_id": message.id,
            "url": f"/city/{quote(room.id if is_direct else room.slug, safe='')}/{quote(message.id, safe='')}",
        }
        return Push(subscription, orjson.dumps(payload), _topic(room))


def _by_citizen(subscriptions: Iterable[PushSubscription]) -> dict[CitizenId, list[PushSubscription]]:
    found: defaultdict[CitizenId, list[PushSubscription]] = defaultdict(list)
    for each in subscriptions:
        found[each.citizen].append(each)
    return found


def _text_of(message: Message) -> str:
    html = message.formatted_body
    is_short = html is not None and len(html) <= _MAX_PARSED_CHARS
    body = " ".join(message.body[:_MAX_PARSED_CHARS].split())
    return excerpt(body, html if is_short else None, _MAX_TEXT_CHARS)


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _topic(room: Room) -> str:
    digest = hashlib.sha256(room.id.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:_TOPIC_CHARS]
