"""What a room is said to be on Matrix. Each call runs inside the transaction that marks its event done."""

from __future__ import annotations

from ..city.events import CityEvent
from ..city.types import Room
from ..storage.database import Transaction
from .events import Event, content_of, optional_text, sender_of
from .namespace import Namespace


class RoomStateEvents:
    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    async def name(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        name = optional_text(content_of(event), "name")
        if name and event.get("state_key") == "" and not self._is_own(event):
            await tx.rooms.follow(room.id, name=name)
        return []

    async def topic(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        topic = optional_text(content_of(event), "topic")
        if topic is not None and event.get("state_key") == "" and not self._is_own(event):
            await tx.rooms.follow(room.id, description=topic)
        return []

    def _is_own(self, event: Event) -> bool:
        return self._namespace.is_ours(sender_of(event))
