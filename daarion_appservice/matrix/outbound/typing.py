"""The typing sender: sends typing of citizens and agents to the homeserver, as their ghosts, with best effort."""

from __future__ import annotations

from typing import Final

from ...city.citizen_pairs import is_chat_id
from ...city.events import LocalUserTyping, MessagePosted
from ...city.types import AuthorKind, RoomId, UserId, is_agent
from .best_effort import BestEffortSender, GhostTimeline

_TIMEOUT_MS: Final = 12_000
"""The timeout of a typing notification: slightly longer than the city waits for the author's next typing event."""


class TypingSender(BestEffortSender[bool]):
    """Sends whether a ghost types in a room."""

    max_pending = 500
    failure_event = "typing_not_sent"

    def _reset(self) -> None:
        self._typing: set[GhostTimeline] = set()
        """The ghosts that type according to the last request, with their room."""

    def on_local_typing(self, event: LocalUserTyping) -> None:
        """Queue the typing change of a citizen or agent."""
        self._change(event.room_id, self._identities.author(event.author), typing=event.typing)

    def on_message_posted(self, posted: MessagePosted) -> None:
        """End the typing of the author of a new message."""
        author = posted.message.author
        if author.kind is not AuthorKind.MATRIX:
            self._change(posted.message.room_id, self._identities.author(author), typing=False)

    def _change(self, room: RoomId, user: UserId, *, typing: bool) -> None:
        key = GhostTimeline(room, user)
        if self._accepts(key) and self._may_type(room, user) and (typing or self._types(key)):
            self._put(key, typing)

    def _types(self, key: GhostTimeline) -> bool:
        return key in self._typing or key in self._pending

    def _may_type(self, room: RoomId, user: UserId) -> bool:
        """Return whether a ghost may be in a room.

        Every agent passes, and every citizen in a direct chat: the memberships of chats are not in memory, agents type in
        their own rooms only, and `_send` checks those of citizens.
        """
        subject = self._identities.subject(user)
        if subject is None:
            return False
        return is_agent(subject) or is_chat_id(room) or self._online_members.is_member(room, subject)

    async def _send(self, key: GhostTimeline, value: bool) -> None:
        async with self._database.read_only() as tx:
            room = await tx.rooms.get(key.room)
            if room is None or room.matrix_room_id is None:
                return
            is_citizen = self._identities.agent_slug(key.ghost) is None
            if is_citizen and is_chat_id(room.id) and not await tx.membership_periods.is_joined(room.id, key.ghost):
                return  # The citizen's ghost joins a chat that was opened on Matrix with the first message.
        await self._homeserver.set_typing(room.matrix_room_id, key.ghost, typing=value, timeout_ms=_TIMEOUT_MS)
        (self._typing.add if value else self._typing.discard)(key)
        if value:
            self._on_activity(key.ghost)
