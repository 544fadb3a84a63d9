"""The people whom a message mentions, by name or because it is written to them in a direct chat."""

from __future__ import annotations

from collections.abc import Collection

from .citizen_pairs import is_chat_id
from .ports import CityTransaction
from .types import Author, CitizenId, Message, RoomId, SubjectId, citizen_subject
from .unread import mentioned_people


async def mentioned_in(tx: CityTransaction, message: Message, replied_to: Author | None) -> frozenset[SubjectId]:
    """Return the people whom a message mentions; in a direct chat, each message mentions those who read it in the pages.

    Args:
        tx: The transaction.
        replied_to: The author of the message that it replies to.

    Returns:
        See ``unread.mentioned_people``.
    """
    mentioned = mentioned_people(message, replied_to)
    if not is_chat_id(message.room_id):
        return mentioned
    return mentioned | (
        {citizen_subject(each) for each in await chat_readers(tx, message.room_id)} - {message.author.subject}
    )


async def chat_readers(tx: CityTransaction, room: RoomId) -> Collection[CitizenId]:
    """Return the citizens of a direct chat: its two, or those who are linked with its person on Matrix."""
    chat = await tx.citizen_chats.of_room(room)
    return await tx.direct_chats.linked_citizens(room) if chat is None else chat.citizens
