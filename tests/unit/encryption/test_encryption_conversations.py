"""Two and three engines against each other: losses, repeats, reorderings, crashes and restarts."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daarion_appservice.encryption.errors import ReplayedMessage, UnknownSession, WrongContext
from daarion_appservice.encryption.outbound_sessions import RotationPolicy
from tests.parts.encryption_peer import KEY, KeyServer, Peer, text_of

HOUR_MS = 60 * 60 * 1000


@pytest.fixture
def server() -> KeyServer:
    return KeyServer()


@pytest.fixture
def alice(server: KeyServer) -> Peer:
    return Peer(server, "@alice:example.org", "ALICE")


@pytest.fixture
def bob(server: KeyServer) -> Peer:
    return Peer(server, "@bob:example.org", "BOB")


def exchange(sender: Peer, reader: Peer, text: str) -> str:
    event = sender.send(text, [sender, reader])
    reader.receive_all()
    return text_of(reader.read(event))


def test_messages_both_ways_are_read(alice: Peer, bob: Peer) -> None:
    assert exchange(alice, bob, "Привіт") == "Привіт"
    assert exchange(bob, alice, "Hello") == "Hello"
    assert exchange(alice, bob, "again") == "again"


def test_message_without_its_key_waits(alice: Peer, bob: Peer) -> None:
    event = alice.send("early", [alice, bob])
    with pytest.raises(UnknownSession):
        bob.read(event)
    bob.receive_all()
    assert text_of(bob.read(event)) == "early"


def test_lost_key_comes_by_request(alice: Peer, bob: Peer) -> None:
    event = alice.send("lost", [alice, bob], is_key_lost=True)
    bob.members_devices([alice])
    bob.request_key(event)
    alice.receive_all()
    bob.receive_all()
    assert text_of(bob.read(event)) == "lost"


def test_request_of_a_stranger_gets_no_key(server: KeyServer, alice: Peer, bob: Peer) -> None:
    mallory = Peer(server, "@mallory:example.org", "MALLORY")
    event = alice.send("secret", [alice, bob])
    mallory.request_key(event)
    alice.receive_all()
    assert mallory.take_queue() == []


def test_lost_olm_sessions_recover(alice: Peer, bob: Peer) -> None:
    exchange(alice, bob, "one")
    exchange(bob, alice, "two")
    bob.store.olm.clear()
    alice.restart()
    event = alice.send("three", [alice, bob])
    bob.receive_all()
    with pytest.raises(UnknownSession):
        bob.read(event)
    bob.request_key(event)
    alice.receive_all()
    bob.receive_all()
    assert text_of(bob.read(event)) == "three"


def test_recovery_is_made_once_an_hour(alice: Peer, bob: Peer) -> None:
    exchange(alice, bob, "one")
    exchange(bob, alice, "two")
    bob.store.olm.clear()
    for _ in range(3):
        alice.restart()
        alice.send("more", [alice, bob])
    lost = bob.take_queue()
    assert len(lost) == 3
    for event in lost:
        bob.store.olm.clear()
        bob.receive(event)
    assert len(alice.take_queue()) == 1
    bob.now_ms += HOUR_MS
    bob.store.olm.clear()
    bob.receive(lost[0])
    assert len(alice.take_queue()) == 1


def test_second_device_reads_from_then_on(server: KeyServer, alice: Peer, bob: Peer) -> None:
    first = alice.send("before", [alice, bob])
    tablet = Peer(server, "@bob:example.org", "TABLET")
    second = alice.send("after", [alice, bob])
    tablet.receive_all()
    assert text_of(tablet.read(second)) == "after"
    with pytest.raises(UnknownSession):
        tablet.read(first)


def test_member_who_left_cannot_read_on(server: KeyServer, alice: Peer, bob: Peer) -> None:
    carol = Peer(server, "@carol:example.org", "CAROL")
    assert exchange(alice, carol, "hello") == "hello"
    event = alice.send("private", [alice, bob])
    carol.receive_all()
    with pytest.raises(UnknownSession):
        carol.read(event)


def test_message_under_another_event_id_is_refused(alice: Peer, bob: Peer) -> None:
    event = alice.send("once", [alice, bob])
    bob.receive_all()
    bob.read(event)
    assert text_of(bob.read(event)) == "once"
    with pytest.raises(ReplayedMessage):
        bob.read({**event, "event_id": "$other"})


def test_message_of_another_sender_is_refused(alice: Peer, bob: Peer) -> None:
    event = alice.send("mine", [alice, bob])
    bob.receive_all()
    with pytest.raises(WrongContext):
        bob.read({**event, "sender": "@mallory:example.org"})


def test_key_passed_on_does_not_change_the_owner(server: KeyServer, alice: Peer, bob: Peer) -> None:
    mallory = Peer(server, "@mallory:example.org", "MALLORY")
    event = alice.send("mine", [alice, bob, mallory])
    stolen = [mallory.receive(each) for each in mallory.take_queue()]
    assert stolen[0] is not None
    (device,) = mallory.members_devices([bob])
    mallory.claim((device,))
    mallory.send_olm(device, "m.room_key", stolen[0].content)
    for each in reversed(bob.take_queue()):
        bob.receive(each)
    assert text_of(bob.read({**event, "event_id": "$copy", "sender": mallory.user})) == "mine"
    assert text_of(bob.read(event)) == "mine"


def test_sixty_people_get_sessions_by_the_fallback_key(server: KeyServer, bob: Peer) -> None:
    people = [Peer(server, f"@p{number}:example.org", f"D{number}") for number in range(60)]
    events = [person.send(str(number), [person, bob]) for number, person in enumerate(people)]
    assert server.one_time_keys[bob.address] == {}
    bob.receive_all()
    assert [text_of(bob.read(event)) for event in events] == [str(number) for number in range(60)]


def test_replayed_fallback_message_keeps_the_ratchet(server: KeyServer, alice: Peer, bob: Peer) -> None:
    server.one_time_keys[bob.address].clear()
    alice.send("one", [alice, bob])
    (first,) = bob.take_queue()
    bob.receive(first)
    before = dict(bob.store.olm)
    assert bob.receive(first) is None
    assert {name: bob.store.olm.get(name) for name in before} == before


@pytest.mark.parametrize("changes", [{"signatures": {}}, {"key": "A" * 43}, {"key": None}, {"fallback": True}])
def test_forged_one_time_key_starts_no_session(
    server: KeyServer, alice: Peer, bob: Peer, changes: dict[str, object]
) -> None:
    for key in server.one_time_keys[bob.address].values():
        key.update(changes)
    alice.send("one", [alice, bob])
    bob.receive_all()
    assert [row.code for row in bob.store.withheld] == ["m.no_olm"]
    assert alice.store.olm == {}


def test_one_time_key_starts_one_session(alice: Peer, bob: Peer) -> None:
    alice.send("one", [alice, bob])
    (first,) = bob.take_queue()
    assert bob.receive(first) is not None
    bob.store.olm.clear()
    assert bob.receive(first) is None
    assert bob.store.olm == {}


def test_device_without_keys_gets_no_olm_once(server: KeyServer, alice: Peer, bob: Peer) -> None:
    server.one_time_keys[bob.address].clear()
    server.fallback_keys[bob.address].clear()
    alice.send("one", [alice, bob])
    alice.send("two", [alice, bob])
    bob.receive_all()
    assert [(row.code, row.session_id, row.user) for row in bob.store.withheld] == [("m.no_olm", None, alice.user)]


def test_device_gets_the_key_after_its_dummy(server: KeyServer, alice: Peer, bob: Peer) -> None:
    server.one_time_keys[bob.address].clear()
    server.fallback_keys[bob.address].clear()
    alice.send("one", [alice, bob])
    (device,) = bob.members_devices([alice])
    bob.claim((device,))
    bob.send_olm(device, "m.dummy", {})
    alice.receive_all()
    event = alice.send("two", [alice, bob])
    bob.receive_all()
    assert text_of(bob.read(event)) == "two"


def test_unsigned_device_gets_a_code_for_the_key(server: KeyServer, alice: Peer) -> None:
    eve = Peer(server, "@eve:example.org", "EVE", cross_signed=False)
    alice.only_cross_signed = True
    for text in ("one", "two"):
        alice.send(text, [alice, eve])
    eve.receive_all()
    assert [row.code for row in eve.store.withheld] == ["m.unverified"]
    assert alice.store.outbound is not None
    assert eve.store.withheld[0].session_id == alice.store.outbound.session_id
    assert eve.store.inbound == {}


def test_sessions_with_one_device_stay_at_five(alice: Peer, bob: Peer) -> None:
    (device,) = alice.members_devices([bob])
    for number in range(9):
        alice.now_ms += 1
        bob.now_ms += 1
        alice.claim((device,))
        alice.send_olm(device, "m.dummy", {"number": number})
        bob.receive_all()
    assert len(bob.store.olm) == 5
    newest = bob.newest()[alice.account.curve25519]
    assert newest.used_at_ms == bob.now_ms


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["send", "deliver", "lose", "repeat", "shuffle", "restart", "crash", "read", "spoof"]),
        st.integers(0, 1),
    ),
    max_size=30,
)


class Conversation:
    """Two peers, and every room event with what its author wrote."""

    def __init__(self, seed: int) -> None:
        self.server = KeyServer()
        self.peers = [Peer(self.server, "@a:example.org", "A"), Peer(self.server, "@b:example.org", "B")]
        for peer in self.peers:
            peer.policy = RotationPolicy(max_messages=3)
            peer.members_devices(self.peers)
        self.random = random.Random(seed)
        self.timeline: list[tuple[int, str, dict[str, Any]]] = []
        self.delivered: list[list[dict[str, Any]]] = [[], []]

    def run(self, operation: str, who: int) -> None:
        peer = self.peers[who]
        match operation:
            case "send":
                text = f"message {len(self.timeline)}"
                self.timeline.append((who, text, peer.send(text, self.peers)))
            case "deliver":
                self.deliver(who, peer.take_queue())
            case "lose":
                lost = peer.take_queue()
                self.deliver(who, [event for event in lost if self.random.random() < 0.5])
            case "repeat":
                self.deliver(who, self.delivered[who][-3:])
            case "shuffle":
                queue = peer.take_queue()
                self.random.shuffle(queue)
                self.deliver(who, queue)
            case "restart":
                peer.restart()
            case "crash":
                self.crash(who)
            case "read":
                self.read(who)
            case "spoof":
                self.spoof(who)

    def deliver(self, who: int, events: list[dict[str, Any]]) -> None:
        for event in events:
            self.peers[who].receive(event)
            self.delivered[who].append(event)

    def crash(self, who: int) -> None:
        """Process the queue, lose the commit, and get the same queue again."""
        peer = self.peers[who]
        queue, before = peer.take_queue(), copy.deepcopy(peer.store)
        for event in queue:
            peer.receive(event)
        peer.store = before
        self.deliver(who, queue)

    def read(self, who: int) -> list[dict[str, Any]]:
        """Read every message of the other peer; return those whose key is missing."""
        missing = []
        for author, text, event in self.timeline:
            if author == who:
                continue
            try:
                assert text_of(self.peers[who].read(event)) == text
            except UnknownSession:
                missing.append(event)
        return missing

    def spoof(self, who: int) -> None:
        """Repeat a message under another event id, or as another user's."""
        for author, _, event in self.timeline[-2:]:
            try:
                self.peers[1 - author].read(event)
            except UnknownSession:
                continue
            with pytest.raises(ReplayedMessage):
                self.peers[1 - author].read({**event, "event_id": "$spoofed"})
            with pytest.raises(WrongContext):
                self.peers[1 - author].read({**event, "sender": self.peers[1 - author].user})

    def settle(self) -> None:
        """Deliver everything, and request every missing key, with time between the rounds."""
        for _ in range(4):
            for who, peer in enumerate(self.peers):
                peer.now_ms += HOUR_MS
                peer.top_up({"signed_curve25519": len(self.server.one_time_keys[peer.address])}, [])
                for _ in range(2):
                    self.deliver(0, self.peers[0].take_queue())
                    self.deliver(1, self.peers[1].take_queue())
                peer.store.requests.clear()
                for event in self.read(who):
                    peer.request_key(event)


@settings(max_examples=40, deadline=None)
@given(OPERATIONS, st.integers(0, 1 << 16))
def test_every_message_is_read_after_any_losses(operations: list[tuple[str, int]], seed: int) -> None:
    conversation = Conversation(seed)
    for operation, who in operations:
        conversation.run(operation, who)
    conversation.settle()
    assert [conversation.read(who) for who in (0, 1)] == [[], []]
    for peer in conversation.peers:
        assert len(peer.store.olm) <= 5
        assert peer.account.pickle.find(str(KEY)) == -1
