"""Sending of messages: as which user, how often after failures, and when a message is given up."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Delivery,
)
from daarion_appservice.clock import steady_ms
from daarion_appservice.matrix.outbound import retry_delays
from daarion_appservice.matrix.outbound.retry_delays import MAX_ATTEMPTS
from tests.parts.outbound import (
    GENERAL,
    OKSANA,
    OutboundHarness,
)
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


async def test_message_is_sent_as_registered_ghost(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    message = await outbound.post("Добрий день", author=OKSANA)
    assert await outbound.deliveries_when_done() == [("Добрий день", Delivery.SENT)]

    assert [request.what for request in homeserver.requests if request.what not in {"versions", "ping"}] == [
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

    await outbound.post("І ще", author=OKSANA)
    await outbound.deliveries_when_done()
    assert len(homeserver.all("register")) == len(homeserver.all("join")) == 1, (
        "the ghost is registered and joined already"
    )


@pytest.mark.parametrize(
    "failures",
    [
        pytest.param([HANG_UP, HANG_UP], id="no response"),
        pytest.param([Reply(502, "no gateway"), Reply(504, {})], id="gateway"),
        pytest.param([refused(500, "M_UNKNOWN"), refused(503, "M_UNKNOWN")], id="internal error"),
        pytest.param([refused(401, "M_UNKNOWN_TOKEN"), refused(401, "M_UNKNOWN_TOKEN")], id="unknown token"),
        pytest.param([refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=5)], id="rate limited"),
        pytest.param([NOT_IN_ROOM], id="ghost not in room"),
        pytest.param([NOT_REGISTERED], id="ghost not registered"),
        pytest.param([Reply(200, {}), Reply(200, []), Reply(200, "sent")], id="no event id"),
    ],
)
async def test_failed_send_is_repeated_with_same_txn_id(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, failures: list[Reply | HangUp]
) -> None:
    homeserver.next("send", *failures, room=GENERAL)
    first = await outbound.post("first")
    await outbound.post("second")

    assert await outbound.deliveries_when_done() == [("first", Delivery.SENT), ("second", Delivery.SENT)]
    assert homeserver.in_room[GENERAL] == ["first", "second"], "each once, and in order"
    tries = [request.path["txn_id"] for request in homeserver.all("send")]
    assert tries[: len(failures) + 1] == [first.id] * (len(failures) + 1)
    assert len(tries) == len(failures) + 2


@pytest.mark.parametrize("client_timeout_s", [0.2])
async def test_send_without_response_is_repeated(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("send", HANG, room=GENERAL)
    first = await outbound.post("first")
    await outbound.post("second")

    assert await outbound.deliveries_when_done() == [("first", Delivery.SENT), ("second", Delivery.SENT)]
    assert homeserver.in_room[GENERAL] == ["first", "second"], "each once, and in order"
    # On a busy machine, more than the held request may end by the time-out.
    assert [request.path["txn_id"] for request in homeserver.all("send")][:2] == [first.id, first.id]


@pytest.mark.parametrize("step", ["register", "profile", "device", "join"])
@pytest.mark.parametrize(
    "reply", [HANG_UP, refused(500, "M_UNKNOWN"), Reply(502, "")], ids=["no response", "internal error", "gateway"]
)
async def test_failed_preparation_is_repeated(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, step: str, reply: Reply | HangUp
) -> None:
    homeserver.next(step, reply)
    await outbound.post("hello")
    assert await outbound.deliveries_when_done() == [("hello", Delivery.SENT)]


async def test_agent_is_invited_to_own_room(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    outbound.messaging.agents.replace([Agent("scribe", AgentSlug("scribe"), "Писар")])
    homeserver.next("join", refused(403, "M_FORBIDDEN", "You are not invited to this room"))
    await outbound.post("hello")
    assert await outbound.deliveries_when_done() == [("hello", Delivery.SENT)]
    (invited,) = homeserver.all("invite")
    assert invited.user == "@daarion_bot:city.localhost"
    assert invited.content == {"user_id": "@agent_scribe:city.localhost"}


@pytest.mark.parametrize(
    ("reply", "tries"),
    [
        pytest.param(refused(400, "M_BAD_JSON"), 1, id="bad json"),
        pytest.param(refused(413, "M_TOO_LARGE"), 1, id="too large"),
        pytest.param(refused(404, "M_NOT_FOUND"), 1, id="unknown room"),
        pytest.param(NOT_IN_ROOM, 2, id="not in room"),
        pytest.param(refused(500, "M_UNKNOWN"), MAX_ATTEMPTS, id="internal error each time"),
        pytest.param(Reply(502, ""), MAX_ATTEMPTS, id="gateway error each time"),
    ],
)
async def test_refused_message_is_given_up(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, reply: Reply, tries: int
) -> None:
    homeserver.next("send", *[reply] * tries, room=GENERAL)
    await outbound.post("never")
    await outbound.post("next")

    assert await outbound.deliveries_when_done() == [("never", Delivery.FAILED), ("next", Delivery.SENT)]
    assert homeserver.in_room[GENERAL] == ["next"]
    assert len(homeserver.all("send")) == tries + 1


async def test_unregistrable_ghost_delays_no_other(outbound: OutboundHarness, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("register", refused(400, "M_EXCLUSIVE", "not in your namespace"))
    await outbound.post("refused", author=OKSANA)
    await outbound.post("accepted")
    with capture_logs() as logs:
        assert await outbound.deliveries_when_done() == [("refused", Delivery.FAILED), ("accepted", Delivery.SENT)]
    (failure,) = [entry for entry in logs if entry["event"] == "message_not_sent"]
    assert failure["help"].startswith("another application service of this homeserver owns this name")


async def test_rate_limited_message_waits_retry_delay(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_delays, "MIN_RATE_LIMITED_MS", 1)
    homeserver.next("send", refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=300))
    await outbound.post("перше", author=OKSANA)
    began_ms = steady_ms()
    assert await outbound.deliveries_when_done() == [("перше", Delivery.SENT)]
    assert steady_ms() - began_ms >= 290
