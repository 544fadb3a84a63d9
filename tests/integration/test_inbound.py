"""Stored events → the city: in order within a room, each exactly once, none in the way of others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.events import CityEvent, MembershipChanged, MessagePosted
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, AuthorKind, Delivery, Message, MessageId, Room, UserId
from daarion_appservice.clock import new_id, now_ms, steady_ms
from daarion_appservice.errors import Conflict
from daarion_appservice.matrix.backfill.gap_backfill import GapBackfill
from daarion_appservice.matrix.backfill.metrics import Missed
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.inbound import confirmation as confirmation_module
from daarion_appservice.matrix.inbound import worker as inbound_module
from daarion_appservice.matrix.inbound.confirmation import Confirmation
from daarion_appservice.matrix.inbound.dispatch import EventHandlers
from daarion_appservice.matrix.inbound.worker import MAX_ATTEMPTS, InboundWorker
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.inbox import InboxRow
from tests.parts.city import eventually
from tests.parts.messaging import IDENTITIES, MessagingHarness, link, messaging_harness
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver, refused

GENERAL, BUILDERS = "!general", "!builders"
ALICE = "@alice:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"


class BreakableHandlers(EventHandlers):
    """The city's handlers, which fail at some events, or do not come to an end with them."""

    def __init__(self, desk: MessagingHarness) -> None:
        super().__init__(desk.message_events, desk.member_events, desk.state_events, desk.chat_events)
        self.broken: set[str] = set()
        self.endless: set[str] = set()
        self.tried: list[str] = []

    async def handle(
        self, tx: Transaction, event: dict[str, Any], *, before: MessageId | None = None
    ) -> list[CityEvent]:
        happened = await super().handle(tx, event, before=before)
        event_id = event["event_id"]
        self.tried.append(event_id)
        if event_id in self.endless:
            await asyncio.Event().wait()
        if event_id in self.broken:
            raise RuntimeError(f"{event_id} is too much")
        return happened


class NothingMissed(GapBackfill):
    """There is no homeserver that could have lost anything."""

    def __init__(self) -> None:
        self.inbox_lock = asyncio.Lock()

    async def run(self, _reason: Missed) -> int:
        return 0


@dataclass
class Inside:
    """A city's inside from the inbox on, with the rooms general and builders."""

    database: Database
    handlers: BreakableHandlers
    inbound: InboundWorker
    desk: MessagingHarness
    homeserver: ScriptedHomeserver
    published: list[CityEvent] = field(default_factory=list)

    async def store(self, *events: dict[str, Any]) -> None:
        async with self.database.transaction() as tx:
            rows = [inbox_event(event) for event in events]
            await tx.inbox.add(rows, now_ms=now_ms())
        self.inbound.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.inbound.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def handle_all(self) -> None:
        """Until nothing waits any more."""
        async with self.running():
            await eventually(self._nothing_waits)

    async def _nothing_waits(self) -> bool:
        return not await self.waiting()

    async def waiting(self) -> list[InboxRow]:
        async with self.database.reading() as tx:
            return await tx.inbox.waiting(after_id=0, limit=1000)

    async def dead(self) -> list[InboxRow]:
        async with self.database.reading() as tx:
            return await tx.inbox.dead()

    async def in_room(self, room: str = "general") -> list[Message]:
        async with self.database.reading() as tx:
            found = await tx.rooms.find(room)
            assert found is not None
            return await tx.messages.before(found.id, None, limit=1000)

    async def bodies(self, room: str = "general") -> list[str]:
        return [message.body for message in await self.in_room(room)]

    async def room(self, slug: str = "general") -> Room:
        async with self.database.reading() as tx:
            room = await tx.rooms.find(slug)
        assert room is not None
        return room


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Inside]:
    database = Database(url)
    published: list[CityEvent] = []
    office = messaging_harness(database, published.append)
    handlers = BreakableHandlers(office)
    scripted = ScriptedHomeserver()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await stack.enter_async_context(scripted.serving())
        homeserver = Homeserver(scripted.url, "as-token")
        stack.push_async_callback(homeserver.close)
        monitor = HomeserverMonitor(homeserver, "city")
        monitor.found()
        await migrate.upgrade(database)
        rooms = Rooms(database, lambda _: None, now_ms, new_id)
        for slug, matrix_room in (("general", GENERAL), ("builders", BUILDERS)):
            with suppress(Conflict):  # it was opened before
                room = await rooms.open(slug, slug=slug)
                async with database.transaction() as tx:
                    await link(tx, room.id, matrix_room)
        confirmation = Confirmation(homeserver, database, IDENTITIES, handlers.types, CollectorRegistry(), steady_ms)
        inbound = InboundWorker(database, handlers, monitor, NothingMissed(), confirmation, published.append, steady_ms)
        yield Inside(database, handlers, inbound, office, scripted, published)


