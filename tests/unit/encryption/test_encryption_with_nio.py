"""The engine against that of matrix-nio: each decrypts what the other encrypts."""

from __future__ import annotations

import copy
from typing import Any

import nio
import pytest
from nio.crypto import Olm
from nio.store import SqliteMemoryStore

from daarion_appservice.encryption.errors import UnknownSession
from tests.parts.encryption_peer import ROOM, KeyServer, Peer, text_of

PERSON, DEVICE = "@person:example.org", "PERSON"


@pytest.fixture
def server() -> KeyServer:
    return KeyServer()


@pytest.fixture
def ghost(server: KeyServer) -> Peer:
    return Peer(server, "@agent_x:example.org", "GHOST")


@pytest.fixture
def person(server: KeyServer, ghost: Peer) -> Olm:
    machine = Olm(PERSON, DEVICE, SqliteMemoryStore(PERSON, DEVICE, "pickle"))
    upload = machine.share_keys()
    server.device_keys[PERSON] = {DEVICE: upload["device_keys"]}
    server.upload(PERSON, DEVICE, upload)
    machine.mark_keys_as_published()
    machine.add_changed_users({ghost.user})
    machine.handle_response(nio.KeysQueryResponse.from_dict({**server.query(), "failures": {}}))
    return machine


def members(ghost: Peer) -> list[Any]:
    class Person:
        user = PERSON

    return [ghost, Person()]


def give_to_nio(person: Olm, server: KeyServer) -> list[Any]:
    queue = server.queues.pop((PERSON, DEVICE), [])
    return [person.handle_to_device_event(nio.ToDeviceEvent.parse_event(event)) for event in queue]


def read_with_nio(person: Olm, event: dict[str, Any]) -> Any:
    parsed = nio.MegolmEvent.from_dict({**copy.deepcopy(event), "origin_server_ts": 1})
    return person.decrypt_megolm_event(parsed, ROOM)


def share_with_nio(person: Olm, server: KeyServer, ghost: Peer) -> None:
    if person.session_store.get(ghost.account.curve25519) is None:
        wanted = {"one_time_keys": {ghost.user: {ghost.account.device_id: "signed_curve25519"}}}
        response = nio.KeysClaimResponse.from_dict({**server.claim(wanted), "failures": {}}, ROOM)
        person.handle_response(response)
    _, request = person.share_group_session(ROOM, [ghost.user], ignore_unverified_devices=True)
    person.outbound_group_sessions[ROOM].shared = True
    server.send(PERSON, "m.room.encrypted", request["messages"])


def send_with_nio(person: Olm, text: str, event_id: str) -> dict[str, Any]:
    content = person.group_encrypt(ROOM, {"type": "m.room.message", "content": {"msgtype": "m.text", "body": text}})
    return {"type": "m.room.encrypted", "sender": PERSON, "event_id": event_id, "content": content}


def test_nio_reads_our_messages(server: KeyServer, ghost: Peer, person: Olm) -> None:
    events = [ghost.send(text, members(ghost)) for text in ("Привіт", "two")]
    (key,) = give_to_nio(person, server)
    assert isinstance(key, nio.RoomKeyEvent)
    assert [read_with_nio(person, event).body for event in events] == ["Привіт", "two"]


def test_messages_of_nio_are_read(server: KeyServer, ghost: Peer, person: Olm) -> None:
    share_with_nio(person, server, ghost)
    first, second = send_with_nio(person, "Привіт", "$1"), send_with_nio(person, "two", "$2")
    ghost.receive_all()
    assert [text_of(ghost.read(event)) for event in (second, first)] == ["two", "Привіт"]


def test_reply_uses_the_session_of_the_question(server: KeyServer, ghost: Peer, person: Olm) -> None:
    share_with_nio(person, server, ghost)
    ghost.receive_all()
    claimed = copy.deepcopy(server.one_time_keys)
    event = ghost.send("answer", members(ghost))
    give_to_nio(person, server)
    assert read_with_nio(person, event).body == "answer"
    assert server.one_time_keys == claimed


def test_key_request_of_nio_is_answered(
    server: KeyServer, ghost: Peer, person: Olm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nio itself takes forwarded keys of its user's own devices only."""
    monkeypatch.setattr(person, "_should_accept_forward", lambda *_: True)
    event = ghost.send("lost", members(ghost), is_key_lost=True)
    parsed = nio.MegolmEvent.from_dict({**copy.deepcopy(event), "origin_server_ts": 1})
    request = parsed.as_key_request(ghost.user, DEVICE, device_id=ghost.account.device_id)
    person.outgoing_key_requests[parsed.session_id] = nio.crypto.OutgoingKeyRequest(
        parsed.session_id, parsed.session_id, ROOM, parsed.algorithm
    )
    ghost.receive({"type": "m.room_key_request", "sender": PERSON, "content": request.content})
    (forwarded,) = give_to_nio(person, server)
    assert isinstance(forwarded, nio.ForwardedRoomKeyEvent)
    assert read_with_nio(person, event).body == "lost"


def test_broken_session_with_nio_is_replaced(server: KeyServer, ghost: Peer, person: Olm) -> None:
    share_with_nio(person, server, ghost)
    ghost.receive_all()
    ghost.send("answer", members(ghost))
    give_to_nio(person, server)
    ghost.store.olm.clear()
    person.rotate_outbound_group_session(ROOM)
    share_with_nio(person, server, ghost)
    ghost.receive_all()
    with pytest.raises(UnknownSession):
        ghost.read(send_with_nio(person, "unreadable", "$1"))
    (dummy,) = give_to_nio(person, server)
    assert isinstance(dummy, nio.DummyEvent)
    person.rotate_outbound_group_session(ROOM)
    share_with_nio(person, server, ghost)
    ghost.receive_all()
    assert text_of(ghost.read(send_with_nio(person, "readable", "$2"))) == "readable"
