"""A harness of the outbound worker with a scripted homeserver, and the helpers that its tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from sqlalchemy import update

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.events import CityEvent, MembershipChanged
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.rooms import Rooms, room_id_of
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Delivery,
    Message,
    UserId,
)
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.matrix.avatars.drawn_avatars import DrawnAvatars
from daarion_appservice.matrix.client import monitor as monitor_module
from daarion_appservice.matrix.client import transport as homeserver_transport
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.profiles import Profiles
from daarion_appservice.matrix.outbound import retry_delays
from daarion_appservice.matrix.outbound.delivery import OutboxDelivery
from daarion_appservice.matrix.outbound.former_rooms import FormerRooms
from daarion_appservice.matrix.outbound.worker import OutboundWorker
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.tables import rooms as room_table
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, MessagingHarness, link, messaging_harness
from tests.parts.no_encryption import no_encryption
from tests.parts.running_tasks import running_tasks
from tests.parts.scripted_homeserver import (
    ScriptedHomeserver,
)

SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")
OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
OKSANAS_GHOST, MODERATOR = UserId("@citizen_u_1:city.localhost"), "@moderator:city.localhost"
GENERAL, BUILDERS = "!general", "!builders"


@dataclass
class OutboundHarness:
    """The outbound worker, with a city that posts messages and a scripted homeserver."""

    database: Database
    messaging: MessagingHarness
    worker: OutboundWorker

    async def unlink_general(self) -> None:
        """Remove the Matrix room of General, as before it is created."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(
                update(room_table).where(room_table.c.slug == "general").values(matrix_room_id=None)
            )

    async def post(self, body: str, room: str = "general", author: Author = SCRIBE) -> Message:
        message = await self.messaging.post(author, room, body)
        self.worker.wake()
        return message

    async def deliveries(self, room: str = "general") -> list[tuple[str, Delivery]]:
        async with self.database.read_only() as tx:
            found = await tx.rooms.find(room)
            assert found is not None
            return [(each.body, each.delivery) for each in await tx.messages.before(found.id, None, limit=1000)]

    async def until_empty(self) -> None:
        """Wait until the outbox is empty: every entry is sent or given up."""
        self.worker.wake()

        async def is_empty() -> bool:
            async with self.database.read_only() as tx:
                return not await tx.outbox.waiting(limit=1)

        await eventually(is_empty)

    async def members(self, room: str = "general") -> set[UserId]:
        async with self.database.read_only() as tx:
            return {member.user_id for member in await tx.members.of_room(room_id_of(room))}

    async def deliveries_when_done(self, room: str = "general") -> list[tuple[str, Delivery]]:
        """Return the deliveries of ``room`` when no message of it is pending."""

        async def nothing_pending() -> bool:
            return all(delivery is not Delivery.PENDING for _, delivery in await self.deliveries(room))

        await eventually(nothing_pending)
        return await self.deliveries(room)


@asynccontextmanager
async def outbound_harness(
    sqlite_url: str, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, *, client_timeout_s: float
) -> AsyncIterator[OutboundHarness]:
    """Run the outbound worker with short retry delays; ``client_timeout_s`` is the timeout of its requests."""
    monkeypatch.setattr(homeserver_transport, "_TIMEOUT", aiohttp.ClientTimeout(total=client_timeout_s))
    monkeypatch.setattr(monitor_module, "_MIN_RETRY_S", 0.01)
    monkeypatch.setattr(retry_delays, "FIRST_MS", 2)
    monkeypatch.setattr(retry_delays, "REFUSED_MS", 20)
    database, online_members = Database(sqlite_url), OnlineMembers()
    await migrate.upgrade(database)

    def publish(event: CityEvent) -> None:
        if isinstance(event, MembershipChanged):
            (online_members.add_membership if event.joined else online_members.remove_membership)(
                event.room_id, event.subject
            )

    rooms = Rooms(database, publish, now_ms, new_id)
    for slug, matrix_room in (("general", GENERAL), ("builders", BUILDERS)):
        room = await rooms.open(slug, slug=slug)
        async with database.transaction() as tx:
            await link(tx, room.id, matrix_room)
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.mark_up()
    messaging = messaging_harness(database, publish)
    ghosts = Ghosts(
        client,
        database,
        IDENTITIES,
        messaging.members,
        online_members,
        publish,
        DrawnAvatars(client, database, IDENTITIES.bot),
        Profiles("City"),
    )
    delivery = OutboxDelivery(
        database,
        client,
        monitor,
        ghosts,
        messaging.agents,
        messaging.renderer,
        IDENTITIES,
        no_encryption(database).encryptor,
        FormerRooms(database, client, IDENTITIES),
        publish,
        steady_ms,
        on_new_ghost=lambda _: None,
        on_activity=lambda _: None,
    )
    worker = OutboundWorker(database, monitor, delivery, steady_ms)
    async with running_tasks(monitor.run, worker.run):
        yield OutboundHarness(database, messaging, worker)
    await client.close()
    await database.close()


async def until_sending(homeserver: ScriptedHomeserver) -> None:
    async def was_asked() -> bool:
        return bool(homeserver.all("send"))

    await eventually(was_asked)


async def last_message(outbound: OutboundHarness) -> tuple[Message, str | None]:
    async with outbound.database.read_only() as tx:
        message = (await tx.messages.before(room_id_of("general"), None, limit=1))[-1]
    return message, message.delivery_error


async def receive_echo(outbound: OutboundHarness, message: Message) -> None:
    """Have the event of a message arrive, as by a transaction of the homeserver."""
    event = {
        "type": "m.room.message",
        "event_id": "$0",
        "room_id": GENERAL,
        "sender": OKSANAS_GHOST,
        "content": {"msgtype": "m.text", "body": "regretted", MESSAGE_ID: message.id},
    }
    async with outbound.database.transaction() as tx:
        await outbound.messaging.handlers().handle(tx, event)
    outbound.worker.wake()


async def make_private(outbound: OutboundHarness, **values: str) -> None:
    async with outbound.database.transaction() as tx:
        changes = update(room_table).where(room_table.c.slug == "general").values(join_rule="invite", **values)
        await tx.connection.execute(changes)
