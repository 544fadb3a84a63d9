"""The city's outbox → the homeserver, which does not always do as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.events import CityEvent, MembershipChanged
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.rooms import Rooms, room_id_of
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Author,
    AuthorKind,
    Delivery,
    EventId,
    Message,
    OutboxKind,
    UserId,
)
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.errors import Forbidden, HomeserverRateLimited
from daarion_appservice.matrix.client import monitor as watch_module
from daarion_appservice.matrix.client import transport as homeserver_transport
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.outbound import delivery as delivery_module
from daarion_appservice.matrix.outbound import worker as worker_module
from daarion_appservice.matrix.outbound.delivery import MAX_ATTEMPTS, OutboxDelivery
from daarion_appservice.matrix.outbound.event_sender import EventSender
from daarion_appservice.matrix.outbound.rendering import OutgoingEvent
from daarion_appservice.matrix.outbound.worker import OutboundWorker
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.outbox import OutboxRow
from daarion_appservice.storage.tables import rooms as room_table
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, MessagingHarness, link, messaging_harness
from tests.parts.scripted_homeserver import (
    HANG,
    HANG_UP,
    NOT_IN_ROOM,
    NOT_REGISTERED,
    HangUp,
    Reply,
    ScriptedHomeserver,
    refused,
)

SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")
OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
OKSANAS_GHOST, MODERATOR = UserId("@citizen_u_1:city.localhost"), "@moderator:city.localhost"
GENERAL, BUILDERS = "!general", "!builders"


@dataclass
class Office:
    """The city's post office: messages go in, and out to the homeserver."""

    database: Database
    desk: MessagingHarness
    outbound: OutboundWorker

    async def unlink_general(self) -> None:
        """Have the room general without a Matrix room, as before it is created."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(
                update(room_table).where(room_table.c.slug == "general").values(matrix_room_id=None)
            )

    async def post(self, body: str, room: str = "general", author: Author = SCRIBE) -> Message:
        message = await self.desk.post(author, room, body)
        self.outbound.wake()
        return message

    async def deliveries(self, room: str = "general") -> list[tuple[str, Delivery]]:
        async with self.database.reading() as tx:
            found = await tx.rooms.find(room)
            assert found is not None
            return [(each.body, each.delivery) for each in await tx.messages.before(found.id, None, limit=1000)]

    async def nothing_waits(self) -> None:
        """Everything that was to be told is told, or given up."""
        self.outbound.wake()

        async def is_empty() -> bool:
            async with self.database.reading() as tx:
                return not await tx.outbox.waiting(limit=1)

        await eventually(is_empty)

    async def members(self, room: str = "general") -> set[UserId]:
        async with self.database.reading() as tx:
            return {member.user_id for member in await tx.members.of_room(room_id_of(room))}

    async def settled(self, room: str = "general") -> list[tuple[str, Delivery]]:
        """How it ended, once nothing of ``room`` is on its way any more."""

        async def nothing_pending() -> bool:
            return all(delivery is not Delivery.PENDING for _, delivery in await self.deliveries(room))

        await eventually(nothing_pending)
        return await self.deliveries(room)


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    server = ScriptedHomeserver()
    async with server.serving():
        yield server


@pytest.fixture
def client_timeout_s() -> float:
    """Return the client's time-out in seconds: so long that no request ends by it, however busy the machine is."""
    return 20


