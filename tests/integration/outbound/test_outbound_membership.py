"""Joins and leaves of ghosts, and messages of authors whom Matrix keeps out of a room."""

from __future__ import annotations

import pytest

from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.rooms import room_id_of
from daarion_appservice.city.types import (
    Delivery,
)
from daarion_appservice.clock import now_ms
from daarion_appservice.errors import Forbidden
from daarion_appservice.matrix.outbound import retry_delays
from tests.parts.city import eventually
from tests.parts.messaging import link
from tests.parts.outbound import (
    GENERAL,
    MODERATOR,
    OKSANA,
    OKSANAS_GHOST,
    OutboundHarness,
)
from tests.parts.scripted_homeserver import (
    HANG_UP,
    NOT_IN_ROOM,
    Reply,
    ScriptedHomeserver,
    refused,
)


async def test_join_message_and_leave_keep_their_order(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    homeserver.next("versions", *[HANG_UP] * 3)
    homeserver.next("register", HANG_UP)
    await outbound.messaging.membership.join(OKSANA, "general")
    await outbound.post("Добрий день", author=OKSANA)
    assert await outbound.deliveries_when_done() == [("Добрий день", Delivery.SENT)]
    await outbound.messaging.membership.leave(OKSANA, "general")
    await outbound.until_empty()

    what = [
        request.what
        for request in homeserver.requests
        if request.what not in {"versions", "ping", "members", "register"}
    ]
    assert what == ["profile", "device", "join", "send", "leave"]
    assert {request.user for request in homeserver.requests if request.what in {"join", "send", "leave"}} == {
        OKSANAS_GHOST
    }


async def test_join_while_message_waits_is_repeated(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_delays, "UNLINKED_MS", 20)
    await outbound.unlink_general()
    await outbound.post("said", author=OKSANA)
    await outbound.messaging.membership.join(OKSANA, "general")
    homeserver.next("send", NOT_IN_ROOM)
    async with outbound.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)

    assert await outbound.deliveries_when_done() == [("said", Delivery.SENT)]
    await outbound.until_empty()
    what = [request.what for request in homeserver.requests if request.what in {"join", "send"}]
    assert what == ["send", "join", "send", "join"]
    assert await outbound.members() == {OKSANAS_GHOST}


async def test_refused_leave_is_done(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("leave", NOT_IN_ROOM)
    await outbound.messaging.membership.join(OKSANA, "general")
    await outbound.messaging.membership.leave(OKSANA, "general")
    await outbound.until_empty()
    assert len(homeserver.all("leave")) == 1


async def test_refused_join_removes_member(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("join", refused(403, "M_FORBIDDEN", "You are not invited to this room"))
    await outbound.messaging.membership.join(OKSANA, "general")
    await outbound.until_empty()
    assert await outbound.members() == set()
    assert (len(homeserver.all("join")), homeserver.all("invite")) == (1, [])


async def test_message_of_refused_ghost_fails(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("join", *[refused(403, "M_FORBIDDEN", "You are not invited to this room")] * 2)
    await outbound.post("from outside", author=OKSANA)
    await outbound.post("from inside")
    assert await outbound.deliveries_when_done() == [("from outside", Delivery.FAILED), ("from inside", Delivery.SENT)]
    assert homeserver.all("invite") == []


def _member_event(membership: str, *, by: str) -> Reply:
    return Reply(
        200, {"sender": by, "state_key": OKSANAS_GHOST, "content": {"membership": membership, "reason": "реклама"}}
    )


@pytest.mark.parametrize(
    ("membership", "code"),
    [
        pytest.param(_member_event("ban", by=MODERATOR), "banned", id="banned"),
        pytest.param(_member_event("leave", by=MODERATOR), "kicked", id="kicked"),
    ],
)
async def test_removed_author_fails_once_then_is_forbidden(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, membership: Reply, code: str
) -> None:
    await outbound.post("before", author=OKSANA)
    await outbound.deliveries_when_done()
    homeserver.next("send", NOT_IN_ROOM)
    homeserver.next("member", membership)
    await outbound.post("one", author=OKSANA)
    await outbound.deliveries_when_done()
    assert (await outbound.deliveries())[-1] == ("one", Delivery.FAILED)
    assert (len(homeserver.all("send")), len(homeserver.all("join"))) == (2, 1), "it does not join again"
    assert await outbound.members() == set()
    with pytest.raises(Forbidden, match="реклама") as raised:
        await outbound.post("two", author=OKSANA)
    assert raised.value.code == code


async def test_kicked_author_may_join_again(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    await outbound.post("before", author=OKSANA)
    await outbound.deliveries_when_done()
    answer = homeserver.hold("send", NOT_IN_ROOM)
    homeserver.next("member", _member_event("leave", by=MODERATOR))
    await outbound.post("one", author=OKSANA)

    async def is_being_sent() -> bool:
        return len(homeserver.all("send")) == 2

    await eventually(is_being_sent)
    async with outbound.database.transaction() as tx:
        kicked = Restriction(RestrictionKind.KICKED, None)
        await tx.restrictions.put(room_id_of("general"), OKSANAS_GHOST, kicked, now_ms=now_ms())
        await outbound.messaging.members.record_removal(tx, room_id_of("general"), OKSANAS_GHOST)
    await outbound.messaging.membership.join(OKSANA, "general")
    answer.set()
    await outbound.until_empty()
    assert await outbound.members() == {OKSANAS_GHOST}
    await outbound.post("two", author=OKSANA)
    assert (await outbound.deliveries_when_done())[1:] == [("one", Delivery.FAILED), ("two", Delivery.SENT)]


async def test_waiting_message_of_banned_author_fails(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_delays, "UNLINKED_MS", 20)
    await outbound.unlink_general()
    await outbound.post("too late", author=OKSANA)
    async with outbound.database.transaction() as tx:
        banned = Restriction(RestrictionKind.BANNED, None)
        await tx.restrictions.put(room_id_of("general"), OKSANAS_GHOST, banned, now_ms=now_ms())
        await link(tx, room_id_of("general"), GENERAL)
    assert await outbound.deliveries_when_done() == [("too late", Delivery.FAILED)]
    assert (homeserver.all("join"), homeserver.all("send")) == ([], [])


async def test_member_without_power_fails_once_and_stays(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    await outbound.post("before", author=OKSANA)
    await outbound.deliveries_when_done()
    homeserver.next("send", refused(403, "M_FORBIDDEN", "You don't have permission to post to the room"))
    homeserver.next("member", _member_event("join", by=OKSANAS_GHOST))
    await outbound.post("muted", author=OKSANA)
    await outbound.deliveries_when_done()
    assert (await outbound.deliveries())[-1] == ("muted", Delivery.FAILED)
    assert (len(homeserver.all("send")), len(homeserver.all("join"))) == (2, 1)
    assert await outbound.members() == {OKSANAS_GHOST}
