"""The people whom a message mentions, by name or because it is written to them in a direct chat."""

from __future__ import annotations

from .citizen_pairs import is_chat_id
from .ports import CityTransaction
from .types import Author, Message, SubjectId, citizen_subject
from .unread import mentioned_people


async def mentioned_in(tx: CityTransaction, message: Message, replied_to: Author | None) -> frozenset[SubjectId]:
    """Return the people whom a message mentions; in a direct chat, each message mentions the other citizen.

    Args:
        tx: The transaction.
        message: The message.
        replied_to: The author of the message that it replies to.

    Returns:
        See ``unread.mentioned_people``.
    """
    mentioned = mentioned_people(message, replied_to)
    if not is_chat_id(message.room_id) or (chat := await tx.citizen_chats.of_room(message.room_id)) is None:
        return mentioned
    return mentioned | ({citizen_subject(citizen) for citizen in chat.citizens} - {message.author.subject})