@pytest.fixture
async def inside(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setattr(inbound_module, "_MIN_RETRY_MS", 4)
    async with opened(database_url) as inside:
        yield inside


def said(event_id: str, body: Any = None, *, room: str = GENERAL, sender: Any = ALICE, **more: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "room_id": room,
        "type": "m.room.message",
        "sender": sender,
        "origin_server_ts": 1_764_187_200_000,
        "content": {"msgtype": "m.text", "body": event_id if body is None else body},
    } | more


def joined(event_id: str, user: str, membership: str = "join", **content: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "room_id": GENERAL,
        "type": "m.room.member",
        "sender": user,
        "state_key": user,
        "content": {"membership": membership} | content,
    }


def state(event_id: str, event_type: str, content: dict[str, Any], sender: str = ALICE) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "room_id": GENERAL,
        "type": event_type,
        "sender": sender,
        "state_key": "",
        "content": content,
    }


# --- the way in ---------------------------------------------------------------------------------------


async def test_messages_come_in_in_the_order_of_their_room(inside: Inside) -> None:
    async with inside.running():
        for start in range(0, 250, 50):
            await inside.store(
                *(said(f"$g{n}") for n in range(start, start + 50)),
                *(said(f"$b{n}", room=BUILDERS) for n in range(start, start + 50)),
            )
        await eventually(inside._nothing_waits)

    for room, letter in (("general", "g"), ("builders", "b")):
        messages = await inside.in_room(room)
        assert [message.body for message in messages] == [f"${letter}{n}" for n in range(250)]
        assert [message.seq for message in messages] == list(range(1, 251))
    published = [event.message.id for event in inside.published if isinstance(event, MessagePosted)]
    assert len(published) == len(set(published)) == 500


async def test_a_message_from_matrix_looks_in_the_city_as_it_was_written(inside: Inside) -> None:
    await inside.store(joined("$1", ALICE, displayname="Аліса", avatar_url="mxc://city.localhost/a"))
    await inside.store(said("$2", "Привіт\0!"), said("$3", sender="@bob:elsewhere.org"))
    await inside.handle_all()

    alices, bobs = await inside.in_room()
    assert alices.author == Author(AuthorKind.MATRIX, ALICE, "Аліса", "mxc://city.localhost/a")
    assert (alices.body, alices.matrix_event_id) == ("Привіт\N{REPLACEMENT CHARACTER}!", "$2")
    assert (alices.created_at_ms, alices.delivery, alices.seq) == (1_764_187_200_000, Delivery.SENT, 2)
    assert bobs.author == Author(AuthorKind.MATRIX, "@bob:elsewhere.org", "@bob:elsewhere.org")
    assert (await inside.room()).last_event_ms == 1_764_187_200_000


@pytest.mark.parametrize("ts", [-1, 0, 1, 1_388_534_400_000, 1 << 70, True, None, "now", 1.5, [1]])
async def test_a_time_that_cannot_be_does_no_harm(inside: Inside, ts: Any) -> None:
    await inside.store(said("$1", origin_server_ts=ts))
    await inside.handle_all()
    (message,) = await inside.in_room()
    assert now_ms() - 60_000 < message.created_at_ms <= now_ms()


