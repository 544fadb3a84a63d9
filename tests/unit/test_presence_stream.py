"""The presence stream: sequence numbers, batches of a tick, and replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest

from daarion_appservice.city.events import PresenceChanged, PresenceRenumbered
from daarion_appservice.city.presence import PresenceState, Status, Transition
from daarion_appservice.city.types import SubjectId
from daarion_appservice.realtime import presence_stream
from daarion_appservice.realtime.presence_profiles import ShownProfile
from daarion_appservice.realtime.presence_stream import Changes, PresenceStream
from tests.parts.waiting import WAIT_S

START_MS = 1_700_000_000_000
FIRST_SEQ = START_MS * 1000
TICK_S = 0.01


class Listener:
    def __init__(self) -> None:
        self.ticks: list[list[dict[str, Any]]] = []
        self.came = asyncio.Event()

    def presence(self, changes: Changes) -> None:
        self.ticks.append([orjson.loads(b"{" + each.update + b"}") for each in changes.changes])
        self.came.set()

    async def next_tick(self) -> list[dict[str, Any]]:
        async with asyncio.timeout(WAIT_S):
            await self.came.wait()
        self.came.clear()
        return self.ticks[-1]


@pytest.fixture
async def stream() -> PresenceStream:
    return new_stream()


async def test_subject_offline_within_tick_not_in_snapshot() -> None:
    now: dict[SubjectId, PresenceState] = {}
    stream = PresenceStream(lambda subject: now[subject], lambda: START_MS, tick_s=60)
    for subject in ("u_1", "u_2"):
        now[SubjectId(subject)] = PresenceState(Status.ONLINE)
        change(stream, subject)
        stream._flush()
    now[SubjectId("u_1")] = PresenceState(Status.OFFLINE)
    change(stream, "u_1", Status.OFFLINE)
    assert [user["user_id"] for user in snapshot_of(stream)["users"]] == ["u_2"]
    stream.close()


async def test_link_is_in_next_snapshot_and_replay() -> None:
    """A client that disconnected just before the link has the same number as one that got it."""
    now = {SubjectId("u_1"): PresenceState(Status.ONLINE)}
    stream = PresenceStream(lambda subject: now[subject], lambda: START_MS, tick_s=60)
    change(stream, "u_1")
    assert [user["user_id"] for user in snapshot_of(stream)["users"]] == ["u_1"]
    seq, person = stream.seq, SubjectId("@alice:city.localhost")
    now[person], online = now[SubjectId("u_1")], PresenceState(Status.ONLINE)
    offline = PresenceState()
    stream.on_canonical_subject_changed(
        [Transition(SubjectId("u_1"), online, offline), Transition(person, offline, online)],
    )
    assert stream.seq == seq
    assert [user["user_id"] for user in snapshot_of(stream)["users"]] == [person]
    beginning = stream.initial_data(seq)
    assert beginning.snapshot is not None
    change(stream, person, Status.AWAY)
    stream._flush()
    assert [missed.subject for missed in stream.initial_data(stream.seq).missed] == []
    assert stream.initial_data(stream.seq).snapshot is None
    stream.close()


async def test_concurrent_clients_share_snapshot() -> None:
    now = [START_MS]
    stream = PresenceStream(lambda _: PresenceState(Status.ONLINE, None, START_MS), lambda: now[0], tick_s=60)
    change(stream, "u_1")
    first = stream.initial_data(None).snapshot
    assert stream.initial_data(None).snapshot is first

    now[0] += 5000
    assert snapshot_of(stream)["users"][0]["last_active_ago_ms"] == 5000, "it does not grow old"
    change(stream, "u_2")
    stream._flush()
    assert [user["user_id"] for user in snapshot_of(stream)["users"]].count("u_2") == 1
    stream.close()


async def test_thousands_of_clients_share_few_snapshots() -> None:
    now = [START_MS]

    def shown(_: SubjectId) -> PresenceState:
        now[0] += 10  # what it takes
        return PresenceState(Status.ONLINE)

    stream = PresenceStream(shown, lambda: now[0], seq=FIRST_SEQ, tick_s=60)
    for number in range(4):
        change(stream, f"u_{number}")
        stream._flush()
    first = stream.initial_data(None)
    assert first.snapshot is not None
    assert first.missed == []

    change(stream, "u_4")
    stream._flush()
    second = stream.initial_data(None)
    assert second.snapshot is first.snapshot
    assert [each.subject for each in second.missed] == ["u_4"]

    now[0] += 1000
    third = stream.initial_data(None)
    assert third.snapshot is not None
    assert third.snapshot is not first.snapshot
    assert len(orjson.loads(third.snapshot.encoded)["users"]) == 5
    stream.close()


def snapshot_of(stream: PresenceStream) -> dict[str, Any]:
    snapshot = stream.initial_data(None).snapshot
    assert snapshot is not None
    content: dict[str, Any] = orjson.loads(snapshot.encoded)
    return content


def new_stream(history: int = 100) -> PresenceStream:
    return PresenceStream(
        lambda _: PresenceState(Status.ONLINE), lambda: START_MS, seq=FIRST_SEQ, tick_s=TICK_S, history=history
    )


def change(stream: PresenceStream, subject: str, status: Status = Status.ONLINE, *, seq: int | None = None) -> None:
    """A change as the store tells it: numbered, one more than the newest so far."""
    pending = max((each.seq for each in stream._pending.values()), default=stream.seq)
    stream.on_presence_changed(
        PresenceChanged(Transition(SubjectId(subject), PresenceState(), PresenceState(status)), seq or pending + 1)
    )


def sent(listener: Listener) -> list[str]:
    return [each["user_id"] for tick in listener.ticks for each in tick]


async def has_all(listener: Listener, last: str) -> None:
    """Wait until the listener has the change of ``last``."""
    while last not in sent(listener):
        await listener.next_tick()


async def test_first_change_is_sent_at_once_others_together(stream: PresenceStream) -> None:
    listener = Listener()
    stream.listen(listener)

    change(stream, "u_1")
    assert [[each["user_id"] for each in tick] for tick in listener.ticks] == [["u_1"]]
    listener.came.clear()
    for number in range(2, 6):
        change(stream, f"u_{number}")
    assert len(listener.ticks) == 1, "within a tick nothing more goes out"
    assert [each["user_id"] for each in await listener.next_tick()] == ["u_2", "u_3", "u_4", "u_5"]


async def test_thousand_listeners_get_all_changes_in_order(stream: PresenceStream) -> None:
    stream._fan_out._slice_s = 0  # the event loop runs other callbacks after each 32 listeners
    listeners = [Listener() for _ in range(1000)]
    for listener in listeners:
        stream.listen(listener)
    change(stream, "u_1")
    change(stream, "u_2")
    served = [listener for listener in listeners if listener.ticks]
    assert 0 < len(served) < 1000
    late = Listener()
    beginning = stream.initial_data(FIRST_SEQ)
    stream.listen(late)
    for listener in (*listeners, late):
        await has_all(listener, "u_2")
    assert {tuple(sent(listener)) for listener in listeners} == {("u_1", "u_2")}
    assert sent(late) == ["u_2"], "the first change is in what a new client gets first"
    assert beginning.snapshot is not None or [each.subject for each in beginning.missed] == ["u_1"]


async def test_renumbering_completes_the_delivery_before(stream: PresenceStream) -> None:
    stream._fan_out._slice_s = 0
    listeners = [Listener() for _ in range(1000)]
    for listener in listeners:
        stream.listen(listener)
    change(stream, "u_1")
    change(stream, "u_2")
    stream.renumber(PresenceRenumbered(FIRST_SEQ + 1000))
    stream._fan_out.finish()
    assert {tuple(sent(listener)) for listener in listeners} == {("u_1", "u_2")}


async def test_newest_of_several_changes_is_sent(stream: PresenceStream) -> None:
    listener = Listener()
    stream.listen(listener)
    change(stream, "u_0")
    listener.came.clear()
    change(stream, "u_1", Status.ONLINE)
    change(stream, "u_2")
    change(stream, "u_1", Status.AWAY)
    assert [(each["user_id"], each["status"]) for each in await listener.next_tick()] == [
        ("u_2", "online"),
        ("u_1", "away"),
    ]


async def test_numbers_are_the_stores(stream: PresenceStream) -> None:
    listener = Listener()
    stream.listen(listener)
    assert stream.seq == FIRST_SEQ
    change(stream, "u_1", seq=FIRST_SEQ + 3)
    change(stream, "u_2", seq=FIRST_SEQ + 9)
    listener.came.clear()
    await listener.next_tick()
    assert [each["seq"] for tick in listener.ticks for each in tick] == [FIRST_SEQ + 3, FIRST_SEQ + 9]
    assert stream.seq == FIRST_SEQ + 9
    for known in (FIRST_SEQ + 3, FIRST_SEQ + 5):
        assert [each.subject for each in stream.since(known) or ()] == ["u_2"]


async def test_renumbering_resets_replay(stream: PresenceStream) -> None:
    listener = Listener()
    stream.listen(listener)
    change(stream, "u_1")
    change(stream, "u_2")
    stream.renumber(PresenceRenumbered(FIRST_SEQ + 100))
    assert [each["user_id"] for tick in listener.ticks for each in tick] == ["u_1", "u_2"], "nothing is left out"
    assert stream.since(FIRST_SEQ + 2) is None
    assert stream.since(FIRST_SEQ + 100) == []
    change(stream, "u_3")
    listener.came.clear()
    await listener.next_tick()
    assert [each.seq for each in stream.since(FIRST_SEQ + 100) or ()] == [FIRST_SEQ + 101]


async def test_replay_has_newest_change_of_each_subject(stream: PresenceStream) -> None:
    first = stream.seq
    for subject, status in (("u_1", Status.ONLINE), ("u_2", Status.ONLINE), ("u_1", Status.AWAY)):
        change(stream, subject, status)
        await asyncio.sleep(TICK_S * 2)

    missed = stream.since(first)
    assert missed is not None
    assert [each.subject for each in missed] == ["u_2", "u_1"]
    assert [each.seq - first for each in missed] == [2, 3]
    assert stream.since(stream.seq) == []


async def test_ambiguous_number_is_refused(stream: PresenceStream) -> None:
    first = stream.seq
    assert stream.since(first - 1) is None, "of an earlier process"
    assert stream.since(first + 1) is None, "of the future"
    small = new_stream(history=2)
    for number in range(4):
        change(small, f"u_{number}")
        await asyncio.sleep(TICK_S * 2)
    assert small.since(small.seq - 3) is None, "the history reaches back two changes only"
    assert [each.subject for each in small.since(small.seq - 2) or ()] == ["u_2", "u_3"]


async def test_snapshot_has_all_online_subjects(stream: PresenceStream) -> None:
    change(stream, "u_1")
    await asyncio.sleep(TICK_S * 2)
    change(stream, "u_2", Status.AWAY)
    await asyncio.sleep(TICK_S * 2)
    change(stream, "u_1", Status.OFFLINE)
    await asyncio.sleep(TICK_S * 2)
    snapshot = snapshot_of(stream)
    assert [user["user_id"] for user in snapshot["users"]] == ["u_2"]
    assert snapshot["seq"] == stream.seq


async def test_history_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "я" * 255
    monkeypatch.setattr(presence_stream, "HISTORY_BYTES", 10_000)
    stream = PresenceStream(lambda _: PresenceState(), lambda: START_MS, tick_s=60, history=1000, seq=FIRST_SEQ)
    for number in range(1, 101):
        shown = PresenceState(Status.ONLINE, text)
        stream.on_presence_changed(
            PresenceChanged(Transition(SubjectId(f"u_{number}"), PresenceState(), shown), FIRST_SEQ + number)
        )
        stream._flush()
    kept = stream.since(FIRST_SEQ + 90)
    assert kept is not None
    assert [change.subject for change in kept] == [f"u_{number}" for number in range(91, 101)]
    assert stream.since(FIRST_SEQ + 70) is None, "what is too long ago is answered with a resync"
    stream.close()


class SlowProfiles:
    """Names that are loaded when the test says so."""

    def __init__(self) -> None:
        self.known: dict[SubjectId, ShownProfile] = {}
        self.waiting: list[Callable[[], None]] = []

    def of(self, subject: SubjectId, /) -> ShownProfile | None:
        return self.known.get(subject)

    def load(self, _subjects: Iterable[SubjectId], then: Callable[[], None], /) -> None:
        self.waiting.append(then)

    def loaded(self, **names: str) -> None:
        self.known |= {SubjectId(subject): ShownProfile(name) for subject, name in names.items()}
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()


@pytest.fixture
def profiles() -> SlowProfiles:
    return SlowProfiles()


def stream_with(profiles: SlowProfiles) -> PresenceStream:
    online = PresenceState(Status.ONLINE)
    return PresenceStream(lambda _: online, lambda: START_MS, profiles=profiles, seq=FIRST_SEQ, tick_s=TICK_S)


async def test_changes_wait_for_names_in_order(profiles: SlowProfiles) -> None:
    stream, listener = stream_with(profiles), Listener()
    stream.listen(listener)
    profiles.known[SubjectId("u_2")] = ShownProfile("Taras")
    change(stream, "u_1")
    change(stream, "u_2")
    assert listener.ticks == []
    profiles.loaded(u_1="Oksana")
    sent = await listener.next_tick()
    assert [(each["user_id"], each["display_name"]) for each in sent] == [("u_1", "Oksana"), ("u_2", "Taras")]
    assert sent[0]["seq"] < sent[1]["seq"]
    stream.close()


async def test_changes_go_without_names_after_a_while(profiles: SlowProfiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_stream, "PROFILES_S", TICK_S)
    stream, listener = stream_with(profiles), Listener()
    stream.listen(listener)
    change(stream, "u_1")
    assert [each["display_name"] for each in await listener.next_tick()] == [None]
    profiles.loaded(u_1="Oksana")
    assert [each["display_name"] for each in await listener.next_tick()] == ["Oksana"]
    stream.close()


async def test_names_that_are_not_kept_are_read_once(profiles: SlowProfiles) -> None:
    stream, listener = stream_with(profiles), Listener()
    stream.listen(listener)
    profiles.known[SubjectId("u_0")] = ShownProfile("Petro")
    for subject in ("u_0", "u_1", "u_2"):
        change(stream, subject)
    async with asyncio.timeout(WAIT_S):
        while not profiles.waiting:
            await asyncio.sleep(TICK_S)
    # As if the names of so many subjects were read that the first ones are dropped again.
    profiles.loaded(u_2="Taras")
    assert not profiles.waiting
    assert [each["display_name"] for each in listener.ticks[-1]] == [None, "Taras"]
    stream.close()


async def test_renumbering_sends_changes_that_wait(profiles: SlowProfiles) -> None:
    stream, listener = stream_with(profiles), Listener()
    stream.listen(listener)
    change(stream, "u_1")
    stream.renumber(PresenceRenumbered(FIRST_SEQ + 1000))
    assert [each["user_id"] for each in listener.ticks[0]] == ["u_1"]
    profiles.loaded(u_1="Oksana")
    stream.close()


async def test_unchanged_name_is_not_sent_again(profiles: SlowProfiles) -> None:
    stream, listener = stream_with(profiles), Listener()
    stream.listen(listener)
    profiles.known[SubjectId("u_1")] = ShownProfile("Oksana")
    change(stream, "u_1")
    stream.on_profiles_changed([SubjectId("u_1"), SubjectId("u_2")])
    stream._flush()
    assert len(listener.ticks) == 1
    stream.close()
