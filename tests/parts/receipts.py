"""A room whose readers send read receipts by sync responses of a scripted homeserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.realtime.receipt_writer import ReceiptWriter
from tests.parts.city import eventually
from tests.parts.ports import HOST
from tests.parts.private_room import (
    ALICE,
    GENERAL,
    MATRIX_ROOM,
    OKSANA_GHOST,
    PrivateRoom,
    private_room,
)
from tests.parts.running_tasks import running_tasks
from tests.parts.scripted_homeserver import ScriptedHomeserver

BORYS = "@borys:city.localhost"
RECEIPTS = "/city/rooms/general/receipts"


@dataclass
class ReceiptHarness:
    """A room with readers, whose receipts come by sync responses; ``frames`` is what a WebSocket received."""

    room: PrivateRoom
    homeserver: ScriptedHomeserver
    frames: list[dict[str, Any]] = field(default_factory=list)

    async def read(self, event: str, *users: str, thread_id: str | None = None, kind: str = "m.read") -> None:
        more = {} if thread_id is None else {"thread_id": thread_id}
        content = {event: {kind: {user: {"ts": 1_700_000_000_000} | more for user in users}}}
        await self.apply({"events": [{"type": "m.receipt", "content": content}]})

    async def apply(self, ephemeral: Any) -> None:
        response = {"rooms": {"join": {MATRIX_ROOM: {"ephemeral": ephemeral}}}}
        city = self.room.city.city
        await city.remote_receipts.apply_sync(
            response, {MatrixRoomId(MATRIX_ROOM): GENERAL}, observer=city.identities.observer
        )

    @property
    def writer(self) -> ReceiptWriter:
        return self.room.city.city.receipt_writer

    def hold_writer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let receipts wait until ``write``."""
        monkeypatch.setattr(self.writer, "_tick_s", 3600.0)

    async def until_waiting(self, count: int, message: str | None = None) -> None:
        """Wait until the writer has this many receipts, all at ``message`` if it is given."""

        async def are_waiting() -> bool:
            positions = self.writer._pending.values()
            return len(positions) == count and all(message in {None, each.message_id} for each in positions)

        await eventually(are_waiting, explain=lambda: str(self.writer._pending))

    async def write(self) -> None:
        """Write the receipts that wait."""
        self.writer._tick_s = 0.0
        await self.writer._write()

    async def message_id(self, event: str) -> str:
        async with self.room.city.city.database.read_only() as tx:
            return (await tx.receipts.places(GENERAL, [event]))[event].id  # type: ignore[list-item,index]

    async def listed(self, query: str = "", token: str | None = None) -> dict[str, str]:
        found = await self.room.city.get(f"{RECEIPTS}{query}", token=token)
        return {each["user_id"]: each["message_id"] for each in found}

    async def until_listed(self, query: str = "", **wanted: str) -> None:
        """Wait until the receipts are these; wanted by ``alice``, ``borys``, or a citizen's id."""
        users = {"alice": ALICE, "borys": BORYS}
        expected = {users.get(name, name): message for name, message in wanted.items()}

        async def is_so() -> bool:
            return await self.listed(query) == expected

        await eventually(is_so, explain=lambda: f"{expected}, {self.frames}")

    async def until_frames(self, count: int) -> list[dict[str, Any]]:
        async def are_there() -> bool:
            return len(self.frames) >= count

        await eventually(are_there, explain=lambda: str(self.frames))
        return self.frames


@asynccontextmanager
async def listening(
    harness: ReceiptHarness, frames: list[dict[str, Any]], token: str | None = None
) -> AsyncIterator[None]:
    city = harness.room.city
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general" + (f"?token={token}" if token else "")
    streams = city.city.room_streams._streams
    before = sum(len(each.listeners) for each in streams.values())
    async with city.session.ws_connect(url) as socket:

        async def receive() -> None:
            async for frame in socket:
                content = frame.json()
                if content["event"] == "city.room.read":
                    frames.append(content)

        receiving = asyncio.create_task(receive())

        async def is_subscribed() -> bool:
            return sum(len(each.listeners) for each in streams.values()) > before

        await eventually(is_subscribed)
        yield
        receiving.cancel()


@asynccontextmanager
async def open_receipts(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReceiptHarness]:
    """Start a city with a private room of three members, and listen to the room by WebSocket."""
    homeserver = ScriptedHomeserver()
    async with (
        homeserver.serving(),
        private_room(database_url, homeserver={"address": homeserver.url, "domain": "city.localhost"}) as room,
    ):
        city = room.city.city
        city.monitor.mark_up()
        # Nothing arrives late in most of these tests.
        monkeypatch.setattr(city.remote_receipts, "_patience_s", 0.2)
        monkeypatch.setattr("daarion_appservice.matrix.presence.receipts._RETRY_S", 0.05)
        monkeypatch.setattr(city.receipt_writer, "_tick_s", 0.02)
        for user in (ALICE, BORYS, OKSANA_GHOST):
            await room.member(user, "join")
        harness = ReceiptHarness(room, homeserver)
        async with (
            running_tasks(city.receipt_writer.run, city.remote_receipts.run),
            listening(harness, harness.frames),
        ):
            yield harness
