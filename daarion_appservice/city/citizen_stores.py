"""Protocols of the stores of citizens: read marks, mentions, direct chats, restrictions, names; and of the search."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from .citizen_pairs import CitizenChat
from .linked_accounts import OwnProfile
from .restrictions import Restriction
from .types import CitizenId, Message, RoomId, SubjectId, UserId
from .unread import NotificationMode, ReadMark


class ReadMarkStore(Protocol):
    """Read marks of citizens."""

    async def advance(self, marks: Collection[ReadMark], *, are_rooms_locked: bool = False) -> None: ...
    async def forget(self, room: RoomId, citizens: Collection[CitizenId]) -> None: ...
    async def set_mode(self, citizen: CitizenId, room: RoomId, mode: NotificationMode) -> None: ...


class MentionStore(Protocol):
    """Mentions of citizens and Matrix users."""

    async def put(self, message: Message, subjects: Collection[SubjectId]) -> None: ...
    async def forget(self, room: RoomId, subjects: Collection[SubjectId]) -> None: ...


class RestrictionStore(Protocol):
    """Restrictions of ghosts, and of the linked Matrix accounts of citizens."""

    async def get(self, room: RoomId, user: UserId) -> Restriction | None: ...
    async def of_person(
        self, room: RoomId, ghost: UserId, citizen: CitizenId
    ) -> tuple[UserId | None, dict[UserId, Restriction]]: ...
    async def delete(self, room: RoomId, user: UserId) -> None: ...


class CitizenChatStore(Protocol):
    """Private rooms of two citizens, and whom citizens block."""

    async def add(self, chat: CitizenChat) -> None: ...
    async def of_room(self, room: RoomId) -> CitizenChat | None: ...
    async def is_known(self, citizen: CitizenId, ghost: UserId) -> bool: ...
    async def blocked_by(self, citizen: CitizenId) -> set[CitizenId]: ...


class CitizenStore(Protocol):
    """Display names of citizens, and the profiles that they choose."""

    async def names(self, ids: Collection[CitizenId]) -> dict[CitizenId, str]: ...
    async def profile(self, citizen: CitizenId) -> OwnProfile | None: ...
    async def put_profile(self, profile: OwnProfile, token_name: str, *, now_ms: int) -> None: ...


class SearchStore(Protocol):
    """The search index of messages."""

    async def add(self, found: Collection[Message]) -> None: ...
    async def change(self, message: Message) -> None: ...
