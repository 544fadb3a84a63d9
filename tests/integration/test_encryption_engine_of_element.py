"""Our encryption engine against that of Element Web (matrix-sdk-crypto-wasm), in Node and without a homeserver."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from daarion_appservice.city.types import UserId
from daarion_appservice.encryption.attachments import EncryptedFile, decrypt_attachment, encrypt_attachment
from daarion_appservice.encryption.errors import UnknownSession
from daarion_appservice.encryption.key_bundles import import_bundle, parse_bundle_event
from daarion_appservice.encryption.rows import KeyOrigin
from tests.parts.encryption_peer import KEY, ROOM, KeyServer, Peer, text_of
from tests.parts.js_process import JsProcess

DEVICE = "PERSON"
URL = "mxc://example.org/file"


@dataclass
class ElementUser:
    """A user whose keys the engine of Element has; the requests of that engine go to the key server."""

    engine: JsProcess
    server: KeyServer
    user: UserId

    async def arrive(self) -> None:
        await self.engine.request("start", user_id=self.user, device_id=DEVICE, room_id=ROOM)
        await self.send_outgoing()
        uploads = await self.engine.request("cross_sign")
        self.server.master_keys[self.user] = uploads["keys"]["master_key"]
        self.server.self_signing_keys[self.user] = uploads["keys"]["self_signing_key"]
        signatures = uploads["signatures"].get("signed_keys", uploads["signatures"])[self.user][DEVICE]["signatures"]
        self.server.device_keys[self.user][DEVICE]["signatures"][self.user] |= signatures[self.user]
        await self.send_outgoing()

    async def send_outgoing(self) -> None:
        while requests := await self.engine.request("outgoing"):
            await self.send_requests(requests)

    async def send_requests(self, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            response = self.respond(request["type"], request["body"], request["event_type"])
            await self.engine.request("mark_sent", id=request["id"], type=request["type"], response=response)

    def respond(self, kind: int, body: dict[str, Any], event_type: str | None) -> dict[str, Any]:
        """Answer a request by its ``RequestType``: keys/upload, keys/query, keys/claim, or sendToDevice."""
        match kind:
            case 0:
                if keys := body.get("device_keys"):
                    self.server.device_keys.setdefault(self.user, {})[DEVICE] = keys
                self.server.upload(self.user, DEVICE, body)
                count = len(self.server.one_time_keys[self.user, DEVICE])
                return {"one_time_key_counts": {"signed_curve25519": count}}
            case 1:
                return {**self.server.query(), "failures": {}}
            case 2:
                return {**self.server.claim(body), "failures": {}}
            case _:
                assert event_type is not None
                self.server.send(self.user, event_type, body["messages"])
                return {}

    async def know(self, *peers: Peer) -> None:
        await self.engine.request("track", users=[self.user, *(peer.user for peer in peers)])
        await self.send_outgoing()

    async def receive(self) -> list[str]:
        """Process the to-device queue, answer requests, and return the types of the events."""
        events = self.server.queues.pop((self.user, DEVICE), [])
        await self.engine.request("receive", events=events)
        await self.send_outgoing()
        return [event["type"] for event in events]

    async def send(self, text: str, peer: Peer, event_id: str) -> dict[str, Any]:
        await self.send_requests(await self.engine.request("claim", users=[peer.user]))
        await self.send_requests(await self.engine.request("share", users=[peer.user]))
        content = await self.engine.request("encrypt", content={"msgtype": "m.text", "body": text})
        return {"type": "m.room.encrypted", "sender": self.user, "event_id": event_id, "content": content}

    async def read(self, event: dict[str, Any]) -> tuple[str, str]:
        """Return the text and the shield of an event."""
        sent = {**event, "room_id": ROOM, "origin_server_ts": 1, "unsigned": {}}
        found = await self.engine.request("decrypt", event=sent)
        return found["content"]["body"], found["shield"]


@pytest.fixture
def ghost() -> Peer:
    return Peer(KeyServer(), "@agent_x:example.org", "GHOST")


@pytest.fixture
async def person(ghost: Peer) -> AsyncIterator[ElementUser]:
    engine = await JsProcess.start("machine.js")
    try:
        user = ElementUser(engine, ghost.server, UserId("@person:example.org"))
        await user.arrive()
        await user.know(ghost)
        yield user
    finally:
        await engine.end()


def members(ghost: Peer, person: ElementUser) -> list[Any]:
    return [ghost, person]


async def test_element_reads_a_ghost_without_shield(ghost: Peer, person: ElementUser) -> None:
    event = ghost.send("Привіт", members(ghost, person))
    await person.receive()
    assert await person.read(event) == ("Привіт", "None")
    assert [device.is_cross_signed for device in ghost.store.devices[person.user].values()] == [True]


async def test_element_shows_a_shield_for_an_unsigned_ghost(ghost: Peer, person: ElementUser) -> None:
    unsigned = Peer(ghost.server, "@agent_y:example.org", "UNSIGNED", cross_signed=False)
    await person.know(unsigned)
    event = unsigned.send("text", members(unsigned, person))
    await person.receive()
    assert await person.read(event) == ("text", "Red")


async def test_ghost_reads_element_and_answers(ghost: Peer, person: ElementUser) -> None:
    question = await person.send("question", ghost, "$1")
    ghost.receive_all()
    assert text_of(ghost.read(question)) == "question"
    answer = ghost.send("answer", members(ghost, person))
    await person.receive()
    assert await person.read(answer) == ("answer", "None")


async def test_element_answers_a_key_request(ghost: Peer, person: ElementUser) -> None:
    event = await person.send("lost", ghost, "$1")
    ghost.take_queue()
    ghost.members_devices(members(ghost, person))
    ghost.request_key(event)
    assert await person.receive() == ["m.room_key_request"]
    ghost.receive_all()
    assert text_of(ghost.read(event)) == "lost"


async def test_lost_olm_sessions_with_element_recover(ghost: Peer, person: ElementUser) -> None:
    await person.send("first", ghost, "$1")
    ghost.receive_all()
    ghost.send("answer", members(ghost, person))
    await person.receive()
    ghost.store.olm.clear()
    await person.engine.request("discard_session")
    event = await person.send("second", ghost, "$2")
    ghost.receive_all()
    with pytest.raises(UnknownSession):
        ghost.read(event)
    ghost.request_key(event)
    assert set(await person.receive()) == {"m.room.encrypted", "m.room_key_request"}
    ghost.receive_all()
    assert text_of(ghost.read(event)) == "second"


async def test_history_that_element_shares_is_read(ghost: Peer, person: ElementUser) -> None:
    before = await person.send("before", ghost, "$1")
    late = Peer(ghost.server, "@agent_z:example.org", "LATE")
    await person.know(late)
    await person.send_requests(await person.engine.request("claim", users=[late.user]))
    shared = await person.engine.request("share_history", user_id=late.user, url=URL)
    await person.send_requests(shared["requests"])
    (event,) = [late.receive(each) for each in late.take_queue()]
    assert event is not None
    reference = parse_bundle_event(event)
    encoded = decrypt_attachment(base64.b64decode(shared["file"]), EncryptedFile.parse(reference.file))
    owners = {device.curve25519: device.user for device in late.members_devices(members(late, person))}
    for row in import_bundle(encoded, room=reference.room, owners=owners, ghost=late.user, key=KEY).sessions:
        late.keep(row)
    found = late.read(before)
    assert (text_of(found), found.origin) == ("before", KeyOrigin.BUNDLE)


async def test_files_are_decrypted_both_ways(person: ElementUser) -> None:
    theirs = await person.engine.request("encrypt_file", text="Привіт")
    file = EncryptedFile.parse({**theirs["info"], "url": URL})
    assert decrypt_attachment(base64.b64decode(theirs["file"]), file).decode() == "Привіт"
    ours = encrypt_attachment("Привіт".encode())
    encoded = base64.b64encode(ours.ciphertext).decode()
    assert await person.engine.request("decrypt_file", file=encoded, info=ours.at(URL).to_content()) == "Привіт"
