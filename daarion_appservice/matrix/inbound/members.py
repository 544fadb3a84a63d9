"""Handles ``m.room.member`` events: joins, leaves, kicks, bans, invitations and profile changes.

The handlers run inside the transaction that marks their event as done. A moderator's kick, ban or invitation of a ghost
is stored as a restriction, which the city enforces. The homeserver enforces those of Matrix users; bans and kicks are
stored for the citizens whom the users are linked with, or will be.
"""

from __future__ import annotations

from ...city.event_fields import Event, content_of, name_text, optional_text, sender_of, text, time_ms
from ...city.events import CityEvent, RegistryChanged
from ...city.identity import Identities, is_user_id
from ...city.media import is_mxc
from ...city.member_log import MemberLog
from ...city.ports import NowMs
from ...city.restrictions import Restriction, RestrictionKind
from ...city.room_events import Removal
from ...city.types import AuthorKind, Member, Room, RoomId, UserId
from ...storage.database import Transaction
from ..client.membership_events import moderation_reason, restriction_after
from .message_removals import begin_message_removal


class MemberEvents:
    """The handlers of ``m.room.member`` in city rooms."""

    def __init__(self, identities: Identities, members: MemberLog, now_ms: NowMs) -> None:
        self._identities = identities
        self._members = members
        self._now_ms = now_ms

    async def member(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.member``; return the city events to publish after the commit."""
        return await self._member(tx, room, event)

    async def member_restored(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle an ``m.room.member`` event that was handled before and is now the current state of the member."""
        return await self._member(tx, room, event, was_handled=True)

    async def _member(self, tx: Transaction, room: Room, event: Event, *, was_handled: bool = False) -> list[CityEvent]:
        user, content = UserId(text(event, "state_key")), content_of(event)
        if not is_user_id(user) or self._identities.subject(user) is None:
            return []
        if content.get("membership") != "leave" and self._identities.erased.covers(user, time_ms(event)):
            return []
        await tx.rooms.lock(room.id)
        unban_events = await self._update_restriction(tx, room, user, event, was_handled=was_handled)
        if content.get("membership") == "join":
            return [*await self._members.join(tx, room.id, [read_member(room.id, user, content)]), *unban_events]
        membership = content.get("membership")
        is_removed = membership == "ban" or (sender_of(event) != user and membership != "invite" and not was_handled)
        if is_removed:
            removal = await self._removal(tx, room.id, event)
            removed = [*await self._members.record_removal(tx, room.id, user, removal), *unban_events]
            return [*removed, *await begin_message_removal(tx, room, user, event, now_ms=self._now_ms())]
        if content.get("membership") == "invite":
            return await self._members.record_invitation(tx, room.id, user)
        return await self._members.leave(tx, room.id, [user])

    async def _removal(self, tx: Transaction, room: RoomId, event: Event) -> Removal:
        is_ban = content_of(event).get("membership") == "ban"
        by = await self._members.author(tx, room, UserId(sender_of(event)))
        return Removal(RestrictionKind.BANNED if is_ban else RestrictionKind.KICKED, by, moderation_reason(event))

    async def _update_restriction(
        self, tx: Transaction, room: Room, user: UserId, event: Event, *, was_handled: bool
    ) -> list[CityEvent]:
        """Store or remove the restriction of a user; return the city events to publish when a ban is lifted."""
        before = await tx.restrictions.get(room.id, user)
        if was_handled and before is None and content_of(event).get("membership") == "leave":
            # The first handling of this event decided whether it was a kick or lifted a ban.
            return []
        after = restriction_after(event, user, before)
        if after is not None and self._identities.is_person(user) and not await self._is_removal(tx, room, user, after):
            after = None
        if after is not None:
            await tx.restrictions.put(room.id, user, after, now_ms=self._now_ms())
            return []
        if before is None:
            return []
        await tx.restrictions.delete(room.id, user)
        who = self._identities.describe(user)
        is_agent = isinstance(who, tuple) and who[0] is AuthorKind.AGENT
        # An agent that is no longer banned joins again: the registry lists its rooms.
        return [RegistryChanged()] if is_agent and before.kind is RestrictionKind.BANNED else []

    async def _is_removal(self, tx: Transaction, room: Room, user: UserId, restriction: Restriction) -> bool:
        """Return whether a Matrix user is banned or, as a member, kicked: a withdrawn invitation ends like a kick."""
        if restriction.kind is RestrictionKind.KICKED:
            return await tx.members.get(room.id, user) is not None
        return restriction.kind is RestrictionKind.BANNED


def read_member(room: RoomId, user: UserId, content: Event, *, name: str = "displayname") -> Member:
    """Return a member with the profile in ``content``; ``name`` is the key of the display name."""
    avatar_url = optional_text(content, "avatar_url")
    is_picture = avatar_url is not None and is_mxc(avatar_url)
    return Member(room, user, name_text(content, name), avatar_url if is_picture else None)
