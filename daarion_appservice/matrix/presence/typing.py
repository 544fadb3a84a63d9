"""Typing of Matrix users: converts ``m.typing`` events of the observer's ``/sync`` to typing changes of city rooms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ...city.events import MembershipChanged, TypingChanged
from ...city.identity import Identities, is_user_id
from ...city.ports import Publish
from ...city.types import MatrixRoomId, RoomId, SubjectId, UserId, user_subject
from ...city.typing_state import TypingState
from .sync_response import ephemeral_events, joined_rooms

_MAX_TYPING: Final = 50
"""The maximum number of typing users of one room; more cannot be displayed."""


class RemoteTyping:
    """The typing state of Matrix users in the rooms of the city."""

    def __init__(self, identities: Identities, publish: Publish) -> None:
        self._identities = identities
        self._publish = publish
        self._typing = TypingState()

    def apply_sync(self, response: Mapping[str, Any], rooms: Mapping[MatrixRoomId, RoomId]) -> None:
        """Apply the changes of an incremental sync.

        Args:
            response: the response to ``/sync``.
            rooms: the city room of each observed Matrix room; other rooms are ignored.
        """
        for room, typing in self._parse(response, rooms):
            self._publish_all(self._typing.set_typing(room, typing))

    def apply_initial_sync(self, response: Mapping[str, Any], rooms: Mapping[MatrixRoomId, RoomId]) -> None:
        """Apply the state of an initial sync: rooms that the response does not contain have no typing users."""
        self._publish_all(self._typing.set_all(dict(self._parse(response, rooms))))

    def end_room(self, room: RoomId) -> None:
        """End all typing in a room that is not observed any more."""
        self._publish_all(self._typing.set_typing(room, frozenset()))

    def clear(self) -> None:
        """End all typing in all rooms."""
        self._publish_all(self._typing.set_all({}))

    def on_membership_changed(self, change: MembershipChanged) -> None:
        """End the typing of a user who left, because another homeserver may send no event for it."""
        if not change.joined:
            self._publish_all(self._typing.remove(change.room_id, change.subject))

    def _parse(
        self, response: Mapping[str, Any], rooms: Mapping[MatrixRoomId, RoomId]
    ) -> Iterator[tuple[RoomId, frozenset[SubjectId]]]:
        for matrix_room, update in joined_rooms(response):
            room = rooms.get(MatrixRoomId(matrix_room))
            if room is None:
                continue
            for event in ephemeral_events(update):
                match event:
                    case {"type": "m.typing", "content": {"user_ids": list(users)}}:
                        yield room, frozenset(self._subjects(users))

    def _subjects(self, users: list[Any]) -> Iterator[SubjectId]:
        for user in users[:_MAX_TYPING]:
            if isinstance(user, str) and self._identities.is_person(UserId(user)) and is_user_id(user):
                yield user_subject(UserId(user))

    def _publish_all(self, changes: Iterable[TypingChanged]) -> None:
        for change in changes:
            self._publish(change)
