"""Declines invitations of citizens' ghosts, service users and unknown agents, which join no room of a Matrix user.

The inviter sees at once that the invitation is declined, and the reason. The transaction that handles an invitation
stores it in ``invitations``. After each start ``/sync`` of each ghost returns its open invitations, so that those from
before the city ran, or whose transaction was lost, are declined, too.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ...city.event_fields import Event, has_sender_and_id, text, type_of
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.types import MatrixRoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...realtime.worker import Worker
from ...storage.database import Database
from ...storage.invitations import Invitation
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_unregistered
from ..ghosts.ghosts import Ghosts
from ..inbound.direct_chats import NO_SUCH_AGENT, DirectChatHandlers

_BATCH: Final = 50
_POLL_S: Final = 10.0
_RETRY_MS: Final = 60_000
_DATABASE_RETRY_S: Final = 1.0
_UNAVAILABLE_PAUSE_S: Final = 1.0
_NOT_INVITED: Final = frozenset({403, 404})
"""Statuses for an invitation that was withdrawn, or a room that does not exist."""
_TAKEN: Final = 409
"""The status of a registration whose user id is taken by an account outside the application service."""

log = structlog.get_logger()


class InvitationDecliner:
    """Declines the stored invitations for as long as this process is the leader."""

    def __init__(
        self,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        database: Database,
        ghosts: Ghosts,
        chats: DirectChatHandlers,
        identities: Identities,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._database = database
        self._ghosts = ghosts
        self._chats = chats
        self._identities = identities
        self._publish = publish
        self._now_ms = now_ms
        self._worker = Worker("invitations", idle_s=_POLL_S, monitor=monitor)

    def wake(self) -> None:
        """Decline stored invitations now."""
        self._worker.wake()

    async def run(self) -> None:
        """Decline invitations until cancelled. Can be called again."""
        await self._monitor.wait_up()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._find_open())
            await self._worker.run(self._decline_due)

    async def _decline_due(self) -> None:
        while True:
            async with self._database.read_only() as tx:
                due = await tx.invitations.due(now_ms=self._now_ms(), limit=_BATCH)
            for invitation in due:
                await self._decline(invitation)
            if len(due) < _BATCH:
                return

    async def _decline(self, invitation: Invitation) -> None:
        """Decline one invitation, or store its next attempt. Raises HomeserverUnavailable and database errors."""
        if await self._is_of_city(invitation):
            await self._delete(invitation)
            return
        try:
            # Synapse accepts invitations of users that are not registered, but no request as such a user.
            await self._ghosts.ensure_registered(invitation.user_id)
            await self._homeserver.leave(
                invitation.matrix_room_id, as_user=invitation.user_id, reason=invitation.reason
            )
        except HomeserverUnavailable:
            raise
        except HomeserverRefused as error:
            if is_unregistered(error) or error.status not in {*_NOT_INVITED, _TAKEN}:
                await self._postpone(invitation, error)
                return
        except Exception as error:
            # An unexpected error must not stop the other invitations.
            log.exception("invitation_failed", user=invitation.user_id)
            await self._postpone(invitation, error)
            return
        log.info("invitation_declined", user=invitation.user_id, by=invitation.inviter)
        await self._delete(invitation)

    async def _is_of_city(self, invitation: Invitation) -> bool:
        """Return whether the room has become the city's since, where only unknown agents' invitations are declined."""
        async with self._database.read_only() as tx:
            room = await tx.rooms.by_matrix_id(invitation.matrix_room_id)
        return room is not None and room.agent is None and invitation.reason != NO_SUCH_AGENT

    async def _delete(self, invitation: Invitation) -> None:
        async with self._database.transaction() as tx:
            await tx.invitations.delete(invitation.user_id, invitation.matrix_room_id)

    async def _postpone(self, invitation: Invitation, error: Exception) -> None:
        if isinstance(error, HomeserverRefused) and is_unregistered(error):
            await self._ghosts.forget(invitation.user_id)
        log.warning("invitation_not_declined", user=invitation.user_id, error=str(error), help="trying again")
        async with self._database.transaction() as tx:
            await tx.invitations.postpone(invitation, due_at_ms=self._now_ms() + _RETRY_MS)

    async def _find_open(self) -> None:
        """Handle the open invitations of all ghosts as if their events had just arrived."""
        # Not the bot's: Synapse has no /sync for the sender of an application service, and sends its invitations by
        # transactions.
        for user in [user for user in self._ghosts.known() if user != self._identities.bot]:
            while not await self._has_found_open(user):
                pass

    async def _has_found_open(self, user: UserId) -> bool:
        """Handle the open invitations of one ghost; return False, after a pause, if homeserver or database are down."""
        await self._monitor.wait_up()
        try:
            with isolated("invitations", user):
                invited = await self._homeserver.invitations(as_user=user)
                for matrix_room, state in invited.items():
                    with isolated("invitations", user):
                        await self._store(user, matrix_room, state)
        except HomeserverUnavailable as error:
            self._monitor.report_unavailable(error)
            await asyncio.sleep(_UNAVAILABLE_PAUSE_S)
            return False
        except DatabaseError as error:
            log.info("invitations_not_seen", user=user, error=str(error))
            await asyncio.sleep(_DATABASE_RETRY_S)
            return False
        except HomeserverRefused as error:
            log.info("invitations_not_seen", user=user, error=str(error))
        return True

    async def _store(self, user: UserId, matrix_room: MatrixRoomId, state: list[Event]) -> None:
        invitation = next(
            (each for each in state if type_of(each) == "m.room.member" and text(each, "state_key") == user), None
        )
        if invitation is None:
            return
        unsigned = {"invite_room_state": state}
        event = invitation | {"room_id": matrix_room, "event_id": "$open", "unsigned": unsigned}
        if not has_sender_and_id(event):
            return
        async with self._database.transaction() as tx:
            room = await tx.rooms.by_matrix_id(matrix_room) or await tx.rooms.by_former_id(matrix_room)
            is_of_city = room is not None and room.agent is None
            city_events = await self._chats.decline_invitation(tx, event, agents_only=is_of_city)
        publish_all(self._publish, city_events)