async def test_what_is_no_text_of_an_inhabitant_is_no_message(inside: Inside) -> None:
    edit = {"msgtype": "m.text", "body": "* better", "m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}}
    await inside.store(
        said("$1", content={"msgtype": "m.key.verification.request", "body": "?"}),
        said("$2", content=edit),
        said("$3", sender=IDENTITIES.bot),
        said("$4", sender=IDENTITIES.observer),
        said("$5", type="m.reaction"),
        said("$6", room="!elsewhere"),
        said("$7", content={}),
        said("$8", content="hi"),
        said("$9", content={"msgtype": {}, "body": "hi"}),
        said("$10", content={"msgtype": ["m.text"], "body": "hi"}),
        said("$11", content={"msgtype": "m.text", "body": ["hi"]}),
        said("$12", sender=None),
        said("$13", sender="alice"),
        said("$14", sender="@" + "x" * 300 + ":hs"),
        said("$15"),
    )
    await inside.handle_all()
    assert await inside.bodies() == ["$15"]
    assert await inside.dead() == []
    assert len(inside.handlers.tried) == 15, "nothing of it was tried twice"


async def test_members_come_and_go(inside: Inside) -> None:
    await inside.store(
        joined("$1", ALICE, displayname="Alice"),
        joined("$2", SCRIBE),
        joined("$3", "@bob:city.localhost"),
        joined("$4", "@bob:city.localhost", "leave"),
        joined("$5", IDENTITIES.bot),
        joined("$6", "@carol:city.localhost", "invite"),
        joined("$7", "@" + "x" * 300 + ":hs"),
        joined("$8", ALICE, displayname="Аліса"),
    )
    await inside.handle_all()

    async with inside.database.reading() as tx:
        members = {member.user_id: member.display_name for member in await tx.members.all()}
    assert members == {ALICE: "Аліса", SCRIBE: None}
    changes = [(event.subject, event.joined) for event in inside.published if isinstance(event, MembershipChanged)]
    assert changes == [
        (ALICE, True),
        ("agent:scribe", True),
        ("@bob:city.localhost", True),
        ("@bob:city.localhost", False),
    ]


@pytest.mark.parametrize("last", ["invite", "join"])
async def test_invitation_withdrawn_or_repeated_without_a_message_between_is_handled(inside: Inside, last: str) -> None:
    carol = UserId("@carol:city.localhost")

    def invited(number: int) -> dict[str, Any]:
        return joined(f"${number}", carol, "invite", reason=str(number)) | {"sender": ALICE}

    await inside.store(said("$0"), invited(1), invited(2), joined("$3", carol, "leave"), invited(4))
    await inside.store(joined("$5", carol, "leave"), joined("$6", carol, last), said("$7"))
    await inside.handle_all()

    assert await inside.dead() == []
    room = await inside.room()
    async with inside.database.reading() as tx:
        reading = await tx.membership_periods.reading(room.id, [carol])
        is_member = carol in {member.user_id for member in await tx.members.of_room(room.id)}
    assert is_member == (last == "join")
    # The stay that lasts is the only one that holds any event.
    assert len(reading.invited) == 1


async def test_a_room_is_called_what_people_call_it_on_matrix(inside: Inside) -> None:
    def state(event_id: str, kind: str, content: Any, **more: Any) -> dict[str, Any]:
        return said(event_id, type=f"m.room.{kind}", content=content, state_key="") | more

    await inside.store(
        state("$1", "name", {"name": "Майдан"}),
        state("$2", "topic", {"topic": "Усе\0"}),
        state("$3", "name", {"name": ""}),
        state("$4", "name", {"name": 5}),
        state("$5", "name", {"name": "ours"}, sender=IDENTITIES.bot),
        state("$6", "name", {"name": "not the room's"}, state_key="x"),
        said("$7", type="m.room.name", content={"name": "no state at all"}),
    )
    await inside.handle_all()
    room = await inside.room()
    assert (room.name, room.description) == ("Майдан", "Усе\N{REPLACEMENT CHARACTER}")


# --- echoes -------------------------------------------------------------------------------------------


async def test_the_echo_of_a_message_of_ours_says_that_it_arrived_and_is_no_other(inside: Inside) -> None:
    scribe = Author(AuthorKind.AGENT, "scribe", "Писар")
    posted = await inside.desk.post(scribe, "general", "записую")
    content = {"msgtype": "m.text", "body": "записую", MESSAGE_ID: posted.id}

    await inside.store(said("$echo", sender=SCRIBE, content=content))
    await inside.handle_all()

    (message,) = await inside.in_room()
    assert (message.id, message.matrix_event_id, message.delivery) == (posted.id, "$echo", Delivery.SENT)
    async with inside.database.reading() as tx:
        assert await tx.outbox.waiting(limit=10) == [], "nothing is sent again"


async def test_nobody_else_can_pass_off_a_message_as_an_echo(inside: Inside) -> None:
    posted = await inside.desk.post(Author(AuthorKind.AGENT, "scribe", "Писар"), "general", "so")
    content = {"msgtype": "m.text", "body": "forged", MESSAGE_ID: posted.id}

    await inside.store(said("$forged", content=content))
    await inside.handle_all()

    ours, theirs = await inside.in_room()
    assert (ours.delivery, ours.matrix_event_id) == (Delivery.PENDING, None)
    assert (theirs.body, theirs.author.id) == ("forged", ALICE)


@pytest.mark.parametrize("message_id", ["unknown", "\0", "", 5, None, ["x"]])
async def test_a_ghosts_message_that_is_not_known_is_a_message(inside: Inside, message_id: Any) -> None:
    content = {"msgtype": "m.text", "body": "from a backup", MESSAGE_ID: message_id}
    await inside.store(said("$1", sender=SCRIBE, content=content))
    await inside.handle_all()
    (message,) = await inside.in_room()
    assert message.author.id == "scribe"


# --- when it goes wrong -------------------------------------------------------------------------------


async def test_an_event_that_fails_for_a_while_comes_in_late_and_in_its_place(inside: Inside) -> None:
    inside.handlers.broken = {"$2"}
    await inside.store(said("$1"), said("$2"), said("$3"), said("$b", room=BUILDERS))

    async with inside.running():
        await eventually(lambda: _is(inside.handlers.tried.count("$2") >= 3))
        assert await inside.bodies() == ["$1"], "what follows in its room waits"
        assert await inside.bodies("builders") == ["$b"], "another room does not"
        inside.handlers.broken = set()
        await eventually(inside._nothing_waits)

    assert await inside.bodies() == ["$1", "$2", "$3"]
    assert [message.seq for message in await inside.in_room()] == [1, 2, 3], "a failed try took no number"
    assert len(inside.published) == 4


async def test_an_event_that_always_fails_becomes_a_dead_letter_and_its_room_goes_on(inside: Inside) -> None:
    inside.handlers.broken = {"$2"}
    await inside.store(said("$1"), said("$2"), said("$3"))
    await inside.handle_all()

    assert await inside.bodies() == ["$1", "$3"]
    (dead,) = await inside.dead()
    assert (dead.event_id, dead.matrix_room_id, dead.attempts) == ("$2", GENERAL, MAX_ATTEMPTS)
    assert dead.error == "RuntimeError: $2 is too much"
    assert json.loads(dead.event) == said("$2"), "it is kept as it came"


async def test_a_dead_letter_works_once_its_cause_is_gone_and_somebody_says_retry(inside: Inside) -> None:
    inside.handlers.broken = {"$1"}
    await inside.store(said("$1"), said("$2"))
    await inside.handle_all()
    inside.handlers.broken = set()

    async with inside.database.transaction() as tx:
        assert await tx.inbox.retry(["$other"]) == 0
        assert await tx.inbox.retry(["$1"]) == 1
    await inside.handle_all()

    assert await inside.bodies() == ["$2", "$1"]
    assert await inside.dead() == []


async def test_events_that_never_had_a_name_can_be_retried_without_harm(inside: Inside) -> None:
    await inside.store({"type": "m.room.message"}, said("$1"))
    async with inside.database.transaction() as tx:
        rows = [inbox_event(event) for event in (["no", "event"], 5, None)]
        await tx.inbox.add(rows, now_ms=1)
        assert await tx.inbox.retry(None) == 4
    await inside.handle_all()
    assert await inside.bodies() == ["$1"]


async def test_a_crash_in_the_middle_repeats_nothing_and_loses_nothing(inside: Inside) -> None:
    inside.handlers.endless = {"$2"}
    await inside.store(said("$1"), said("$2"), said("$3"))
    async with inside.running():
        await eventually(lambda: _is("$2" in inside.handlers.tried))
    assert await inside.bodies() == [], "nothing of a batch is there before all of it is"
    assert inside.published == []

    inside.handlers.endless = set()
    await inside.handle_all()
    await inside.handle_all()

    assert await inside.bodies() == ["$1", "$2", "$3"]
    assert len(inside.published) == 3


async def test_what_was_handled_leaves_its_id_behind_and_nothing_else(inside: Inside) -> None:
    await inside.store(said("$1", "a secret"))
    await inside.handle_all()
    await inside.store(said("$1", "a secret"))
    await inside.handle_all()

    assert await inside.bodies() == ["a secret"]
    async with inside.database.reading() as tx:
        rows = (await tx.connection.exec_driver_sql("SELECT event_id, event, state FROM inbox")).all()
    assert [tuple(row) for row in rows] == [("$1", "", "done")]


async def _is(true: bool) -> bool:
    return true


# --- anything at all ----------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OURS = st.sampled_from([SCRIBE, "@citizen_u_1:city.localhost", IDENTITIES.bot, "@citizen_=ff:city.localhost"])
IDS = OURS | st.sampled_from([ALICE, "@" + "x" * 300 + ":hs", "@a:\0", ""]) | ANYTHING
CONTENTS = (
    st.fixed_dictionaries(
        {},
        optional={
            "msgtype": st.sampled_from(["m.text", "m.notice"]) | ANYTHING,
            "body": ANYTHING,
            "membership": st.sampled_from(["join", "leave"]) | ANYTHING,
            "displayname": ANYTHING,
            "avatar_url": ANYTHING,
            "name": ANYTHING,
            "topic": ANYTHING,
            "m.relates_to": ANYTHING,
            MESSAGE_ID: ANYTHING,
        },
    )
    | ANYTHING
)
KINDS = [
    "m.room.message",
    "m.sticker",
    "m.reaction",
    "m.room.redaction",
    "m.room.member",
    "m.room.name",
    "m.room.topic",
]
EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(KINDS) | ANYTHING,
        "room_id": st.just(GENERAL) | ANYTHING,
    },
    optional={
        "event_id": TEXTS.map("${}".format) | ANYTHING,
        "sender": IDS,
        "state_key": st.just("") | IDS,
        "origin_server_ts": st.integers() | ANYTHING,
        "content": CONTENTS,
    },
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENTS, min_size=40, max_size=40))
@example(
    events=[said("$1", content={"msgtype": [], "body": ""}), said("$2", sender=SCRIBE, content={MESSAGE_ID: "\0"})]
)
def test_no_event_whatsoever_breaks_a_handler(database_url: str, events: list[dict[str, Any]]) -> None:
    async def handle_each() -> None:
        async with opened(database_url) as inside:
            for event in events:
                async with inside.database.transaction() as tx:
                    await inside.desk.handlers().handle(tx, event)

    asyncio.run(handle_each())


