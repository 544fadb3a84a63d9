"""The replay of a room stream: the numbered events that one listener missed, and the frames that wait meanwhile."""

from __future__ import annotations

from typing import Final

from ..city.room_events import RoomEvent, RoomEventKind
from ..city.types import MessageId
from ..errors import CityError
from .room_stream import RoomStreamFrames
from .room_subscription import RoomStreamReader, RoomSubscription

MAX_REPLAY: Final = 1000
"""Most events that are replayed one by one; a listener that missed more gets a resync."""
MAX_REPLAY_BYTES: Final = 512 * 1024
"""The same limit in bytes of frames."""
_MAX_BUFFER_BYTES: Final = 64 * 1024
"""Bytes of unnumbered frames that wait for a listener whose replay is running."""


class Replay:
    """Sends one listener every sequence number after ``seq``, and each message once in its newest state."""

    def __init__(
        self, frames: RoomStreamFrames, listener: RoomStreamReader, subscription: RoomSubscription, seq: int
    ) -> None:
        self.seq = seq
        """The newest number that was sent."""
        self._frames = frames
        self._listener = listener
        self._subscription = subscription
        self._sent_messages: set[MessageId] = set()
        self._sent_bytes = 0

    def is_possible(self, newest_seq: int) -> bool:
        """Return whether the events up to ``newest_seq`` are few enough; False also if ``seq`` is not below it."""
        return 0 < newest_seq - self.seq <= MAX_REPLAY

    def deliver(self, events: list[RoomEvent]) -> bool:
        """Send events until the listener is behind; the caller reads the others again.

        Returns:
            False if the client has to resync: too many bytes, no events, renumbered messages, or an event that the
            listener may not read or that was deleted, which would leave a gap in the numbers.
        """
        for event in events:
            is_next = event.seq == self.seq + 1  # Older events may have been deleted by the retention.
            if event.kind is RoomEventKind.RESYNC or not is_next or not self._subscription.may_read(event):
                return False
            message = event.message.id if event.message else None
            frame = self._frames.event(event, with_message=message not in self._sent_messages)
            self._sent_bytes += len(frame)
            if self._sent_bytes > MAX_REPLAY_BYTES:
                return False
            if message is not None:
                self._sent_messages.add(message)
            self._listener.write(frame)
            self.seq = event.seq
            if self._listener.is_behind:
                break
        return bool(events)


class ReplayBuffer:
    """Collects the unnumbered frames during a replay; the replay reads numbered events from the database."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.has_overflowed = False
        self._bytes = 0
        self._error: CityError | None = None

    def write(self, frames: bytes) -> None:
        self._bytes += len(frames)
        if self._bytes <= _MAX_BUFFER_BYTES:
            self.frames.append(frames)
        else:
            self.has_overflowed = True

    def disconnect(self, error: CityError) -> None:
        self._error = error

    def check_connected(self) -> None:
        """Raise the error of ``disconnect``, if the listener lost its right to read the room during the replay."""
        if self._error is not None:
            raise self._error