@pytest.fixture
async def office(
    sqlite_url: str, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, client_timeout_s: float
) -> AsyncIterator[Office]:
    monkeypatch.setattr(homeserver_transport, "_TIMEOUT", aiohttp.ClientTimeout(total=client_timeout_s))
    monkeypatch.setattr(watch_module, "_MIN_RETRY_S", 0.01)
    monkeypatch.setattr(delivery_module, "_RETRY_MS", 2)
    monkeypatch.setattr(delivery_module, "_REFUSED_RETRY_MS", 20)
    database, online_members = Database(sqlite_url), OnlineMembers()
    await migrate.upgrade(database)

    def publish(event: CityEvent) -> None:
        if isinstance(event, MembershipChanged):
            (online_members.joined if event.joined else online_members.left)(event.room_id, event.subject)

    rooms = Rooms(database, publish, now_ms, new_id)
    for slug, matrix_room in (("general", GENERAL), ("builders", BUILDERS)):
        room = await rooms.open(slug, slug=slug)
        async with database.transaction() as tx:
            await link(tx, room.id, matrix_room)
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.found()
    office = messaging_harness(database, publish)
    ghosts = Ghosts(client, database, IDENTITIES, office.members, online_members, publish)
    delivery = OutboxDelivery(
        database,
        client,
        monitor,
        ghosts,
        EventSender(client, ghosts, office.agents, IDENTITIES, lambda _: None),
        office.renderer,
        IDENTITIES,
        publish,
        steady_ms,
        on_activity=lambda _: None,
    )
    outbound = OutboundWorker(database, monitor, delivery, steady_ms)
    tasks = [asyncio.create_task(each) for each in (monitor.run(), outbound.run())]
    yield Office(database, office, outbound)
    assert not any(task.done() for task in tasks), "nothing that a homeserver answers ends the service"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    await database.close()


async def test_a_message_goes_out_as_its_authors_ghost_who_is_there_by_then(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    message = await office.post("Добрий день", author=OKSANA)
    assert await office.settled() == [("Добрий день", Delivery.SENT)]

    assert [asked.what for asked in homeserver.asked if asked.what not in {"versions", "ping"}] == [
        "register",
        "profile",
        "device",
        "join",
        "send",
    ]
    (sent,) = homeserver.all("send")
    assert (sent.user, sent.path["room"]) == ("@citizen_u_1:city.localhost", GENERAL)
    assert sent.path["txn_id"] == message.id
    assert sent.content == {"msgtype": "m.text", "body": "Добрий день", MESSAGE_ID: message.id, "m.mentions": {}}

    await office.post("І ще", author=OKSANA)
    await office.settled()
    assert len(homeserver.all("register")) == len(homeserver.all("join")) == 1, "the second time it is there already"


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param([HANG_UP, HANG_UP], id="hangs up"),
        pytest.param([Reply(502, "no gateway"), Reply(504, {})], id="gateway"),
        pytest.param([refused(500, "M_UNKNOWN"), refused(503, "M_UNKNOWN")], id="breaks"),
        pytest.param([refused(401, "M_UNKNOWN_TOKEN"), refused(401, "M_UNKNOWN_TOKEN")], id="forgets the token"),
        pytest.param([refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=5)], id="has enough of us"),
        pytest.param([NOT_IN_ROOM], id="has put the ghost out"),
        pytest.param([NOT_REGISTERED], id="has forgotten the ghost"),
        pytest.param([Reply(200, {}), Reply(200, []), Reply(200, "sent")], id="does not say which event it is"),
    ],
)
async def test_a_message_is_tried_again_under_the_same_id_when_that_can_help(
    office: Office, homeserver: ScriptedHomeserver, trouble: list[Reply | HangUp]
) -> None:
    homeserver.next("send", *trouble, room=GENERAL)
    first = await office.post("first")
    await office.post("second")

    assert await office.settled() == [("first", Delivery.SENT), ("second", Delivery.SENT)]
    assert homeserver.in_room[GENERAL] == ["first", "second"], "each once, and in order"
    tries = [asked.path["txn_id"] for asked in homeserver.all("send")]
    assert tries[: len(trouble) + 1] == [first.id] * (len(trouble) + 1)
    assert len(tries) == len(trouble) + 2


