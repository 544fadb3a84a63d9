"""Messages to a room that became private: refused with a reason, or sent for an invited author."""

from __future__ import annotations

import pytest

from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.rooms import room_id_of
from daarion_appservice.city.types import (
    Delivery,
)
from daarion_appservice.clock import now_ms
from daarion_appservice.matrix.outbound import retry_delays
from tests.parts.messaging import link
from tests.parts.outbound import (
    GENERAL,
    OKSANA,
    OKSANAS_GHOST,
    OutboundHarness,
    last_message,
    make_private,
)
from tests.parts.scripted_homeserver import (
    NOT_IN_ROOM,
    Reply,
    ScriptedHomeserver,
    refused,
)

NOT_INVITED = refused(403, "M_FORBIDDEN", "You are not invited to this room.")


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        pytest.param(NOT_INVITED, "invite_only", id="not invited"),
        pytest.param(refused(413, "M_TOO_LARGE"), "too_large", id="too large"),
        pytest.param(refused(400, "M_UNKNOWN"), "refused", id="other"),
    ],
)
async def test_refused_message_has_error_until_retried(
    outbound: OutboundHarness,
    homeserver: ScriptedHomeserver,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Reply,
    error: str,
) -> None:
    monkeypatch.setattr(retry_delays, "UNLINKED_MS", 20)
    await outbound.unlink_general()
    message = await outbound.post("just before", author=OKSANA)
    if error == "invite_only":
        await make_private(outbound)
    homeserver.next("join", *[refusal] * (2 if refusal.status == 403 else 1))
    async with outbound.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)
    await outbound.deliveries_when_done()
    last, why = await last_message(outbound)
    assert (last.delivery, why) == (Delivery.FAILED, error)
    assert homeserver.all("invite") == []

    async with outbound.database.transaction() as tx:
        await tx.restrictions.put(
            room_id_of("general"), OKSANAS_GHOST, Restriction(RestrictionKind.INVITED, None), now_ms=now_ms()
        )
    again = await outbound.messaging.messages.retry_delivery(OKSANA, "general", message.id)
    assert (again.delivery, again.delivery_error) == (Delivery.PENDING, None)
    outbound.worker.wake()
    assert await outbound.deliveries_when_done() == [("just before", Delivery.SENT)]
    assert (await last_message(outbound))[1] is None


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
async def test_invited_author_may_send_to_private_room(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch, visibility: str
) -> None:
    monkeypatch.setattr(retry_delays, "UNLINKED_MS", 20)
    await outbound.unlink_general()
    await outbound.post("just before", author=OKSANA)
    await make_private(outbound, history_visibility=visibility)
    async with outbound.database.transaction() as tx:
        await tx.restrictions.put(
            room_id_of("general"), OKSANAS_GHOST, Restriction(RestrictionKind.INVITED, None), now_ms=now_ms()
        )
        await link(tx, room_id_of("general"), GENERAL)
    assert await outbound.deliveries_when_done() == [("just before", Delivery.SENT)]


@pytest.mark.parametrize("may_invite", [True, False])
async def test_member_left_behind_by_an_upgrade_is_invited(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, may_invite: bool
) -> None:
    await outbound.post("before", author=OKSANA)
    await outbound.deliveries_when_done()
    await make_private(outbound)
    # The new room has no membership of the ghost: the check for a removal reads it, and the one for a newcomer.
    homeserver.next("member", *[refused(404, "M_NOT_FOUND")] * 2)
    homeserver.next("send", NOT_IN_ROOM)
    homeserver.next("join", NOT_INVITED)
    if not may_invite:
        homeserver.next("invite", refused(403, "M_FORBIDDEN", "You don't have permission to invite users"))

    await outbound.post("after", author=OKSANA)

    expected = Delivery.SENT if may_invite else Delivery.FAILED
    assert (await outbound.deliveries_when_done())[-1] == ("after", expected)
    async with outbound.database.read_only() as tx:
        assert await tx.members.get(room_id_of("general"), OKSANAS_GHOST) is not None
