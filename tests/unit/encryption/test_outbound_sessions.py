"""Outbound Megolm sessions: rotation, recipients, the encrypted event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption import accounts
from daarion_appservice.encryption.outbound_sessions import (
    OutboundPlan,
    Rotation,
    RotationPolicy,
    encrypt_event,
    plan_outbound,
)
from daarion_appservice.encryption.primitives import MegolmReceiver
from daarion_appservice.encryption.rows import AccountRow, DeviceRow, OutboundSessionRow, SharedRow
from tests.parts.encryption_peer import KEY, ROOM, KeyServer, Peer, text_of

NOW_MS = 1_000_000_000
WEEK_MS = 7 * 24 * 3_600_000
PHONE = DeviceRow(UserId("@a:example.org"), "PHONE", "A" * 43, "A" * 43, is_cross_signed=True)
TABLET = replace(PHONE, device_id="TABLET", curve25519="B" * 43)


@pytest.fixture(scope="module")
def account() -> AccountRow:
    return accounts.create_account(UserId("@agent_x:example.org"), "GHOST", KEY)


def plan(account: AccountRow, session: OutboundSessionRow | None, **changes: Any) -> OutboundPlan:
    arguments: dict[str, Any] = {
        "policy": RotationPolicy(),
        "devices": [PHONE, TABLET],
        "shared": [],
        "started_at_ms": 0,
        "now_ms": NOW_MS,
    }
    return plan_outbound(session, account=account, room=ROOM, key=KEY, **arguments | changes)


@pytest.fixture(scope="module")
def session(account: AccountRow) -> OutboundSessionRow:
    return plan(account, None).session


def shared_with(session: OutboundSessionRow, *devices: DeviceRow, withheld: str | None = None) -> list[SharedRow]:
    return [SharedRow(session.session_id, each.user, each.device_id, each.curve25519, 0, withheld) for each in devices]


def test_first_plan_makes_a_session_for_all_devices(account: AccountRow) -> None:
    first = plan(account, None)
    assert first.rotation is Rotation.FIRST
    assert first.recipients == (PHONE, TABLET)
    assert first.inbound is not None
    assert (first.inbound.session_id, first.inbound.owner) == (first.session.session_id, account.ghost)


def test_stored_session_goes_on(account: AccountRow, session: OutboundSessionRow) -> None:
    following = plan(account, session, shared=shared_with(session, PHONE))
    assert (following.session, following.rotation, following.inbound) == (session, None, None)
    assert following.recipients == (TABLET,)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"now_ms": NOW_MS + WEEK_MS - 1}, None),
        ({"now_ms": NOW_MS + WEEK_MS}, Rotation.AGE),
        ({"now_ms": NOW_MS - 1}, Rotation.AGE),
        ({"started_at_ms": NOW_MS}, None),
        ({"started_at_ms": NOW_MS + 1, "now_ms": NOW_MS + 2}, Rotation.RESTART),
        ({"devices": [PHONE]}, Rotation.DEVICE_GONE),
        ({"devices": [PHONE, replace(TABLET, curve25519="C" * 43)]}, Rotation.DEVICE_GONE),
        ({"devices": [PHONE, replace(TABLET, is_cross_signed=False)]}, None),
        ({"devices": [PHONE, replace(TABLET, is_cross_signed=False)], "only_cross_signed": True}, Rotation.DEVICE_GONE),
        ({"devices": [PHONE, TABLET, replace(PHONE, device_id="NEW", curve25519="D" * 43)]}, None),
    ],
)
def test_session_is_replaced_for_a_reason(
    account: AccountRow, session: OutboundSessionRow, changes: dict[str, Any], expected: Rotation | None
) -> None:
    shared = shared_with(session, PHONE, TABLET)
    found = plan(account, session, shared=shared, **changes)
    assert found.rotation is expected
    assert (found.session.session_id != session.session_id) is (expected is not None)
    if expected is not None:
        assert set(found.recipients) | set(found.unverified) == set(changes.get("devices", [PHONE, TABLET]))


def test_hundred_messages_use_up_a_session(account: AccountRow, session: OutboundSessionRow) -> None:
    shared = shared_with(session, PHONE, TABLET)
    assert plan(account, replace(session, sent=99), shared=shared).rotation is None
    assert plan(account, replace(session, sent=100), shared=shared).rotation is Rotation.MESSAGES


def test_withheld_device_may_vanish(account: AccountRow, session: OutboundSessionRow) -> None:
    shared = shared_with(session, PHONE) + shared_with(session, TABLET, withheld="m.no_olm")
    assert plan(account, session, shared=shared, devices=[PHONE]).rotation is None
    assert plan(account, session, shared=shared).recipients == (TABLET,)


def test_unsigned_device_is_named_once(account: AccountRow, session: OutboundSessionRow) -> None:
    unsigned = replace(TABLET, is_cross_signed=False)
    shared = shared_with(session, PHONE)
    first = plan(account, session, devices=[PHONE, unsigned], shared=shared, only_cross_signed=True)
    assert (first.unverified, first.recipients) == ((unsigned,), ())
    shared += shared_with(session, unsigned, withheld="m.unverified")
    second = plan(account, session, devices=[PHONE, unsigned], shared=shared, only_cross_signed=True)
    assert (second.unverified, second.recipients) == ((), ())
    third = plan(account, session, devices=[PHONE, TABLET], shared=shared, only_cross_signed=True)
    assert third.recipients == (TABLET,)


def test_own_device_gets_no_key(account: AccountRow) -> None:
    own = DeviceRow(account.ghost, account.device_id, account.curve25519, account.ed25519, is_cross_signed=True)
    assert plan(account, None, devices=[PHONE, own]).recipients == (PHONE,)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, RotationPolicy(100, WEEK_MS)),
        ({"rotation_period_msgs": 7, "rotation_period_ms": 7_200_000}, RotationPolicy(7, 7_200_000)),
        ({"rotation_period_msgs": 0, "rotation_period_ms": 1}, RotationPolicy(1, 3_600_000)),
        ({"rotation_period_msgs": 1 << 80, "rotation_period_ms": 1 << 80}, RotationPolicy(10_000, 31_536_000_000)),
        ({"rotation_period_msgs": "7", "rotation_period_ms": None}, RotationPolicy(100, WEEK_MS)),
        ({"rotation_period_msgs": True, "rotation_period_ms": 1.5}, RotationPolicy(100, WEEK_MS)),
    ],
)
def test_room_chooses_the_rotation(content: dict[str, Any], expected: RotationPolicy) -> None:
    assert RotationPolicy.from_event(content) == expected


def test_relation_stands_in_clear(account: AccountRow, session: OutboundSessionRow) -> None:
    relation = {"rel_type": "m.replace", "event_id": "$1"}
    content = {"body": "secret", "m.relates_to": relation}
    encrypted = encrypt_event(session, account=account, event_type="m.room.message", content=content, key=KEY)
    assert encrypted.content["m.relates_to"] == relation
    assert "secret" not in str(encrypted.content)
    # matrix-nio refuses an event without these two.
    assert encrypted.content["sender_key"] == account.curve25519
    assert encrypted.content["device_id"] == "GHOST"


def test_relation_of_the_envelope_is_in_the_content() -> None:
    server = KeyServer()
    alice, bob = Peer(server, "@a:b", "A"), Peer(server, "@b:b", "B")
    event = alice.send("text", [alice, bob])
    bob.receive_all()
    relation = {"rel_type": "m.thread", "event_id": "$root"}
    event["content"]["m.relates_to"] = relation
    found = bob.read(event)
    assert (text_of(found), found.content["m.relates_to"]) == ("text", relation)


def test_ratchet_moves_on_with_each_message(account: AccountRow, session: OutboundSessionRow) -> None:
    row, ciphertexts = session, []
    for _ in range(3):
        encrypted = encrypt_event(row, account=account, event_type="m.x", content={}, key=KEY)
        row = encrypted.session
        ciphertexts.append(encrypted.content["ciphertext"])
    assert row.sent == 3
    inbound = plan(account, None).inbound
    assert inbound is not None
    assert MegolmReceiver.from_pickle(inbound.pickle, KEY).first_index == 0
    assert len(set(ciphertexts)) == 3
    # A crash before the commit: the same row encrypts the same event to the same bytes.
    assert encrypt_event(session, account=account, event_type="m.x", content={}, key=KEY).session.sent == 1


def test_content_beyond_canonical_json_is_encrypted(account: AccountRow, session: OutboundSessionRow) -> None:
    content = {"body": "\ud800", "number": 1 << 80, "geo": 1.5}
    assert encrypt_event(session, account=account, event_type="m.x", content=content, key=KEY).session.sent == 1
