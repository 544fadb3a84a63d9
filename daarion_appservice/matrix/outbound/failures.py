"""Examination of a failed delivery: whether it concerns the service, the room or the entry, and what repairs it."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from ...city.event_fields import text
from ...city.identity import Identities
from ...city.types import AuthorKind, OutboxKind, Room, UserId
from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ..client.homeserver import Homeserver
from ..client.refusals import UNKNOWN_DEVICE, is_unregistered
from ..ghosts.ghosts import REMOVED_BY_MODERATOR, Ghosts
from . import retry_delays
from .rendering import OutgoingEvent

log = structlog.get_logger()


@dataclass(slots=True)
class FailureExamination:
    """Examines failed requests; every method raises HomeserverUnavailable if its own request gets no response."""

    homeserver: Homeserver
    ghosts: Ghosts
    identities: Identities

    async def general_delay_ms(self, room: Room, error: HomeserverRefused) -> int:
        """Return the delay (ms) for a refusal that concerns the service or the whole room; 0 for one of the entry."""
        if error.status == 401:
            log.error("token_refused", error=str(error), help="see `daarion-appservice registration check`")
            return retry_delays.REFUSED_MS
        if isinstance(error, HomeserverRateLimited):
            return max(retry_delays.MIN_RATE_LIMITED_MS, error.retry_after_ms)
        return retry_delays.BROKEN_LINK_MS if error.status == 403 and await self._is_link_broken(room) else 0

    async def room_delay_ms(self, room: Room) -> int:
        """Return the delay (ms) for a failure of the homeserver if another request for the room fails too; 0 otherwise.

        An entry that fails while another request succeeds may be the cause itself, so its attempts are limited.
        """
        assert room.matrix_room_id is not None
        try:
            await self.homeserver.joined_members(room.matrix_room_id, as_user=self.identities.service_user(room))
        except HomeserverUnavailable:
            return retry_delays.UNAVAILABLE_MS
        except HomeserverRefused:
            return retry_delays.REFUSED_MS
        return 0

    async def repair(self, event: OutgoingEvent, room: Room, error: HomeserverRefused) -> bool:
        """Remove the cause of a refusal, and return whether another attempt may succeed."""
        user = event.user(self.identities)
        if error.errcode == UNKNOWN_DEVICE:
            # An admin deleted the device, or deactivated the user, which removes its profile and memberships as well.
            for each in {user, self.identities.service_user(room)}:
                await self.ghosts.forget(each)
            return True
        if event.sender is None or error.errcode == REMOVED_BY_MODERATOR:
            return False
        if is_unregistered(error):
            await self.ghosts.forget(user)
        elif room.agent is not None:
            return event.sender.kind is AuthorKind.CITIZEN  # An agent joins a direct chat on invitation only.
        elif event.redacts is not None:
            return True
        elif event.membership is OutboxKind.JOIN or await self.ghosts.is_removed(user, room):
            return False
        return await self._correct_membership(user, room)

    async def _correct_membership(self, user: UserId, room: Room) -> bool:
        """Join a ghost that has not joined an upgraded room yet, or record that a ghost is no member.

        Returns:
            False if the room refuses the ghost, because the bot may not invite it: it stays a member of the city room, and
            `MatrixMembers` tries again.
        """
        assert room.matrix_room_id is not None
        if self.ghosts.is_known(user) and self.ghosts.is_in(user, room) and await self._is_newcomer(user, room):
            try:
                await self.ghosts.join(user, room.matrix_room_id)
            except HomeserverRefused:
                return False
            return True
        await self.ghosts.not_joined(user, room)
        return True

    async def _is_newcomer(self, user: UserId, room: Room) -> bool:
        assert room.matrix_room_id is not None
        try:
            return await self.ghosts.is_newcomer(user, room.matrix_room_id)
        except HomeserverRefused:
            return False

    async def _is_link_broken(self, room: Room) -> bool:
        """Return whether the bot is not in the room, or the room was replaced; the reconciler corrects both."""
        assert room.matrix_room_id is not None
        if room.agent is not None:
            return False
        bot = self.identities.bot
        try:
            await self.homeserver.joined_members(room.matrix_room_id, as_user=bot)
            tombstone = await self.homeserver.state(room.matrix_room_id, "m.room.tombstone", as_user=bot) or {}
        except HomeserverRefused as error:
            return error.status == 403
        return bool(text(tombstone, "replacement_room"))