@pytest.mark.parametrize("client_timeout_s", [0.2])
async def test_message_is_sent_again_when_homeserver_does_not_answer(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("send", HANG, room=GENERAL)
    first = await office.post("first")
    await office.post("second")

    assert await office.settled() == [("first", Delivery.SENT), ("second", Delivery.SENT)]
    assert homeserver.in_room[GENERAL] == ["first", "second"], "each once, and in order"
    # On a busy machine, more than the held request may end by the time-out.
    assert [asked.path["txn_id"] for asked in homeserver.all("send")][:2] == [first.id, first.id]


@pytest.mark.parametrize("step", ["register", "profile", "device", "join"])
@pytest.mark.parametrize(
    "reply", [HANG_UP, refused(500, "M_UNKNOWN"), Reply(502, "")], ids=["hangs up", "breaks", "gateway"]
)
async def test_whatever_goes_wrong_on_the_way_to_sending_is_tried_again_too(
    office: Office, homeserver: ScriptedHomeserver, step: str, reply: Reply | HangUp
) -> None:
    homeserver.next(step, reply)
    await office.post("hello")
    assert await office.settled() == [("hello", Delivery.SENT)]


async def test_a_ghost_that_was_put_out_joins_again(office: Office, homeserver: ScriptedHomeserver) -> None:
    await office.post("before")
    await office.settled()
    homeserver.next("send", NOT_IN_ROOM)
    await office.post("after")
    await office.settled()
    assert homeserver.in_room[GENERAL] == ["before", "after"]
    assert len(homeserver.all("join")) == 2


async def test_a_ghost_that_the_homeserver_has_forgotten_is_registered_and_joins_again(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    await office.post("before")
    await office.settled()
    homeserver.asked.clear()

    homeserver.next("send", NOT_REGISTERED, room=GENERAL)
    await office.post("after")

    assert (await office.settled())[-1] == ("after", Delivery.SENT)
    assert [asked.what for asked in homeserver.asked if asked.what not in {"versions", "ping", "members", "state"}] == [
        "send",
        "register",
        "profile",
        "device",
        "join",
        "send",
    ]


async def test_an_agent_is_invited_where_it_lives_and_may_not_join(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    office.desk.agents.replace([Agent("scribe", AgentSlug("scribe"), "Писар")])
    homeserver.next("join", refused(403, "M_FORBIDDEN", "You are not invited to this room"))
    await office.post("hello")
    assert await office.settled() == [("hello", Delivery.SENT)]
    (invited,) = homeserver.all("invite")
    assert invited.user == "@daarion_bot:city.localhost"
    assert invited.content == {"user_id": "@agent_scribe:city.localhost"}


@pytest.mark.parametrize(
    ("reply", "tries"),
    [
        pytest.param(refused(400, "M_BAD_JSON"), 1, id="cannot read it"),
        pytest.param(refused(413, "M_TOO_LARGE"), 1, id="finds it too large"),
        pytest.param(refused(404, "M_NOT_FOUND"), 1, id="does not know the room"),
        pytest.param(NOT_IN_ROOM, 2, id="lets nobody speak"),
        pytest.param(refused(500, "M_UNKNOWN"), MAX_ATTEMPTS, id="breaks at it each time"),
        pytest.param(Reply(502, ""), MAX_ATTEMPTS, id="is kept from it by a gateway each time"),
    ],
)
async def test_a_message_that_will_never_be_taken_is_given_up_and_its_room_goes_on(
    office: Office, homeserver: ScriptedHomeserver, reply: Reply, tries: int
) -> None:
    homeserver.next("send", *[reply] * tries, room=GENERAL)
    await office.post("never")
    await office.post("next")

    assert await office.settled() == [("never", Delivery.FAILED), ("next", Delivery.SENT)]
    assert homeserver.in_room[GENERAL] == ["next"]
    assert len(homeserver.all("send")) == tries + 1


async def test_a_ghost_that_cannot_be_registered_does_not_stop_the_others(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("register", refused(400, "M_EXCLUSIVE", "not in your namespace"))
    await office.post("from nobody", author=OKSANA)
    await office.post("from somebody")
    assert await office.settled() == [("from nobody", Delivery.FAILED), ("from somebody", Delivery.SENT)]


async def test_a_room_that_hangs_holds_up_no_other(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_BATCH_SIZE", 3)
    await office.post("here first", "builders")
    await office.settled("builders")
    homeserver.next("send", refused(429, "M_LIMIT_EXCEEDED"), room=GENERAL)
    for number in range(6):
        await office.post(f"waits {number}")
    await office.post("passes", "builders")

    async def has_passed() -> bool:
        return ("passes", Delivery.SENT) in await office.deliveries("builders")

    await eventually(has_passed)
    assert not homeserver.in_room[GENERAL]
    await office.settled()
    assert homeserver.in_room[GENERAL] == [f"waits {number}" for number in range(6)]


async def test_many_messages_to_two_rooms_keep_the_order_of_each(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    for number in range(10):
        homeserver.next("send", HANG_UP if number % 3 else refused(500, "M_UNKNOWN"))
    for number in range(20):
        await office.post(str(number), author=(SCRIBE, OKSANA)[number % 2])
        await office.post(str(number), "builders", author=(OKSANA, SCRIBE)[number % 2])

    await office.settled()
    await office.settled("builders")
    assert homeserver.in_room == {room: [str(n) for n in range(20)] for room in (GENERAL, BUILDERS)}


async def test_a_message_waits_while_the_homeserver_is_away_and_goes_when_it_is_back(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_UNAVAILABLE_RETRY_MS", 20)
    away = [HANG_UP] * (MAX_ATTEMPTS + 1)
    for what in ("send", "members"):
        homeserver.next(what, *away)
    await office.post("patient")
    assert await office.settled() == [("patient", Delivery.SENT)], "an absence is not the message's fault"
    assert len(homeserver.all("send")) == len(away) + 1


async def _is_being_sent(homeserver: ScriptedHomeserver) -> None:
    async def was_asked() -> bool:
        return bool(homeserver.all("send"))

    await eventually(was_asked)


async def _last(office: Office) -> tuple[Message, str | None]:
    async with office.database.reading() as tx:
        message = (await tx.messages.before(room_id_of("general"), None, limit=1))[-1]
    return message, message.delivery_error


@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "not linked yet"])
async def test_message_deleted_before_it_is_sent_ends_as_failed_without_events(
    office: Office, homeserver: ScriptedHomeserver, is_linked: bool
) -> None:
    answer = None
    if is_linked:
        answer = homeserver.hold("send")
        await office.post("first")
        await _is_being_sent(homeserver)
    else:
        await office.unlink_general()
    message = await office.post("regretted", author=OKSANA)
    await office.desk.changes.edit(OKSANA, "general", message.id, "edited")
    await office.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    if answer is not None:
        answer.set()
    await office.nothing_waits()
    last, error = await _last(office)
    assert (last.deleted, last.delivery, error) == (True, Delivery.FAILED, "deleted")
    assert "regretted" not in str(homeserver.asked)
    assert len(homeserver.all("send")) == (1 if is_linked else 0)


REDACTED_BY = pytest.mark.parametrize(
    ("by", "redactor"),
    [pytest.param(OKSANA, OKSANAS_GHOST, id="author"), pytest.param(SCRIBE, IDENTITIES.bot, id="moderator")],
)


@REDACTED_BY
async def test_message_deleted_while_it_is_sent_is_redacted_once(
    office: Office, homeserver: ScriptedHomeserver, by: Author, redactor: UserId
) -> None:
    answer = homeserver.hold("send")
    message = await office.post("regretted", author=OKSANA)
    await _is_being_sent(homeserver)
    await office.desk.changes.delete(by, "general", message.id, may_moderate=by != OKSANA)
    answer.set()
    await office.nothing_waits()
    last, error = await _last(office)
    assert (last.delivery, error) == (Delivery.SENT, None)
    assert [(asked.path["event"], asked.user) for asked in homeserver.all("redact")] == [("$0", redactor)]


@REDACTED_BY
async def test_echo_of_message_deleted_while_it_is_sent_redacts_it_once(
    office: Office, homeserver: ScriptedHomeserver, by: Author, redactor: UserId
) -> None:
    answer = homeserver.hold("send")
    message = await office.post("regretted", author=OKSANA)
    await _is_being_sent(homeserver)
    await office.desk.changes.delete(by, "general", message.id, may_moderate=by != OKSANA)
    await _echo(office, message)
    answer.set()
    await office.nothing_waits()
    assert [(asked.path["event"], asked.user) for asked in homeserver.all("redact")] == [("$0", redactor)]


async def test_echo_after_deletion_was_dropped_redacts_message_once(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    await office.unlink_general()
    message = await office.post("regretted", author=OKSANA)
    await office.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    await office.nothing_waits()
    async with office.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)
    for _ in range(2):
        await _echo(office, message)
    await office.nothing_waits()
    assert [asked.path["event"] for asked in homeserver.all("redact")] == ["$0"]


async def test_echo_while_deletion_is_dropped_redacts_message_once(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.unlink_general()
    message = await office.post("regretted", author=OKSANA)
    write = office.desk.renderer.render
    echoed: list[int] = []

    async def write_and_echo(tx: Transaction, row: OutboxRow) -> OutgoingEvent | None:
        letter = await write(tx, row)
        if row.kind is OutboxKind.DELETE and not echoed:
            # Between reading the row and dropping it.
            echoed.append(row.id)
            async with office.database.transaction() as writing:
                await link(writing, room_id_of("general"), GENERAL)
            await _echo(office, message)
        return letter

    monkeypatch.setattr(office.desk.renderer, "render", write_and_echo)
    await office.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    await office.nothing_waits()
    assert echoed
    assert [asked.path["event"] for asked in homeserver.all("redact")] == ["$0"]


async def _echo(office: Office, message: Message) -> None:
    """Have the event of a message arrive, as by a transaction of the homeserver."""
    event = {
        "type": "m.room.message",
        "event_id": "$0",
        "room_id": GENERAL,
        "sender": OKSANAS_GHOST,
        "content": {"msgtype": "m.text", "body": "regretted", MESSAGE_ID: message.id},
    }
    async with office.database.transaction() as tx:
        await office.desk.handlers().handle(tx, event)
    office.outbound.wake()


NOT_INVITED = refused(403, "M_FORBIDDEN", "You are not invited to this room.")


async def _make_private(office: Office, **values: str) -> None:
    async with office.database.transaction() as tx:
        changes = update(room_table).where(room_table.c.slug == "general").values(join_rule="invite", **values)
        await tx.connection.execute(changes)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        pytest.param(NOT_INVITED, "invite_only", id="not invited"),
        pytest.param(refused(413, "M_TOO_LARGE"), "too_large", id="too large"),
        pytest.param(refused(400, "M_UNKNOWN"), "refused", id="anything else"),
    ],
)
async def test_message_that_is_refused_says_why_until_it_is_sent_again(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, refusal: Reply, error: str
) -> None:
    monkeypatch.setattr(delivery_module, "_UNLINKED_RETRY_MS", 20)
    await office.unlink_general()
    message = await office.post("just before", author=OKSANA)
    if error == "invite_only":
        await _make_private(office)
    homeserver.next("join", *[refusal] * (2 if refusal.status == 403 else 1))
    async with office.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)
    await office.settled()
    last, why = await _last(office)
    assert (last.delivery, why) == (Delivery.FAILED, error)
    assert homeserver.all("invite") == []

    async with office.database.transaction() as tx:
        await tx.restrictions.put(
            room_id_of("general"), OKSANAS_GHOST, Restriction(RestrictionKind.INVITED, None), now_ms=now_ms()
        )
    again = await office.desk.messages.retry_delivery(OKSANA, "general", message.id)
    assert (again.delivery, again.delivery_error) == (Delivery.PENDING, None)
    office.outbound.wake()
    assert await office.settled() == [("just before", Delivery.SENT)]
    assert (await _last(office))[1] is None


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
async def test_message_of_somebody_who_may_still_write_is_sent_after_its_room_is_private(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, visibility: str
) -> None:
    monkeypatch.setattr(delivery_module, "_UNLINKED_RETRY_MS", 20)
    await office.unlink_general()
    await office.post("just before", author=OKSANA)
    await _make_private(office, history_visibility=visibility)
    async with office.database.transaction() as tx:
        await tx.restrictions.put(
            room_id_of("general"), OKSANAS_GHOST, Restriction(RestrictionKind.INVITED, None), now_ms=now_ms()
        )
        await link(tx, room_id_of("general"), GENERAL)
    assert await office.settled() == [("just before", Delivery.SENT)]


async def test_a_message_to_a_room_that_is_not_linked_yet_waits_for_it(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_UNLINKED_RETRY_MS", 600_000)
    await office.unlink_general()
    await office.post("early")
    await asyncio.sleep(0.05)
    assert await office.deliveries() == [("early", Delivery.PENDING)]

    async with office.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)
    await office.post("second")
    assert (await office.deliveries())[0] == ("early", Delivery.PENDING), "a new message is no reason to try"
    office.outbound.resume()
    assert await office.settled() == [("early", Delivery.SENT), ("second", Delivery.SENT)]


async def test_an_echo_that_overtakes_the_answer_costs_no_other_message(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    answer = homeserver.hold("send")
    first = await office.post("first")

    async def is_being_sent() -> bool:
        return bool(homeserver.all("send"))

    await eventually(is_being_sent)
    async with office.database.transaction() as tx:
        await tx.outbox.arrived(first.id)
        await office.desk.messages.mark_sent(tx, first, EventId("$0"))
    await office.post("second")
    answer.set()
    assert await office.settled() == [("first", Delivery.SENT), ("second", Delivery.SENT)]


# --- ghosts who come and go, and those who may not ------------------------------------------------------


async def test_who_joined_comes_before_what_they_said_and_who_left_goes_after_it(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("versions", *[HANG_UP] * 3)
    homeserver.next("register", HANG_UP)
    await office.desk.membership.join(OKSANA, "general")
    await office.post("Добрий день", author=OKSANA)
    assert await office.settled() == [("Добрий день", Delivery.SENT)]
    await office.desk.membership.leave(OKSANA, "general")
    await office.nothing_waits()

    what = [asked.what for asked in homeserver.asked if asked.what not in {"versions", "ping", "members", "register"}]
    assert what == ["profile", "device", "join", "send", "leave"]
    assert {asked.user for asked in homeserver.asked if asked.what in {"join", "send", "leave"}} == {OKSANAS_GHOST}


async def test_message_of_somebody_who_joins_while_it_waits_is_sent(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_UNLINKED_RETRY_MS", 20)
    await office.unlink_general()
    await office.post("said", author=OKSANA)
    await office.desk.membership.join(OKSANA, "general")
    homeserver.next("send", NOT_IN_ROOM)
    async with office.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)

    assert await office.settled() == [("said", Delivery.SENT)]
    await office.nothing_waits()
    what = [asked.what for asked in homeserver.asked if asked.what in {"join", "send"}]
    assert what == ["send", "join", "send", "join"]
    assert await office.members() == {OKSANAS_GHOST}


async def test_a_ghost_that_was_never_there_need_not_leave(office: Office, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("leave", NOT_IN_ROOM)
    await office.desk.membership.join(OKSANA, "general")
    await office.desk.membership.leave(OKSANA, "general")
    await office.nothing_waits()
    assert len(homeserver.all("leave")) == 1


async def test_who_is_not_let_in_is_no_member_and_nobody_invites_them(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("join", refused(403, "M_FORBIDDEN", "You are not invited to this room"))
    await office.desk.membership.join(OKSANA, "general")
    await office.nothing_waits()
    assert await office.members() == set()
    assert (len(homeserver.all("join")), homeserver.all("invite")) == (1, [])


async def test_a_citizen_whose_ghost_may_not_come_in_has_not_written(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("join", *[refused(403, "M_FORBIDDEN", "You are not invited to this room")] * 2)
    await office.post("from outside", author=OKSANA)
    await office.post("from inside")
    assert await office.settled() == [("from outside", Delivery.FAILED), ("from inside", Delivery.SENT)]
    assert homeserver.all("invite") == []


def _member_event(membership: str, *, by: str) -> Reply:
    return Reply(
        200, {"sender": by, "state_key": OKSANAS_GHOST, "content": {"membership": membership, "reason": "реклама"}}
    )


@pytest.mark.parametrize(
    ("membership", "code"),
    [
        pytest.param(_member_event("ban", by=MODERATOR), "banned", id="banned"),
        pytest.param(_member_event("leave", by=MODERATOR), "kicked", id="put out"),
    ],
)
async def test_who_turns_out_to_be_put_out_is_tried_once_and_told_so_from_then_on(
    office: Office, homeserver: ScriptedHomeserver, membership: Reply, code: str
) -> None:
    await office.post("before", author=OKSANA)
    await office.settled()
    homeserver.next("send", NOT_IN_ROOM)
    homeserver.next("member", membership)
    await office.post("one", author=OKSANA)
    await office.settled()
    assert (await office.deliveries())[-1] == ("one", Delivery.FAILED)
    assert (len(homeserver.all("send")), len(homeserver.all("join"))) == (2, 1), "it does not come back by itself"
    assert await office.members() == set()
    with pytest.raises(Forbidden, match="реклама") as raised:
        await office.post("two", author=OKSANA)
    assert raised.value.code == code


async def test_who_was_put_out_and_has_joined_since_is_let_in(office: Office, homeserver: ScriptedHomeserver) -> None:
    await office.post("before", author=OKSANA)
    await office.settled()
    answer = homeserver.hold("send", NOT_IN_ROOM)
    homeserver.next("member", _member_event("leave", by=MODERATOR))
    await office.post("one", author=OKSANA)

    async def is_being_sent() -> bool:
        return len(homeserver.all("send")) == 2

    await eventually(is_being_sent)
    async with office.database.transaction() as tx:
        kicked = Restriction(RestrictionKind.KICKED, None)
        await tx.restrictions.put(room_id_of("general"), OKSANAS_GHOST, kicked, now_ms=now_ms())
        await office.desk.members.removed(tx, room_id_of("general"), OKSANAS_GHOST)
    await office.desk.membership.join(OKSANA, "general")
    answer.set()
    await office.nothing_waits()
    assert await office.members() == {OKSANAS_GHOST}
    await office.post("two", author=OKSANA)
    assert (await office.settled())[1:] == [("one", Delivery.FAILED), ("two", Delivery.SENT)]


async def test_what_waited_when_its_author_was_put_out_is_not_sent(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_UNLINKED_RETRY_MS", 20)
    await office.unlink_general()
    await office.post("too late", author=OKSANA)
    async with office.database.transaction() as tx:
        banned = Restriction(RestrictionKind.BANNED, None)
        await tx.restrictions.put(room_id_of("general"), OKSANAS_GHOST, banned, now_ms=now_ms())
        await link(tx, room_id_of("general"), GENERAL)
    assert await office.settled() == [("too late", Delivery.FAILED)]
    assert (homeserver.all("join"), homeserver.all("send")) == ([], [])


async def test_a_ghost_that_is_there_and_has_not_the_power_is_tried_once_and_stays(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    await office.post("before", author=OKSANA)
    await office.settled()
    homeserver.next("send", refused(403, "M_FORBIDDEN", "You don't have permission to post to the room"))
    homeserver.next("member", _member_event("join", by=OKSANAS_GHOST))
    await office.post("muted", author=OKSANA)
    await office.settled()
    assert (await office.deliveries())[-1] == ("muted", Delivery.FAILED)
    assert (len(homeserver.all("send")), len(homeserver.all("join"))) == (2, 1)
    assert await office.members() == {OKSANAS_GHOST}


async def test_unknown_device_made_anew_and_message_sent(office: Office, homeserver: ScriptedHomeserver) -> None:
    await office.post("перше", author=OKSANA)
    await office.settled()
    homeserver.next("send", refused(400, "M_UNKNOWN_DEVICE", "a device that doesn't exist"))
    # What Synapse says of a user who was deactivated and reactivated.
    homeserver.next("register", refused(400, "M_USER_IN_USE"))
    await office.post("друге", author=OKSANA)
    assert await office.settled() == [("перше", Delivery.SENT), ("друге", Delivery.SENT)]
    assert len(homeserver.all("device")) == 2
    assert [asked.content for asked in homeserver.all("profile")] == [{"displayname": "Оксана"}] * 2, (
        "the name is lost, too"
    )


async def test_device_refused_again_and_again_gives_the_message_up(
    office: Office, homeserver: ScriptedHomeserver
) -> None:
    unknown = refused(400, "M_UNKNOWN_DEVICE", "a device that doesn't exist")
    homeserver.next("send", *[unknown] * 3)
    await office.post("перше", author=OKSANA)
    assert await office.settled() == [("перше", Delivery.FAILED)]


async def test_account_of_a_person_not_taken_over(office: Office, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("register", *[refused(400, "M_USER_IN_USE")] * 20)
    homeserver.next("devices", *[Reply(200, {"devices": [{"device_id": "ELEMENT"}]})] * 20)
    await office.post("перше", author=OKSANA)
    assert await office.settled() == [("перше", Delivery.FAILED)]
    assert homeserver.all("profile") == homeserver.all("send") == []


async def test_ghost_of_an_earlier_database_taken_over(office: Office, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("register", refused(400, "M_USER_IN_USE"))
    homeserver.next("devices", Reply(200, {"devices": [{"device_id": "CITY"}]}))
    await office.post("перше", author=OKSANA)
    assert await office.settled() == [("перше", Delivery.SENT)]


@pytest.mark.parametrize(
    ("said_ms", "waited_ms"), [(120, 120), (10**12, 300_000), (-5, 0), (True, 1_000), ("soon", 1_000)]
)
async def test_retry_after_of_a_429_honoured_and_bounded(
    homeserver: ScriptedHomeserver, said_ms: object, waited_ms: int
) -> None:
    homeserver.next("versions", refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=said_ms))
    client = Homeserver(homeserver.url, "as_token")
    with capture_logs() as logs, pytest.raises(HomeserverRateLimited) as limited:
        await client.versions()
    assert limited.value.retry_after_ms == waited_ms
    assert [line["event"] for line in logs] == ["rate_limited"]
    assert "rate_limited: false" in logs[0]["help"]
    await client.close()


async def test_limited_message_waits_as_long_as_the_homeserver_says(
    office: Office, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_MIN_RATE_LIMIT_MS", 1)
    homeserver.next("send", refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=300))
    await office.post("перше", author=OKSANA)
    begun_ms = steady_ms()
    assert await office.settled() == [("перше", Delivery.SENT)]
    assert steady_ms() - begun_ms >= 290


async def test_refused_token_noticed_and_its_return_too(homeserver: ScriptedHomeserver) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.found()
    returns: list[None] = []
    monitor.on_return(lambda: returns.append(None))
    homeserver.next("versions", *[refused(401, "M_UNKNOWN_TOKEN")] * 3)
    with capture_logs() as logs:
        for _ in range(3):
            await monitor._probe()
        assert monitor.refusal == "does not accept our as_token (M_UNKNOWN_TOKEN)"
        await monitor._probe()
    assert monitor.refusal is None
    assert [line["event"] for line in logs] == ["token_refused", "token_accepted"]
    assert len(returns) == 1, "what waits is tried again at once"
    await client.close()


async def test_ping_with_refused_token_names_the_token(homeserver: ScriptedHomeserver) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.found()
    homeserver.next("ping", *[refused(401, "M_UNKNOWN_TOKEN")] * 2)
    with capture_logs() as logs:
        for _ in range(2):
            assert not await monitor.request_delivery()
    assert [line["event"] for line in logs] == ["token_refused"]
    assert monitor.refusal == "does not accept our as_token (M_UNKNOWN_TOKEN)"
    assert monitor.unreached is None
    await client.close()


@pytest.mark.parametrize(
    ("code", "message", "said", "help_"),
    [
        ("M_BAD_STATUS", "HTTP 403 Forbidden", "has another hs_token", "another hs_token"),
        ("M_CONNECTION_FAILED", "refused: 111", "cannot reach us: 502 M_CONNECTION_FAILED: refused: 111", "address"),
        (
            "M_CONNECTION_FAILED",
            "OpenSSL.SSL.Error",
            "cannot reach us: 502 M_CONNECTION_FAILED: OpenSSL.SSL.Error",
            "TLS",
        ),
        ("M_URL_NOT_SET", "no URL set", "has a registration of this service without url", "no url"),
        ("M_FORBIDDEN", "Mismatching ID", "has a registration of this service with another id", "another id"),
    ],
)
async def test_pings_that_fail_are_named_until_one_arrives(
    homeserver: ScriptedHomeserver, code: str, message: str, said: str, help_: str
) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.found()
    homeserver.next("ping", *[refused(502, code, message)] * 3)
    with capture_logs() as logs:
        assert not await monitor.request_delivery()
        assert monitor.unreached is None, "one may fail while Synapse starts"
        assert not await monitor.request_delivery()
        assert monitor.unreached == said
        assert not await monitor.request_delivery()
        assert await monitor.request_delivery()
        assert monitor.unreached is None
    assert [line["event"] for line in logs] == ["homeserver_cannot_reach_us", "homeserver_reaches_us"]
    assert help_ in logs[0]["help"]
    await client.close()
