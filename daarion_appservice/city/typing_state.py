"""The Matrix users who are typing, by room. Changes are published as the room's whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .events import TypingChanged
from .types import RoomId, SubjectId

_NOBODY: Final[frozenset[SubjectId]] = frozenset()


class TypingState:
    """Typing users of all rooms where users type. Methods return the events to publish."""

    def __init__(self) -> None:
        self._typing: dict[RoomId, frozenset[SubjectId]] = {}

    def set_typing(self, room: RoomId, typing: frozenset[SubjectId]) -> list[TypingChanged]:
        """Replace the users who are typing in ``room``."""
        if typing == self._typing.get(room, _NOBODY):
            return []
        if typing:
            self._typing[room] = typing
        else:
            del self._typing[room]
        return [TypingChanged(room, typing)]

    def remove(self, room: RoomId, subject: SubjectId) -> list[TypingChanged]:
        """Remove a user who left a room from its typing users."""
        return self.set_typing(room, self._typing.get(room, _NOBODY) - {subject})

    def set_all(self, typing: Mapping[RoomId, frozenset[SubjectId]]) -> list[TypingChanged]:
        """Replace the typing users of all rooms; rooms that ``typing`` does not name have none."""
        return [
            change
            for room in [*(self._typing.keys() - typing.keys()), *typing]
            for change in self.set_typing(room, typing.get(room, _NOBODY))
        ]