# --- names in our namespace that are nobody's ---------------------------------------------------------


@pytest.mark.parametrize(
    "nobody", ["@citizen_" + "=ff" * 60, "@citizen_agent=3adaarwizz", "@agent_=64aarwizz", "@agent_"]
)
async def test_events_of_a_ghost_that_nobody_can_have_come_to_nothing(inside: Inside, nobody: str) -> None:
    sender = f"{nobody}:city.localhost"
    daarwizz = said("$1", "as it was written", sender="@agent_daarwizz:city.localhost")
    edit = {"body": "* rewritten", "m.new_content": {"msgtype": "m.text", "body": "rewritten"}}
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}}
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$1", "key": "👍"}}
    await inside.store(
        daarwizz,
        said("$2", sender=sender),
        said("$3", sender=sender) | {"content": {"msgtype": "m.text"} | edit | relation},
        said("$4", sender=sender) | {"type": "m.reaction", "content": reaction},
        joined("$5", sender),
        said("$6", "after"),
    )
    await inside.handle_all()

    assert await inside.bodies() == ["as it was written", "after"]
    assert not await inside.dead()
    async with inside.database.reading() as tx:
        assert await tx.members.all() == []


# --- texts of other servers ---------------------------------------------------------------------------


async def test_names_from_other_servers_are_bounded(inside: Inside) -> None:
    long = "я" * 5_000
    picture = {"avatar_url": "mxc://elsewhere.org/" + "x" * 5_000}
    await inside.store(
        joined("$1", ALICE, displayname=long, **picture),
        said("$2"),
        state("$3", "m.room.name", {"name": long}),
        state("$4", "m.room.topic", {"topic": long}),
    )
    await inside.handle_all()

    async with inside.database.reading() as tx:
        (member,) = await tx.members.all()
    assert (member.display_name, member.avatar_url) == ("я" * 255, None)
    (message,) = await inside.in_room()
    assert message.author.display_name == "я" * 255
    room = await inside.room()
    assert (room.name, room.description) == ("я" * 255, "я" * 2_000)


