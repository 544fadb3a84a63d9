"""Devices that a person made while no agent was in a room with the person, of which the homeserver says nothing."""

from __future__ import annotations

from typing import Any, cast

from daarion_appservice.city.types import AgentSlug
from daarion_appservice.clock import new_id
from daarion_appservice.matrix.reconcile.direct_chats import DirectChats
from tests.parts.encryption_harness import EncryptionHarness
from tests.parts.encryption_peer import ROOM, Peer
from tests.parts.messaging import IDENTITIES
from tests.parts.scripted_homeserver import Reply


async def test_a_device_made_while_apart_gets_the_key(on_each: EncryptionHarness) -> None:
    await on_each.send("before")
    nothing = cast("Any", None)
    direct_chats = DirectChats(
        on_each.database,
        on_each._clients[-1],
        on_each.run.monitor,
        nothing,
        on_each.messaging.agents,
        on_each.messaging.messages,
        IDENTITIES,
        nothing,
        on_each.parts.chats,
        lambda _: None,
        on_each.clock,
        new_id,
    )
    laptop = Peer(on_each.homeserver.keys, on_each.alice.user, "LAPTOP", cross_signed=False)
    members: dict[str, dict[str, str]] = {user: {} for user in on_each.homeserver.memberships[ROOM]}
    on_each.homeserver.next("members", Reply(200, {"joined": members}))
    on_each.homeserver.next("messages", Reply(200, {"chunk": []}))

    await direct_chats._link(await on_each.chat(), AgentSlug("scribe"), [AgentSlug("scribe")], [])
    event = await on_each.send("after")

    assert on_each.read(event, laptop) == "after"
