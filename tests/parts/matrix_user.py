"""A Matrix user in matrix-nio, an ordinary client library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import nio

from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import RunningCity
from tests.parts.waiting import WAIT_S


class Arrive(Protocol):
    """The type of the fixture ``arrive``."""

    async def __call__(self, where: RunningCity | LocalSynapse, name: str) -> MatrixUser: ...


@dataclass
class MatrixUser:
    """A Matrix user who syncs in the background from ``arrive`` to ``leave``, and records messages and presences."""

    client: nio.AsyncClient
    messages: list[tuple[str, str]] = field(default_factory=list)
    """(sender, body) of every text, in the order in which they were seen."""
    presences: list[tuple[str, str, str | None, float]] = field(default_factory=list)
    """(user, presence, status text, time on the event loop's clock)."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Everything that happened in rooms, as the homeserver says it."""
    typing: list[list[str]] = field(default_factory=list)
    """Who was typing, each time that this changed in any room."""
    _syncing: asyncio.Task[Any] | None = None

    @classmethod
    async def arrive(cls, homeserver: LocalSynapse, name: str) -> MatrixUser:
        account = await homeserver.register(name, "secret", display_name=name.capitalize())
        # Its own default waits up to a minute before it tries again.
        config = nio.AsyncClientConfig(backoff_factor=0.05, max_timeout_retry_wait_time=1)
        client = nio.AsyncClient(homeserver.url, account.user_id, config=config)
        client.restore_login(account.user_id, account.device_id, account.access_token)
        person = cls(client)
        client.add_event_callback(person._saw, (nio.RoomMessageText, nio.RoomMessageNotice))
        client.add_event_callback(person._saw_event, (nio.Event,))
        client.add_presence_callback(person._saw_presence, (nio.PresenceEvent,))
        client.add_ephemeral_callback(person._saw_typing, (nio.TypingNoticeEvent,))
        await client.sync(timeout=0, full_state=True)
        person._syncing = asyncio.create_task(client.sync_forever(timeout=5000))
        return person

    async def leave(self) -> None:
        assert self._syncing is not None
        self._syncing.cancel()
        await asyncio.gather(self._syncing, return_exceptions=True)
        await self.client.close()

    async def join(self, room: str) -> str:
        """Join a room by alias or id, and wait until the sync shows it; returns its id."""
        answer = await self.client.join(room)
        assert isinstance(answer, nio.JoinResponse), answer
        await self.wait_for(lambda: answer.room_id in self.client.rooms)
        return str(answer.room_id)

    async def send_text(
        self, room_id: str, body: str, msgtype: str = "m.text", more: Mapping[str, Any] = MappingProxyType({})
    ) -> str:
        """Send a message; ``more`` are further fields of its content."""
        answer = await self.client.room_send(room_id, "m.room.message", {"msgtype": msgtype, "body": body, **more})
        assert isinstance(answer, nio.RoomSendResponse), answer
        return str(answer.event_id)

    async def wait_for(self, condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never seen; messages: {self.messages}, presences: {self.presences}") from None

    async def wait_for_event(self, matches: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the first matching event of any room."""
        await self.wait_for(lambda: any(map(matches, self.events)))
        return next(event for event in self.events if matches(event))

    def presence_of(self, user: str) -> str | None:
        return next((presence for who, presence, _, _ in reversed(self.presences) if who == user), None)

    async def _saw(self, _room: nio.MatrixRoom, event: nio.Event) -> None:
        self.messages.append((event.sender, event.body))

    async def _saw_event(self, room: nio.MatrixRoom, event: nio.Event) -> None:
        self.events.append({"room_id": room.room_id, **event.source})

    async def _saw_typing(self, _room: nio.MatrixRoom, event: nio.TypingNoticeEvent) -> None:
        self.typing.append(sorted(event.users))

    async def _saw_presence(self, event: nio.PresenceEvent) -> None:
        now = asyncio.get_running_loop().time()
        self.presences.append((event.user_id, event.presence, event.status_msg, now))


@asynccontextmanager
async def arriving() -> AsyncIterator[Arrive]:
    """Register users on a homeserver, each with a unique name; all leave at the end."""
    arrived: list[MatrixUser] = []

    async def arrive(where: RunningCity | LocalSynapse, name: str) -> MatrixUser:
        person = await MatrixUser.arrive(where.homeserver if isinstance(where, RunningCity) else where, name)
        arrived.append(person)
        return person

    yield arrive
    for person in arrived:
        await person.leave()


@asynccontextmanager
async def quiet_user(homeserver: LocalSynapse, name: str) -> AsyncIterator[nio.AsyncClient]:
    """Return a client that syncs only when called, so that syncing does not change its presence."""
    account = await homeserver.register(name, "secret", display_name=name.capitalize())
    client = nio.AsyncClient(homeserver.url, account.user_id)
    client.restore_login(account.user_id, account.device_id, account.access_token)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def syncing(user: nio.AsyncClient) -> AsyncIterator[None]:
    """Sync as online again and again, as Matrix clients do.

    One sync is not enough: Synapse 1.163 may lose the state of a user who comes online for the first time at the moment of
    a request for their presence (see ``matrix/presence/observer_coverage.py``), and the next sync sets it again.
    """

    async def sync() -> None:
        while True:
            await user.sync(timeout=0, set_presence="online")
            await asyncio.sleep(1)

    task = asyncio.create_task(sync())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