# --- events of other servers --------------------------------------------------------------------------

FAY = "@fay:elsewhere.org"
UNSEEN = refused(404, "M_NOT_FOUND", "Event not found.")


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation_module, "_RETRY_DELAYS_MS", (10, 20))


async def test_an_event_that_is_never_shown_is_dropped_and_holds_up_nobody(inside: Inside, quick_looks: None) -> None:
    inside.homeserver.next("event", UNSEEN, UNSEEN, UNSEEN)
    await inside.store(said("$1", sender=FAY), said("$2"))
    await inside.handle_all()

    assert await inside.bodies() == ["$2"]
    assert [asked.path["event"] for asked in inside.homeserver.all("event")].count("$1") == 3
    assert not await inside.dead()


async def test_an_event_that_is_shown_only_later_comes_in(inside: Inside, quick_looks: None) -> None:
    inside.homeserver.next("event", UNSEEN)
    await inside.store(said("$1", sender=FAY), said("$2"))
    await inside.handle_all()

    assert sorted(await inside.bodies()) == ["$1", "$2"]


async def test_events_of_local_people_are_not_looked_for(inside: Inside) -> None:
    await inside.store(said("$1"), joined("$2", ALICE), state("$3", "m.room.name", {"name": "New"}))
    await inside.handle_all()

    assert inside.homeserver.asked == []


