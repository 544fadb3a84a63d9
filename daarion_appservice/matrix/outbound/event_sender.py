"""The event sender: makes the requests of one outgoing event as the author's ghost, which it registers and joins first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.types import AgentSlug, Author, AuthorKind, EventId, OutboxKind, Room, UserId
from ..client.homeserver import Homeserver
from ..ghosts.ghosts import Ghosts, Profile
from .rendering import OutgoingEvent


@dataclass(slots=True)
class EventSender:
    """Sends and redacts events, and joins and leaves rooms; calls ``on_new_ghost`` for each ghost that it registers.

    Every method raises HomeserverUnavailable or HomeserverRefused.
    """

    homeserver: Homeserver
    ghosts: Ghosts
    agents: AgentDirectory
    identities: Identities
    on_new_ghost: Callable[[UserId], None]

    def user_of(self, event: OutgoingEvent) -> UserId:
        """Return the user that sends an event."""
        return self.identities.bot if event.sender is None else self.identities.author(event.sender)

    async def send(self, event: OutgoingEvent, room: Room, txn_id: str, *, is_repaired: bool) -> EventId | None:
        """Send an event to a linked room.

        Args:
            txn_id: the transaction id; a repeated request with the same id sends no second event.
            is_repaired: whether an earlier attempt was refused and the sender was registered or joined again.

        Returns:
            The event id; None for a join or leave, which has none.
        """
        assert room.matrix_room_id is not None
        user = self.user_of(event)
        if event.membership is OutboxKind.LEAVE:
            await self.homeserver.leave(room.matrix_room_id, as_user=user)
            return None
        if event.redacts is not None:
            return await self._redact(event, event.redacts, room, txn_id, is_repaired=is_repaired)
        if event.sender is not None:
            # The city counts a citizen as joined before Synapse does; after a refusal the join is sent again.
            must_join = event.membership is OutboxKind.JOIN or is_repaired
            await self._ensure_member(user, event.sender, room, must_join=must_join)
        if event.membership is OutboxKind.JOIN:
            return None
        return await self.homeserver.send(
            room.matrix_room_id,
            event.event_type,
            txn_id,
            event.content,
            as_user=user,
            with_device=self.ghosts.has_device(user),
            ts_ms=event.ts_ms,
        )

    async def _redact(
        self, event: OutgoingEvent, redacts: EventId, room: Room, txn_id: str, *, is_repaired: bool
    ) -> EventId:
        assert room.matrix_room_id is not None
        user = self.user_of(event)
        # A ghost that left, or was kicked or banned, does not join for a redaction: the service user redacts instead.
        is_member = room.agent is not None or self.ghosts.is_in(user, room)
        service_user = self.identities.service_user(room)
        if not is_member or is_repaired:
            user = service_user
        redact = partial(
            self.homeserver.redact, room.matrix_room_id, as_user=user, with_device=self.ghosts.has_device(user)
        )
        if event.edits_by is not None:
            # Edits are separate events. Redact them first: no query finds the edits of a redacted event.
            edits = await self.homeserver.edits(room.matrix_room_id, redacts, by=event.edits_by, as_user=service_user)
            for edit in edits:
                await redact(edit, f"{txn_id}{edit}")
        return await redact(redacts, txn_id)

    async def _ensure_member(self, user: UserId, sender: Author, room: Room, *, must_join: bool) -> None:
        """Register the author's ghost and join it to the room; the bot invites agents to rooms that they belong to.

        Args:
            must_join: send the join even if the city counts the ghost as a member.
        """
        was_known = self.ghosts.is_known(user)
        await self.ghosts.ensure(user, self._profile(sender))
        await self.ghosts.ensure_device(user)
        if room.agent is None:  # An agent joins a direct chat on invitation only.
            await self.ghosts.ensure_joined(user, room, invite=self.agents.lives_in(sender, room), force=must_join)
        if not was_known:
            self.on_new_ghost(user)

    def _profile(self, author: Author) -> Profile:
        """Return the profile of an author; an agent's display name is the current one of the registry.

        The reconciler sets the avatars of agents.
        """
        agent = self.agents.get(AgentSlug(author.id)) if author.kind is AuthorKind.AGENT else None
        return Profile(agent.display_name if agent else author.display_name)
