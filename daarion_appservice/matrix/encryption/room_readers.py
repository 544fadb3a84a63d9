"""Who may read the next message of an encrypted room, and the rotation rules of its sessions, cached until a change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...city.types import HistoryVisibility, MatrixRoomId, Room, UserId
from ...encryption.outbound_sessions import RotationPolicy
from ..client.homeserver import Homeserver

_MAX_ROOMS: Final = 1_000
"""Rooms in memory; the one that was read first is forgotten first."""


@dataclass(frozen=True, slots=True)
class RoomReaders:
    """The people who may read the next message of a room, and the rules for its sessions."""

    users: frozenset[UserId]
    policy: RotationPolicy


class RoomReadersCache:
    """Reads members and encryption rules from the homeserver, once until `forget`.

    Args:
        is_ours: whether a user is one of the service's: other ghosts read by the same database and need no keys.
    """

    def __init__(self, homeserver: Homeserver, is_ours: Callable[[UserId], bool]) -> None:
        self._homeserver = homeserver
        self._is_ours = is_ours
        self._readers: dict[MatrixRoomId, RoomReaders] = {}
        self._readings: defaultdict[MatrixRoomId, list[_Reading]] = defaultdict(list)
        """The requests that have not ended, by room."""

    def forget(self, room: MatrixRoomId) -> None:
        """Read a room again before its next message: an event changed its members, encryption or visibility."""
        self._readers.pop(room, None)
        for readable in self._readings.get(room, ()):
            readable.is_outdated = True

    def forget_all(self) -> None:
        """Read all rooms again, at the start of a run or after events may have been missed."""
        for room in {*self._readers, *self._readings}:
            self.forget(room)

    async def readers(self, room: Room, *, as_ghost: UserId) -> RoomReaders:
        """Return who may read the next message of a room.

        Invited users are among them, unless the history visibility is ``joined``: they read it after they join.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the homeserver does not return members or state.
        """
        assert room.matrix_room_id is not None
        known = self._readers.get(room.matrix_room_id)
        return known or await self._read(room.matrix_room_id, room.history_visibility, as_ghost)

    async def _read(self, room: MatrixRoomId, visibility: HistoryVisibility, as_ghost: UserId) -> RoomReaders:
        readable = _Reading()
        self._readings[room].append(readable)
        try:
            members = await self._homeserver.readers(room, as_user=as_ghost)
            encryption = await self._homeserver.state(room, "m.room.encryption", as_user=as_ghost)
        finally:
            self._readings[room].remove(readable)
            if not self._readings[room]:
                del self._readings[room]
        memberships = {"join"} if visibility is HistoryVisibility.JOINED else {"join", "invite"}
        users = {user for user, membership in members.items() if membership in memberships and not self._is_ours(user)}
        readers = RoomReaders(frozenset(users), RotationPolicy.from_event(encryption or {}))
        if not readable.is_outdated:
            self._readers[room] = readers
            while len(self._readers) > _MAX_ROOMS:
                del self._readers[next(iter(self._readers))]
        return readers


@dataclass(slots=True, eq=False)
class _Reading:
    """The requests for the readers of one room."""

    is_outdated: bool = False
    """Whether the room changed meanwhile."""