async def test_many_remote_events_are_found_in_one_page_of_history(inside: Inside) -> None:
    events = [said(f"${n}", sender=FAY) for n in range(20)]
    inside.homeserver.next("messages", Reply(200, {"chunk": events[::-1]}))
    await inside.store(*events)
    await inside.handle_all()

    assert await inside.bodies() == [f"${n}" for n in range(20)]
    assert [asked.what for asked in inside.homeserver.asked] == ["messages"]


async def test_a_remote_state_event_counts_as_what_the_room_s_state_is(inside: Inside) -> None:
    now = state("$now", "m.room.name", {"name": "As it is"}, sender=FAY)
    for _ in range(2):
        inside.homeserver.next("state", Reply(200, now))
    await inside.store(state("$lost", "m.room.name", {"name": "As it was claimed"}, sender=FAY), said("$1"))
    await inside.handle_all()

    assert (await inside.room()).name == "As it is"


async def test_a_soft_failed_join_leaves_somebody_banned(inside: Inside) -> None:
    ban = joined("$ban", FAY, "ban") | {"sender": ALICE}
    await inside.store(joined("$join", ALICE), ban)
    inside.homeserver.next("state", Reply(200, ban))
    await inside.store(joined("$back", FAY, displayname="Not banned"))
    await inside.handle_all()

    async with inside.database.reading() as tx:
        assert [member.user_id for member in await tx.members.all()] == [ALICE]


async def test_a_homeserver_that_refuses_to_say_holds_up_that_room_alone(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation_module, "_MIN_PAUSE_MS", 10)
    inside.homeserver.next("event", refused(500, "M_UNKNOWN"))
    await inside.store(said("$1", sender=FAY), said("$2"), said("$3", room=BUILDERS))
    await inside.handle_all()

    assert await inside.bodies() == ["$1", "$2"]
    assert await inside.bodies("builders") == ["$3"]


@pytest.mark.parametrize("answer", [refused(400, "M_INVALID_PARAM"), refused(413, "M_TOO_LARGE"), Reply(200, [])])
async def test_state_that_is_always_refused_fails_alone(inside: Inside, answer: Reply) -> None:
    if answer.status == 200:
        # Only the whole state is a list, and a change of power levels has the whole state read.
        inside.homeserver.next("whole_state", *[Reply(200, {})] * MAX_ATTEMPTS)
        event = state("$1", "m.room.power_levels", {}, sender=FAY)
    else:
        inside.homeserver.next("state", *[answer] * MAX_ATTEMPTS)
        event = state("$1", "m.room.name", {"name": "New"}, sender=FAY)
    await inside.store(event, said("$2"), said("$3", room=BUILDERS))
    await inside.handle_all()

    assert [row.event_id for row in await inside.dead()] == ["$1"]
    assert (await inside.bodies(), await inside.bodies("builders")) == (["$2"], ["$3"])


async def test_a_message_that_was_found_late_stands_where_it_belongs(inside: Inside) -> None:
    await inside.store(said("$1"), said("$3"), joined("$4", "@carol:city.localhost"), said("$5"))
    await inside.handle_all()
    _, third, _ = await inside.in_room()
    late = [replace(inbox_event(said(each)), before_message=third.id, is_confirmed=True) for each in ("$2a", "$2b")]
    async with inside.database.transaction() as tx:
        await tx.inbox.add(late, now_ms=now_ms())
    await inside.handle_all()

    messages = await inside.in_room()
    assert [each.matrix_event_id for each in messages] == ["$1", "$2a", "$2b", "$3", "$5"]
    room = await inside.room()
    async with inside.database.reading() as tx:
        history = await tx.room_events.after(room.id, 0, limit=100)
        reading = await tx.membership_periods.reading(room.id, [UserId("@carol:city.localhost")])
    seqs = [event.seq for event in history]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == room.last_seq
    # Whoever came between two messages still came between them.
    assert messages[3].seq < reading.joined[-1][0] < messages[4].seq
    assert RoomEventKind.RESYNC in {event.kind for event in history}
