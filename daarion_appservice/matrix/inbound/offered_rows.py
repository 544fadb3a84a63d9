"""Rows of the inbox that this process has just stored, and that are handled before the inbox is read.

receiver ─stored rows─► OfferedRows ─► InboundWorker ─► marked as done only if nothing waits before them
                                              └─────► reads the inbox all the same, after they are published
"""

from __future__ import annotations

from typing import Final

from ...storage.inbox import InboxRow
from ...storage.inbox_writer import ReceivedTransaction, StoredTransaction

_MOST: Final = 20
"""More rows are read from the inbox, in batches of a limited size."""


class OfferedRows:
    """The rows since the last read of the inbox. None are kept unless a worker runs, and none if there are many."""

    def __init__(self) -> None:
        self._rows: list[InboxRow] = []
        self._is_open = False

    def add(self, rows: list[InboxRow]) -> None:
        """Offer rows that were stored, in their order."""
        if self._is_open and len(self._rows) + len(rows) <= _MOST:
            self._rows += rows

    def take(self) -> list[InboxRow]:
        """Return the rows, each once."""
        rows, self._rows = self._rows, []
        return rows

    def forget(self, *, up_to: int) -> None:
        """Forget the rows up to an id, which were read."""
        self._rows = [row for row in self._rows if row.id > up_to]

    def open(self) -> None:
        """Keep rows from now on: a worker runs."""
        self._rows, self._is_open = [], True

    def close(self) -> None:
        """Keep no rows."""
        self._rows, self._is_open = [], False


def waiting_rows(received: ReceivedTransaction, stored: StoredTransaction) -> list[InboxRow]:
    """Return the rows of a transaction's new events, in their order; none if they are many or one is unreadable."""
    if len(received.events) > _MOST or any(event.error is not None for event in received.events):
        return []
    return [
        InboxRow(
            id=stored.row_ids[event.event_id],
            event_id=event.event_id,
            matrix_room_id=event.matrix_room_id,
            event=event.event,
            attempts=0,
            retry_at_ms=0,
            error=None,
            received_at_ms=received.received_at_ms,
            is_confirmed=False,
            before_message=None,
            # Edits that arrived before it are found when the message is stored.
            is_edited_early=False,
        )
        for event in received.events
        if event.event_id in stored.row_ids
    ]
