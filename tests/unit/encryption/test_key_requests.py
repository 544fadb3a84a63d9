"""Key requests, their rate, and withheld codes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption import key_requests, withheld
from daarion_appservice.encryption.errors import InvalidContent, WrongContext
from daarion_appservice.encryption.megolm_events import MegolmReference, parse_megolm_event
from daarion_appservice.encryption.primitives import MegolmReceiver
from daarion_appservice.encryption.rows import KeyRequestRow
from tests.parts.encryption_peer import KEY, ROOM, KeyServer, Peer

GHOST = UserId("@agent_x:example.org")
MINUTE_MS = 60_000


@pytest.fixture
def alice() -> Peer:
    return Peer(KeyServer(), "@alice:example.org", "ALICE")


@pytest.fixture
def reference(alice: Peer) -> MegolmReference:
    return parse_megolm_event(alice.send("text", [alice]), room=ROOM)


def request(reference: MegolmReference, *open_requests: KeyRequestRow) -> KeyRequestRow | None:
    return key_requests.new_request(reference, ghost=GHOST, request_id="1", open_requests=open_requests, now_ms=1000)


def test_request_goes_to_the_sending_device(reference: MegolmReference) -> None:
    row = request(reference)
    assert row is not None
    assert (row.user, row.device_id, row.session_id) == (reference.sender, "ALICE", reference.session_id)
    nameless = request(replace(reference, device_id=None))
    assert nameless is not None
    assert nameless.device_id == "*"


def test_session_is_requested_once(reference: MegolmReference) -> None:
    row = request(reference)
    assert row is not None
    assert request(reference, row) is None
    assert request(reference, replace(row, session_id="other")) is not None
    assert request(reference, replace(row, user=UserId("@mallory:example.org"))) is not None


def test_open_requests_are_limited(reference: MegolmReference) -> None:
    row = request(reference)
    assert row is not None
    many = [replace(row, session_id=str(number)) for number in range(key_requests.MAX_OPEN_REQUESTS)]
    assert request(reference, *many) is None
    assert request(reference, *many[1:]) is not None


def test_request_is_repeated_three_times(reference: MegolmReference) -> None:
    row = request(reference)
    times = []
    now_ms = 1000
    while row is not None and not key_requests.is_exhausted(row):
        assert key_requests.retry_request(row, request_id="x", now_ms=row.sent_at_ms + MINUTE_MS - 1) is None
        now_ms += MINUTE_MS
        if following := key_requests.retry_request(row, request_id=f"{now_ms}", now_ms=now_ms):
            assert following.request_id != row.request_id
            times.append(now_ms - row.sent_at_ms)
            row = following
    assert times == [MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS]
    assert row is not None
    assert key_requests.retry_request(row, request_id="x", now_ms=1 << 60) is None


def test_request_is_parsed_as_written(alice: Peer, reference: MegolmReference) -> None:
    row = request(reference)
    assert row is not None
    content = key_requests.request_content(row, account=alice.account, curve25519="A" * 43)
    event = {"type": "m.room_key_request", "sender": GHOST, "content": content}
    expected = key_requests.IncomingRequest(GHOST, "ALICE", "1", ROOM, reference.session_id)
    assert key_requests.parse_request(event) == expected
    event["content"] = {"action": "request_cancellation", "request_id": "1", "requesting_device_id": "ALICE"}
    assert key_requests.parse_request(event) == key_requests.RequestCancellation(GHOST, "ALICE", "1")


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "other"},
        {"action": None},
        {"body": None},
        {"body": {"algorithm": "m.none"}},
        {"body": {"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM}},
        {"request_id": 7},
        {"requesting_device_id": "\0"},
    ],
)
def test_malformed_request_is_refused(alice: Peer, reference: MegolmReference, changes: dict[str, Any]) -> None:
    row = request(reference)
    assert row is not None
    content = key_requests.request_content(row, account=alice.account, curve25519=None) | changes
    with pytest.raises(InvalidContent):
        key_requests.parse_request({"type": "m.room_key_request", "sender": GHOST, "content": content})


def test_answer_is_due_once_a_minute() -> None:
    assert key_requests.is_answer_due(None, now_ms=0)
    assert not key_requests.is_answer_due(0, now_ms=MINUTE_MS - 1)
    assert key_requests.is_answer_due(0, now_ms=MINUTE_MS)


# --- answers ------------------------------------------------------------------------------------------


def answer(alice: Peer, request: key_requests.IncomingRequest, **changes: Any) -> dict[str, Any]:
    (session,) = alice.store.inbound.values()
    (shared,) = alice.store.shared.values()
    return key_requests.answer_request(request, session, replace(shared, **changes), account=alice.account, key=KEY)


@pytest.fixture
def shared_request(alice: Peer) -> key_requests.IncomingRequest:
    bob = Peer(alice.server, "@bob:example.org", "BOB")
    for text in ("one", "two"):
        alice.send(text, [alice])
    reference = parse_megolm_event(alice.send("three", [alice, bob]), room=ROOM)
    return key_requests.IncomingRequest(bob.user, "BOB", "1", ROOM, reference.session_id)


def test_answer_begins_at_the_index_of_the_share(alice: Peer, shared_request: key_requests.IncomingRequest) -> None:
    content = answer(alice, shared_request)
    assert MegolmReceiver.from_exported_key(content["session_key"]).first_index == 2


@pytest.mark.parametrize(
    ("request_changes", "shared_changes"),
    [
        ({"user": UserId("@mallory:example.org")}, {}),
        ({"device_id": "TABLET"}, {}),
        ({"session_id": "other"}, {}),
        ({"room": "!other:example.org"}, {}),
        ({}, {"withheld": "m.no_olm"}),
        ({}, {"session_id": "other"}),
    ],
)
def test_device_without_a_share_gets_no_answer(
    alice: Peer,
    shared_request: key_requests.IncomingRequest,
    request_changes: dict[str, Any],
    shared_changes: dict[str, Any],
) -> None:
    with pytest.raises(WrongContext):
        answer(alice, replace(shared_request, **request_changes), **shared_changes)


def test_session_of_another_owner_is_not_given_away(alice: Peer, shared_request: key_requests.IncomingRequest) -> None:
    (session,) = alice.store.inbound.values()
    (shared,) = alice.store.shared.values()
    for changes in ({"owner": UserId("@x:y")}, {"curve25519": "B" * 43}):
        other = replace(session, **changes)
        with pytest.raises(WrongContext):
            key_requests.answer_request(shared_request, other, shared, account=alice.account, key=KEY)


# --- withheld codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", list(withheld.WithheldCode))
def test_withheld_code_is_parsed_as_written(alice: Peer, code: withheld.WithheldCode) -> None:
    alice.send("text", [alice])
    session = alice.store.outbound
    assert session is not None
    content = withheld.withheld_content(code, account=alice.account, session=session)
    row = withheld.parse_withheld({"type": "m.room_key.withheld", "sender": alice.user, "content": content})
    expected = (None, None) if code is withheld.WithheldCode.NO_OLM else (ROOM, session.session_id)
    assert (row.room, row.session_id) == expected
    assert (row.user, row.curve25519, row.code) == (alice.user, alice.account.curve25519, code)
    assert row.reason


def test_reason_can_be_stored(alice: Peer) -> None:
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "sender_key": "A" * 43,
        "code": "m.no_olm",
        "reason": "\0\ud800" + "x" * 9000,
    }
    row = withheld.parse_withheld({"type": "m.room_key.withheld", "sender": alice.user, "content": content})
    assert row.reason == "?" + "x" * 499


@pytest.mark.parametrize(
    "changes",
    [{"code": None}, {"code": "m.unverified"}, {"algorithm": 7}, {"sender_key": "x"}, {"session_id": "x"}],
)
def test_malformed_withheld_code_is_refused(changes: dict[str, Any]) -> None:
    content = {"algorithm": "m.megolm.v1.aes-sha2", "sender_key": "A" * 43, "code": "m.no_olm"} | changes
    with pytest.raises(InvalidContent):
        withheld.parse_withheld({"type": "m.room_key.withheld", "sender": GHOST, "content": content})
