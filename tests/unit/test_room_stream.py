"""Room streams with more subscribers than get a frame at once."""

from __future__ import annotations

from typing import Any, cast

import pytest

from daarion_appservice.city.history_visibility import PUBLIC
from daarion_appservice.city.types import Room, RoomId
from daarion_appservice.errors import CityError, Forbidden
from daarion_appservice.realtime.room_stream import RoomStream
from daarion_appservice.realtime.room_streams import RoomStreams
from daarion_appservice.realtime.room_subscription import Identity, RoomSubscription
from daarion_appservice.storage.database import Transaction

ROOM = RoomId("city_general")
SUBSCRIBERS = 100


class Reader:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.error: CityError | None = None

    is_behind = False

    def write(self, frames: bytes) -> None:
        assert self.error is None, "no frame follows the end of the connection"
        self.frames.append(frames)

    def disconnect(self, error: CityError) -> None:
        self.error = error

    async def drained(self) -> None:
        """A test reader is never behind."""


@pytest.fixture
async def stream() -> RoomStream:
    stream = RoomStream(ROOM, 0, cast("Any", None), cast("Any", None))
    stream._fan_out._slice_s = 0  # the event loop runs other callbacks after each 32 subscribers
    for _ in range(SUBSCRIBERS):
        stream.listeners[Reader()] = RoomSubscription(anybody)
    return stream


async def test_subscribers_get_frames_in_order(stream: RoomStream) -> None:
    for number in range(3):
        stream.send(b"%d" % number)
    assert stream._fan_out.is_running
    stream.finish_sending()
    assert {b"".join(reader.frames) for reader in readers(stream)} == {b"012"}


async def test_removed_subscriber_gets_frames_before_error(stream: RoomStream) -> None:
    stream.send(b"0")
    removed = readers(stream)[-1]
    stream.disconnect(stream.listeners[removed], Forbidden("not_a_member", "only members may read the room"))
    assert removed.error is not None
    assert removed.frames == [b"0"]
    stream.send(b"1")
    stream.finish_sending()
    assert removed.frames == [b"0"]


async def test_frame_during_replay_reaches_new_subscriber(stream: RoomStream, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = RoomStreams(cast("Any", None), cast("Any", None), cast("Any", _NobodyTypes()), cast("Any", None))

    async def opened(_room: RoomId) -> RoomStream:
        return stream

    async def identify(_stream: RoomStream, _subscription: RoomSubscription) -> None:
        for number in range(3):
            stream.send(b"%d" % number)

    monkeypatch.setattr(streams, "_open", opened)
    monkeypatch.setattr(streams, "_identify", identify)
    late = Reader()
    await streams.subscribe(ROOM, stream.seq, late, anybody)
    stream.send(b"3")
    stream.finish_sending()
    assert b"".join(late.frames) == b"0123"


class _NobodyTypes:
    def of(self, _room: RoomId) -> frozenset[str]:
        return frozenset()


def readers(stream: RoomStream) -> list[Reader]:
    return [cast("Reader", listener) for listener in stream.listeners]


async def anybody(_tx: Transaction, _room: Room) -> Identity:
    return Identity(frozenset(), PUBLIC)
