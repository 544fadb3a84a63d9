"""Typing state of rooms: of Matrix users from the homeserver, of citizens and agents from their own requests."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final, Protocol

from ..city.events import LocalUserTyping, MessagePosted, TypingChanged
from ..city.types import AgentSlug, Author, AuthorKind, CitizenId, RoomId, SubjectId, agent_subject, citizen_subject

NOTICE_LIFETIME_S: Final = 10.0
"""Lifetime of a typing notice of a citizen or agent in seconds; the client repeats it within this time."""


class PublishTyping(Protocol):
    """Sends the subjects that are typing to the clients of a room."""

    def __call__(self, room: RoomId, typing: frozenset[SubjectId], /) -> None: ...


class RoomTypingState:
    """The subjects that are typing, by room."""

    def __init__(self) -> None:
        self._matrix_users: dict[RoomId, frozenset[SubjectId]] = {}
        self._local_users: defaultdict[RoomId, dict[SubjectId, asyncio.TimerHandle]] = defaultdict(dict)
        self._published: dict[RoomId, frozenset[SubjectId]] = {}
        self.publish: PublishTyping = _ignore

    def of(self, room: RoomId) -> frozenset[SubjectId]:
        """Return the subjects that are typing in a room."""
        return self._published.get(room, frozenset())

    def set_matrix_users(self, change: TypingChanged) -> None:
        """Replace the set of Matrix users that are typing in a room."""
        if change.typing:
            self._matrix_users[change.room_id] = change.typing
        else:
            self._matrix_users.pop(change.room_id, None)
        self._publish(change.room_id)

    def set_local_user(self, event: LocalUserTyping) -> None:
        """Begin or end the typing notice of a citizen or agent."""
        self._set(event.room_id, event.author, typing=event.typing)

    def end_for_author(self, event: MessagePosted) -> None:
        """End the typing notice of a message's author."""
        self._set(event.message.room_id, event.message.author, typing=False)

    def close(self) -> None:
        for room in self._local_users.values():
            for timer in room.values():
                timer.cancel()

    def _set(self, room: RoomId, author: Author, *, typing: bool) -> None:
        subject = _subject(author)
        if subject is None:
            return
        if timer := self._local_users[room].pop(subject, None):
            timer.cancel()
        if typing:
            loop = asyncio.get_running_loop()
            self._local_users[room][subject] = loop.call_later(NOTICE_LIFETIME_S, self._expire, room, subject)
        self._publish(room)

    def _expire(self, room: RoomId, subject: SubjectId) -> None:
        self._local_users[room].pop(subject, None)
        self._publish(room)

    def _publish(self, room: RoomId) -> None:
        if not self._local_users[room]:
            del self._local_users[room]
        typing = self._matrix_users.get(room, frozenset()) | self._local_users.get(room, {}).keys()
        if typing == self.of(room):
            return
        if typing:
            self._published[room] = typing
        else:
            del self._published[room]
        self.publish(room, typing)


def _ignore(_room: RoomId, _typing: frozenset[SubjectId], /) -> None:
    return


def _subject(author: Author) -> SubjectId | None:
    """Return the subject of a citizen or agent; None for Matrix users, whose typing comes from the homeserver."""
    match author.kind:
        case AuthorKind.AGENT:
            return agent_subject(AgentSlug(author.id))
        case AuthorKind.CITIZEN:
            return citizen_subject(CitizenId(author.id))
        case AuthorKind.MATRIX:
            return None
