"""Backfill of invitations of agents that ``/sync`` returns and no transaction delivered."""

from __future__ import annotations

import hashlib

import orjson

from ...city.event_fields import Event, content_of, sender_of, text, type_of
from ...city.identity import Identities
from ...city.types import MatrixRoomId, UserId
from ...storage.database import Database
from ...storage.inbox import ReceivedEvent
from .room_history import SyncedHistory


class Invitations:
    """Compares the invitations of ``/sync`` with the city's rooms, direct chats and inbox."""

    def __init__(self, database: Database, identities: Identities) -> None:
        self._database = database
        self._identities = identities

    async def unknown(self, user: UserId, synced: SyncedHistory) -> list[ReceivedEvent]:
        """Return the invitations of an agent into rooms that the city does not have, as events for the inbox.

        Args:
            user: the user id of the agent's ghost.
            since: the result of the ghost's ``/sync``.
        """
        found: list[ReceivedEvent] = []
        for room, state in synced.invitations.items():
            event = next((each for each in state if _invites(each, user)), None)
            if event is None or self._identities.is_ours(sender_of(event)):
                continue
            async with self._database.read_only() as tx:
                chat = await tx.rooms.by_matrix_id(room)
                is_on_its_way = await tx.inbox.has_waiting(room)
            if not is_on_its_way and (chat is None or (chat.archived and chat.agent is not None)):
                found.append(_as_received(event, room, user, synced.token))
        return found


def _invites(event: Event, user: UserId) -> bool:
    return (
        type_of(event) == "m.room.member"
        and text(event, "state_key") == user
        and text(content_of(event), "membership") == "invite"
    )


def _as_received(event: Event, room: MatrixRoomId, user: UserId, token: str) -> ReceivedEvent:
    """Give the stripped event of an invitation, which has no event id, one that is the same for the same token."""
    digest = hashlib.sha256(f"{room} {user} {token}".encode()).hexdigest()
    event = event | {"room_id": room, "event_id": f"$invitation-{digest}"}
    return ReceivedEvent(event["event_id"], room, orjson.dumps(event).decode(), is_confirmed=True)
