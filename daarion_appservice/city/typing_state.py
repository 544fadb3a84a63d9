"""Who is typing where, among people on Matrix: what a room is told is the whole set, and only when it is another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .events import TypingChanged
from .types import RoomId, SubjectId

_NOBODY: Final[frozenset[SubjectId]] = frozenset()


class TypingState:
    """Holds nothing of rooms where nobody types. What it returns is to be published."""

    def __init__(self) -> None:
        self._typing: dict[RoomId, frozenset[SubjectId]] = {}

    def are(self, room: RoomId, typing: frozenset[SubjectId]) -> list[TypingChanged]:
        """Exactly these are typing in ``room`` now."""
        if typing == self._typing.get(room, _NOBODY):
            return []
        if typing:
            self._typing[room] = typing
        else:
            del self._typing[room]
        return [TypingChanged(room, typing)]

    def left(self, room: RoomId, subject: SubjectId) -> list[TypingChanged]:
        """Whoever is not in a room does not type there."""
        return self.are(room, self._typing.get(room, _NOBODY) - {subject})

    def are_all(self, typing: Mapping[RoomId, frozenset[SubjectId]]) -> list[TypingChanged]:
        """The whole state: nobody types in a room that is not mentioned."""
        return [
            change
            for room in [*(self._typing.keys() - typing.keys()), *typing]
            for change in self.are(room, typing.get(room, _NOBODY))
        ]
