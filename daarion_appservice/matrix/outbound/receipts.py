"""The receipt sender: sends read receipts of citizens and agents, as their ghosts, with best effort.

For each ghost and timeline, the main one or a thread, it sends only receipts that are newer than the last one there
(client-server API, "Threaded read receipts").
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ...city.events import LocalUserRead
from ...city.types import MessageId
from ..client.event_requests import MAIN_TIMELINE
from .best_effort import BestEffortSender, GhostTimeline

_MAX_SENT: Final = 10_000
"""The number of timelines whose last receipt is stored. For an evicted one an older receipt may be sent
again, which a homeserver ignores."""


class ReceiptSender(BestEffortSender[tuple[int, MessageId]]):
    """Sends the last read message of a ghost in a room, with its sequence number in the room's history."""

    max_pending = 1_000
    failure_event = "receipt_not_sent"

    def _reset(self) -> None:
        self._sent: OrderedDict[GhostTimeline, int] = OrderedDict()
        """The sequence number of the last sent receipt, latest last."""

    def on_local_read(self, event: LocalUserRead) -> None:
        """Queue the receipt of a citizen or agent, unless it is outdated or cannot be sent now."""
        key = GhostTimeline(event.room_id, self._identities.author(event.author), event.thread_root)
        if (
            self._accepts(key)
            and event.seq > self._last_seq(key)
            and self._online_members.is_member(event.room_id, event.author.subject)
        ):
            self._put(key, (event.seq, event.message_id))

    def _last_seq(self, key: GhostTimeline) -> float:
        if key in self._pending:
            return self._pending[key][0]
        return self._sent.get(key, float("-inf"))

    async def _send(self, key: GhostTimeline, value: tuple[int, MessageId]) -> None:
        seq, message_id = value
        async with self._database.read_only() as tx:
            room, message = await tx.rooms.find(key.room), await tx.messages.get(message_id)
            root = await tx.messages.get(key.thread) if key.thread is not None else None
        if room is None or room.matrix_room_id is None or message is None or message.matrix_event_id is None:
            return
        # Synapse refuses a receipt whose event does not belong to the named thread.
        root_event = (root.matrix_event_id if root is not None else None) or message.thread_root_event
        thread = root_event or MAIN_TIMELINE
        await self._homeserver.send_receipt(
            room.matrix_room_id, message.matrix_event_id, thread=thread, as_user=key.ghost
        )
        self._remember(key, seq)
        self._on_activity(key.ghost)

    def _remember(self, key: GhostTimeline, seq: int) -> None:
        self._sent[key] = seq
        self._sent.move_to_end(key)
        if len(self._sent) > _MAX_SENT:
            self._sent.popitem(last=False)
