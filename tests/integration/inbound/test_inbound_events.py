"""Events of the inbox become messages, memberships, room names and delivery marks of the city."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.events import MembershipChanged, MessagePosted
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import Author, AuthorKind, Delivery, UserId
from daarion_appservice.clock import now_ms
from daarion_appservice.matrix.client.inbox_events import inbox_event
from tests.parts.city import eventually
from tests.parts.inbound_harness import (
    ALICE,
    BUILDERS,
    SCRIBE,
    InboundHarness,
    member_event,
    message_event,
    state_event,
)
from tests.parts.messaging import IDENTITIES


async def test_messages_keep_the_order_of_their_room(harness: InboundHarness) -> None:
    async with harness.running():
        for start in range(0, 120, 30):
            await harness.store(
                *(message_event(f"$g{n}") for n in range(start, start + 30)),
                *(message_event(f"$b{n}", room=BUILDERS) for n in range(start, start + 30)),
            )
        await eventually(harness.is_empty, timeout_s=60)

    for room, letter in (("general", "g"), ("builders", "b")):
        messages = await harness.in_room(room)
        assert [message.body for message in messages] == [f"${letter}{n}" for n in range(120)]
        assert [message.seq for message in messages] == list(range(1, 121))
    published = [event.message.id for event in harness.published if isinstance(event, MessagePosted)]
    assert len(published) == len(set(published)) == 240


async def test_matrix_message_is_stored_with_author_and_time(harness: InboundHarness) -> None:
    await harness.store(member_event("$1", ALICE, displayname="Аліса", avatar_url="mxc://city.localhost/a"))
    await harness.store(message_event("$2", "Привіт\0!"), message_event("$3", sender="@bob:elsewhere.org"))
    await harness.handle_all()

    alices, bobs = await harness.in_room()
    assert alices.author == Author(AuthorKind.MATRIX, ALICE, "Аліса", "mxc://city.localhost/a")
    assert (alices.body, alices.matrix_event_id) == ("Привіт\N{REPLACEMENT CHARACTER}!", "$2")
    assert (alices.created_at_ms, alices.delivery, alices.seq) == (1_764_187_200_000, Delivery.SENT, 2)
    assert bobs.author == Author(AuthorKind.MATRIX, "@bob:elsewhere.org", "@bob:elsewhere.org")
    assert (await harness.room()).last_event_ms == 1_764_187_200_000


@pytest.mark.parametrize("ts", [-1, 0, 1, 1_388_534_400_000, 1 << 70, True, None, "now", 1.5, [1]])
async def test_impossible_timestamp_becomes_now(harness: InboundHarness, ts: Any) -> None:
    await harness.store(message_event("$1", origin_server_ts=ts))
    await harness.handle_all()
    (message,) = await harness.in_room()
    assert now_ms() - 60_000 < message.created_at_ms <= now_ms()


async def test_events_without_readable_text_are_no_messages(harness: InboundHarness) -> None:
    edit = {"msgtype": "m.text", "body": "* better", "m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}}
    await harness.store(
        message_event("$1", content={"msgtype": "m.key.verification.request", "body": "?"}),
        message_event("$2", content=edit),
        message_event("$3", sender=IDENTITIES.bot),
        message_event("$4", sender=IDENTITIES.observer),
        message_event("$5", type="m.reaction"),
        message_event("$6", room="!elsewhere"),
        message_event("$7", content={}),
        message_event("$8", content="hi"),
        message_event("$11", content={"msgtype": "m.text", "body": ["hi"]}),
        message_event("$12", sender=None),
        message_event("$13", sender="alice"),
        message_event("$14", sender="@" + "x" * 300 + ":hs"),
        message_event("$15"),
    )
    await harness.handle_all()
    assert await harness.bodies() == ["$15"]
    assert await harness.dead() == []
    assert len(harness.handlers.tried) == 13, "nothing of it was tried twice"


async def test_member_events_change_memberships(harness: InboundHarness) -> None:
    await harness.store(
        member_event("$1", ALICE, displayname="Alice"),
        member_event("$2", SCRIBE),
        member_event("$3", "@bob:city.localhost"),
        member_event("$4", "@bob:city.localhost", "leave"),
        member_event("$5", IDENTITIES.bot),
        member_event("$6", "@carol:city.localhost", "invite"),
        member_event("$7", "@" + "x" * 300 + ":hs"),
        member_event("$8", ALICE, displayname="Аліса"),
    )
    await harness.handle_all()

    async with harness.database.read_only() as tx:
        members = {member.user_id: member.display_name for member in await tx.members.all()}
    assert members == {ALICE: "Аліса", SCRIBE: None}
    changes = [(event.subject, event.joined) for event in harness.published if isinstance(event, MembershipChanged)]
    assert changes == [
        (ALICE, True),
        ("agent:scribe", True),
        ("@bob:city.localhost", True),
        ("@bob:city.localhost", False),
    ]


@pytest.mark.parametrize("last", ["invite", "join"])
async def test_repeated_invitation_leaves_one_period(harness: InboundHarness, last: str) -> None:
    carol = UserId("@carol:city.localhost")

    def invited(number: int) -> dict[str, Any]:
        return member_event(f"${number}", carol, "invite", reason=str(number)) | {"sender": ALICE}

    await harness.store(message_event("$0"), invited(1), invited(2), member_event("$3", carol, "leave"), invited(4))
    await harness.store(member_event("$5", carol, "leave"), member_event("$6", carol, last), message_event("$7"))
    await harness.handle_all()

    assert await harness.dead() == []
    room = await harness.room()
    async with harness.database.read_only() as tx:
        readable = await tx.membership_periods.readable_ranges(room.id, [carol])
        is_member = carol in {member.user_id for member in await tx.members.of_room(room.id)}
    assert is_member == (last == "join")
    # The stay that lasts is the only one that holds any event.
    assert len(readable.invited) == 1


async def test_name_and_topic_follow_matrix(harness: InboundHarness) -> None:
    def state_event(event_id: str, kind: str, content: Any, **more: Any) -> dict[str, Any]:
        return message_event(event_id, type=f"m.room.{kind}", content=content, state_key="") | more

    await harness.store(
        state_event("$1", "name", {"name": "Майдан"}),
        state_event("$2", "topic", {"topic": "Усе\0"}),
        state_event("$5", "name", {"name": "ours"}, sender=IDENTITIES.bot),
        state_event("$6", "name", {"name": "not the room's"}, state_key="x"),
        message_event("$7", type="m.room.name", content={"name": "no state at all"}),
    )
    await harness.handle_all()
    room = await harness.room()
    assert (room.name, room.description) == ("Майдан", "Усе\N{REPLACEMENT CHARACTER}")


async def test_echo_marks_own_message_sent(harness: InboundHarness) -> None:
    scribe = Author(AuthorKind.AGENT, "scribe", "Писар")
    posted = await harness.messaging.post(scribe, "general", "записую")
    content = {"msgtype": "m.text", "body": "записую", MESSAGE_ID: posted.id}

    await harness.store(message_event("$echo", sender=SCRIBE, content=content))
    await harness.handle_all()

    (message,) = await harness.in_room()
    assert (message.id, message.matrix_event_id, message.delivery) == (posted.id, "$echo", Delivery.SENT)
    async with harness.database.read_only() as tx:
        assert await tx.outbox.waiting(limit=10) == [], "nothing is sent again"


async def test_echo_of_another_sender_is_a_new_message(harness: InboundHarness) -> None:
    posted = await harness.messaging.post(Author(AuthorKind.AGENT, "scribe", "Писар"), "general", "so")
    content = {"msgtype": "m.text", "body": "forged", MESSAGE_ID: posted.id}

    await harness.store(message_event("$forged", content=content))
    await harness.handle_all()

    ours, theirs = await harness.in_room()
    assert (ours.delivery, ours.matrix_event_id) == (Delivery.PENDING, None)
    assert (theirs.body, theirs.author.id) == ("forged", ALICE)


@pytest.mark.parametrize("message_id", ["unknown", "\0", "", 5, None, ["x"]])
async def test_unknown_message_id_of_ghost_is_a_new_message(harness: InboundHarness, message_id: Any) -> None:
    content = {"msgtype": "m.text", "body": "from a backup", MESSAGE_ID: message_id}
    await harness.store(message_event("$1", sender=SCRIBE, content=content))
    await harness.handle_all()
    (message,) = await harness.in_room()
    assert message.author.id == "scribe"


@pytest.mark.parametrize(
    "nobody", ["@citizen_" + "=ff" * 60, "@citizen_agent=3adaarwizz", "@agent_=64aarwizz", "@agent_"]
)
async def test_events_of_impossible_ghosts_are_ignored(harness: InboundHarness, nobody: str) -> None:
    sender = f"{nobody}:city.localhost"
    daarwizz = message_event("$1", "as it was written", sender="@agent_daarwizz:city.localhost")
    edit = {"body": "* rewritten", "m.new_content": {"msgtype": "m.text", "body": "rewritten"}}
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}}
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$1", "key": "👍"}}
    await harness.store(
        daarwizz,
        message_event("$2", sender=sender),
        message_event("$3", sender=sender) | {"content": {"msgtype": "m.text"} | edit | relation},
        message_event("$4", sender=sender) | {"type": "m.reaction", "content": reaction},
        member_event("$5", sender),
        message_event("$6", "after"),
    )
    await harness.handle_all()

    assert await harness.bodies() == ["as it was written", "after"]
    assert not await harness.dead()
    async with harness.database.read_only() as tx:
        assert await tx.members.all() == []


async def test_names_from_other_servers_are_bounded(harness: InboundHarness) -> None:
    long = "я" * 5_000
    picture = {"avatar_url": "mxc://elsewhere.org/" + "x" * 5_000}
    await harness.store(
        member_event("$1", ALICE, displayname=long, **picture),
        message_event("$2"),
        state_event("$3", "m.room.name", {"name": long}),
        state_event("$4", "m.room.topic", {"topic": long}),
    )
    await harness.handle_all()

    async with harness.database.read_only() as tx:
        (member,) = await tx.members.all()
    assert (member.display_name, member.avatar_url) == ("я" * 255, None)
    (message,) = await harness.in_room()
    assert message.author.display_name == "я" * 255
    room = await harness.room()
    assert (room.name, room.description) == ("я" * 255, "я" * 2_000)


async def test_late_message_gets_its_position(harness: InboundHarness) -> None:
    await harness.store(
        message_event("$1"), message_event("$3"), member_event("$4", "@carol:city.localhost"), message_event("$5")
    )
    await harness.handle_all()
    _, third, _ = await harness.in_room()
    late = [
        replace(inbox_event(message_event(each)), before_message=third.id, is_confirmed=True) for each in ("$2a", "$2b")
    ]
    async with harness.database.transaction() as tx:
        await tx.inbox.add(late, now_ms=now_ms())
    await harness.handle_all()

    messages = await harness.in_room()
    assert [each.matrix_event_id for each in messages] == ["$1", "$2a", "$2b", "$3", "$5"]
    room = await harness.room()
    async with harness.database.read_only() as tx:
        history = await tx.room_events.after(room.id, 0, limit=100)
        readable = await tx.membership_periods.readable_ranges(room.id, [UserId("@carol:city.localhost")])
    seqs = [event.seq for event in history]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == room.last_seq
    # Whoever came between two messages still came between them.
    assert messages[3].seq < readable.joined[-1][0] < messages[4].seq
    assert RoomEventKind.RESYNC in {event.kind for event in history}
