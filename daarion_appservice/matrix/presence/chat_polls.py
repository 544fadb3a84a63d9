"""When to ask for the receipts of direct chats: decides only, without clock or I/O.

    age of the newest unread message    40 s   2 min   10 min   1 h     10 h     7 days
    time between two polls of a ghost    2 s     6 s     30 s   3 min   30 min   none

The pages show a message as read at most 2 s after it was read, or a twentieth of the time that it was unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ...city.citizen_pairs import agent_slug_of
from ...city.identity import Identities
from ...city.types import RoomId, UserId
from ...storage.chat_receipts import UnreadChat

LONGEST_MS: Final = 7 * 24 * 60 * 60 * 1000
"""The age of a message, in milliseconds, from which on nobody asks whether it was read."""
_SHORTEST_PAUSE_MS: Final = 2_000
_LONGEST_PAUSE_MS: Final = 30 * 60 * 1000
_PARTS_OF_AGE: Final = 20


class DuePoll(NamedTuple):
    """The next poll, and its time in milliseconds since 1970."""

    ghost: UserId
    at_ms: int


class ChatPolls:
    """The ghosts that have to ask, and when each asked last. All times are in milliseconds since 1970."""

    def __init__(self) -> None:
        self._newest_ms: dict[UserId, int] = {}
        """When the newest unread message in the chats of each ghost was sent."""
        self._pause_from_ms: dict[UserId, int] = {}
        """When each ghost asked last; for a refused one, later."""

    @property
    def ghosts(self) -> frozenset[UserId]:
        """The ghosts in whose chats linked persons have unread messages."""
        return frozenset(self._newest_ms)

    def set_unread(self, newest_ms: Mapping[UserId, int]) -> None:
        """Set the ghosts that have to ask, each with the time of the newest unread message in its chats."""
        self._newest_ms = dict(newest_ms)
        self._pause_from_ms = {ghost: at_ms for ghost, at_ms in self._pause_from_ms.items() if ghost in self._newest_ms}

    def next(self) -> DuePoll | None:
        """Return the poll that is due first; None if nothing is unread."""
        return min((DuePoll(ghost, self._due_ms(ghost)) for ghost in self._newest_ms), key=_time, default=None)

    def begin(self, ghost: UserId, now_ms: int, *, delay_ms: int = 0) -> None:
        """Note that a ghost asks now, and let the next poll be ``delay_ms`` later than otherwise."""
        self._pause_from_ms[ghost] = now_ms + delay_ms

    def _due_ms(self, ghost: UserId) -> int:
        before_ms = self._pause_from_ms.get(ghost)
        if before_ms is None:
            return 0
        pause_ms = (before_ms - self._newest_ms[ghost]) // _PARTS_OF_AGE
        return before_ms + min(max(pause_ms, _SHORTEST_PAUSE_MS), _LONGEST_PAUSE_MS)


def newest_by_ghost(
    chats: Iterable[UnreadChat], joined: Mapping[RoomId, Iterable[UserId]], identities: Identities
) -> dict[UserId, int]:
    """Return the ghosts that ask for the receipts of chats, each with the time of its newest unread message.

    Args:
        chats: the chats with unread messages.
        joined: the users who are joined to each chat. One without a ghost of an agent or citizen is left out.
        identities: tells ghosts from other users.
    """
    found: dict[UserId, int] = {}
    for chat in chats:
        ghost = (
            identities.agent(chat.agent) if chat.agent is not None else _ghost(joined.get(chat.room, ()), identities)
        )
        if ghost is not None:
            found[ghost] = max(chat.newest_ms, found.get(ghost, 0))
    return found


def _ghost(users: Iterable[UserId], identities: Identities) -> UserId | None:
    """Return an agent's ghost, because it asks for many chats at once; else that of a citizen; never the bot's user."""
    subjects = {user: identities.subject(user) for user in users if identities.is_ours(user)}
    ghosts = [(agent_slug_of(subject) is None, user) for user, subject in subjects.items() if subject is not None]
    return min(ghosts)[1] if ghosts else None


def _time(poll: DuePoll) -> int:
    return poll.at_ms
