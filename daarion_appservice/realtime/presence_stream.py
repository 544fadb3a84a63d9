"""Presence as a stream of numbered changes: a client that reconnects gets exactly the changes that it missed.

    change ─► pending (the newest of a subject wins) ─► tick ─► encoded once ─► history, listeners

A single change is sent at once; changes that follow within a tick are sent together at its end. The numbers are the
presence store's: they only go up, also across restarts. A number from before the history began, or before its oldest
entry, is therefore recognised and answered with a resync and a snapshot, never with a silent gap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NotRequired, Protocol, TypedDict

from ..city.events import PresenceChanged, PresenceRenumbered
from ..city.ports import NowMs
from ..city.presence import PresenceState, Status, Transition
from ..city.types import SubjectId, is_agent
from ..json_encoding import encode_json
from .fan_out import FanOut, Send
from .presence_profiles import NO_PROFILE, ShownProfile

TICK_S: Final = 0.05
SNAPSHOT_MS: Final = 1000
"""Longest time for which a snapshot is reused: ``last_active_ago_ms`` in it is at most this much too low."""
SNAPSHOT_SHARE: Final = 20
"""A snapshot is reused, with the changes since, for this many times the time that it took to encode. Thousands of
clients that connect at the same time, each with a change of its own, then do not cost a snapshot each.
"""
PROFILES_S: Final = 1.0
"""Longest time for which changes wait for names that are read for the first time; they are sent without names then."""
_PROFILES_AT_ONCE: Final = 500
"""Agents whose names are compared without a pause."""
HISTORY: Final = 20_000
"""Changes in the history: at 500 a second the last 40 s, in quiet times those of days."""
HISTORY_BYTES: Final = 8 * 1024 * 1024
"""Size of the history as JSON: four times that of 20,000 changes without status texts."""
MAX_REPLAY_BYTES: Final = 512 * 1024
"""Most bytes of missed changes for one client; a client that missed more gets a snapshot."""


@dataclass(frozen=True, slots=True)
class Change:
    """One numbered change of a subject's presence."""

    seq: int
    subject: SubjectId
    update: bytes
    """The JSON of the change without its braces; single and batched frames are built from it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All subjects that are not offline, as of ``seq``, as JSON; a reader also needs the changes since."""

    seq: int
    encoded: bytes
    at_ms: int
    took_ms: int
    _forms: dict[str, list[bytes]] = field(default_factory=dict)

    def once(self, form: str, make: Callable[[Snapshot], list[bytes]]) -> list[bytes]:
        """Return one encoding (WebSocket frames, an SSE block), made by ``make`` once and shared by all clients."""
        found = self._forms.get(form)
        if found is None:
            found = self._forms[form] = make(self)
        return found


@dataclass(frozen=True, slots=True)
class InitialData:
    """The first data for a new client: a snapshot, unless all that it missed can be replayed, and the changes since."""

    snapshot: Snapshot | None
    missed: list[Change]
    unnumbered: int
    """The number of changes without a number of their own until then."""


class PresenceListener(Protocol):
    """A connection that receives presence changes."""

    def presence(self, changes: Changes) -> None:
        """Send the changes to the client. Return at once and never raise."""


class Changes:
    """The changes of one tick, oldest first."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes

    @property
    def seq(self) -> int:
        return self.changes[-1].seq

    @property
    def singly(self) -> list[bytes]:
        """One ``presence.update`` frame for each change."""
        return [b'{"event":"presence.update",' + each.update + b"}" for each in self.changes]

    @property
    def together(self) -> bytes:
        """One ``presence.updates`` frame for all changes."""
        inner = b",".join(b"{" + each.update + b"}" for each in self.changes)
        return b'{"event":"presence.updates","updates":[' + inner + b'],"seq":%d}' % self.seq


Form = Callable[[Changes], tuple[Any, ...]]
"""Encodes the changes of one tick, once for all connections with this form; returns the arguments of their functions."""


def _as_changes(changes: Changes) -> tuple[Changes]:
    return (changes,)


class ProfileSource(Protocol):
    """Names and avatars of subjects: see ``presence_profiles``."""

    def of(self, subject: SubjectId, /) -> ShownProfile | None: ...
    def load(self, subjects: Iterable[SubjectId], then: Callable[[], None], /) -> None: ...


class NoProfiles:
    """Profiles of a stream without names."""

    def of(self, _subject: SubjectId, /) -> ShownProfile:
        return NO_PROFILE

    def load(self, subjects: Iterable[SubjectId], then: Callable[[], None], /) -> None:
        """Load nothing."""


class EncodedPresence(TypedDict):
    user_id: str
    status: Status
    status_msg: str | None
    last_active_ago_ms: int | None
    display_name: NotRequired[str | None]
    avatar_url: NotRequired[str | None]


def encode_presence(subject: SubjectId, shown: PresenceState, now_ms: int) -> EncodedPresence:
    """Return a subject's presence as snapshots and updates show it."""
    return {
        "user_id": subject,
        "status": shown.status,
        "status_msg": shown.status_msg,
        "last_active_ago_ms": None if shown.last_active_ms is None else max(0, now_ms - shown.last_active_ms),
    }


class PresenceStream:
    """History and listeners of presence changes.

    Args:
        shown: returns the current presence of a subject.
        seq: the number at which the presence store begins.
        profiles: the names and avatars of subjects.
        tick_s: the shortest time between two writes, in seconds.
        history: the maximum number of changes that can be replayed.
    """

    def __init__(
        self,
        shown: Callable[[SubjectId], PresenceState],
        now_ms: NowMs,
        *,
        profiles: ProfileSource | None = None,
        seq: int = 0,
        tick_s: float = TICK_S,
        history: int = HISTORY,
    ) -> None:
        self._shown = shown
        self._now_ms = now_ms
        self._profiles = profiles or NoProfiles()
        self._tick_s = tick_s
        self.seq = seq
        """The number of the newest change that was sent."""
        self._replayable_after = seq
        """A client that has this number or a later one can get the changes that it missed."""
        self._unnumbered_changed_at = -1
        """The number at the last change of canonical subjects, names or avatars; some clients that have it lack the change."""
        self._unnumbered = 0
        """How many changes of canonical subjects, names or avatars there were."""
        self._history: deque[Change] = deque()
        self._history_bytes = 0
        self._history_size = history
        self._online: dict[SubjectId, ShownProfile] = {}
        """The subjects who are not offline, with the names and avatars that clients have."""
        self._is_waiting_for_profiles = False
        self._pending: dict[SubjectId, PresenceChanged] = {}
        self._listeners: dict[Form, dict[object, Send]] = {}
        """Which function of each listener is called, by the form of the changes."""
        self._fan_out = FanOut[object]("PresenceFrame")
        self._tick: asyncio.TimerHandle | None = None
        self._snapshot: Snapshot | None = None

    def on_presence_changed(self, change: PresenceChanged) -> None:
        """Record a change; called by the bus."""
        subject = change.transition.subject
        self._pending.pop(subject, None)
        self._pending[subject] = change
        self._flush_if_idle()

    def on_canonical_subject_changed(self, transitions: Sequence[Transition]) -> None:
        """Send the transitions of persons whose links changed, and begin a new history.

        They have no number of their own: a client that reconnects without a newer number gets a snapshot.
        """
        seq = max([self.seq, *(change.seq for change in self._pending.values())])
        for transition in transitions:
            self._pending.pop(transition.subject, None)
            self._pending[transition.subject] = PresenceChanged(transition, seq)
        self.renumber(PresenceRenumbered(seq))
        self._begin_unnumbered(seq)

    def _begin_unnumbered(self, seq: int) -> None:
        self._unnumbered_changed_at = seq
        self._unnumbered += 1
        self._snapshot = None

    def on_profiles_changed(self, subjects: Iterable[SubjectId]) -> None:
        """Send the presence of those who have another name or avatar than clients know.

        Like changes of canonical subjects, these have no number of their own.
        """
        changed = [each for each in subjects if each in self._online and self._profiles.of(each) != self._online[each]]
        waiting = [each for each in changed if self._profiles.of(each) is not None and each not in self._pending]
        if not waiting:
            return
        seq = max([self.seq, *(change.seq for change in self._pending.values())])
        for subject in waiting:
            shown = self._shown(subject)
            self._pending[subject] = PresenceChanged(Transition(subject, shown, shown), seq)
        self._begin_unnumbered(seq)
        self._flush_if_idle()

    async def check_profiles_of_agents(self) -> None:
        """Send the presence of agents whose names have changed in the registry, without holding the event loop."""
        online = [subject for subject in self._online if is_agent(subject)]
        for begin in range(0, len(online), _PROFILES_AT_ONCE):
            self.on_profiles_changed(online[begin : begin + _PROFILES_AT_ONCE])
            await asyncio.sleep(0)

    def renumber(self, renumbered: PresenceRenumbered) -> None:
        """Begin a new history; called by the bus. Listeners stay and get the changes that they lack."""
        self._fan_out.finish()
        if self._tick is not None:
            self._tick.cancel()
        self._flush(is_due=True)
        self._history.clear()
        self._history_bytes = 0
        self.seq = self._replayable_after = renumbered.seq

    @property
    def listeners(self) -> list[object]:
        """The connections that receive changes."""
        return [listener for listeners in self._listeners.values() for listener in listeners]

    def listen(self, listener: PresenceListener) -> None:
        self.listen_to(_as_changes, listener, listener.presence)

    def listen_to(self, form: Form, listener: object, send: Send) -> None:
        """Call ``send`` with each tick's changes in an encoded form, until ``unlisten(listener)``.

        Args:
            form: encodes the changes; all listeners with the same form share the result.
            listener: identifies the connection.
            send: sends the result of ``form`` to the client. Returns at once.
        """
        self._listeners.setdefault(form, {})[listener] = send

    def unlisten(self, listener: object) -> None:
        for listeners in self._listeners.values():
            listeners.pop(listener, None)

    def initial_data(self, since: int | None, unnumbered: int | None = None) -> InitialData:
        """Return the first data for a client.

        Args:
            since: The client has all changes up to this number; None for a client without any.
            unnumbered: Of a client with a snapshot of this stream, how many changes without a number it has.
        """
        has_unnumbered = since is not None and (unnumbered == self._unnumbered or since > self._unnumbered_changed_at)
        missed = self.since(since) if since is not None and has_unnumbered else None
        if missed is not None:
            return InitialData(None, missed, self._unnumbered)
        snapshot, missed = self._recent_snapshot()
        return InitialData(snapshot, missed, self._unnumbered)

    def _recent_snapshot(self) -> tuple[Snapshot, list[Change]]:
        now_ms = self._now_ms()
        snapshot = self._snapshot
        if snapshot is not None and now_ms - snapshot.at_ms < SNAPSHOT_MS:
            missed = self.since(snapshot.seq)
            if missed == [] or (missed is not None and now_ms - snapshot.at_ms < snapshot.took_ms * SNAPSHOT_SHARE):
                return snapshot, missed
        encoded = self._encode_snapshot(now_ms)
        snapshot = self._snapshot = Snapshot(self.seq, encoded, now_ms, took_ms=self._now_ms() - now_ms)
        return snapshot, []

    def _encode_snapshot(self, now_ms: int) -> bytes:
        users = []
        for subject in self._online:
            shown = self._shown(subject)
            # A subject that went offline within this tick stays in the set until its end.
            if shown.status is not Status.OFFLINE:
                users.append({**encode_presence(subject, shown, now_ms), **self._profile(subject)._asdict()})
        return encode_json({"event": "presence.snapshot", "users": users, "seq": self.seq})

    def since(self, seq: int) -> list[Change] | None:
        """Return the newest change of each subject after ``seq``; None if they cannot be replayed."""
        if not self._replayable_after <= seq <= self.seq:
            return None
        newest: dict[SubjectId, Change] = {}
        size = 0
        for change in reversed(self._history):
            if change.seq <= seq:
                break
            if change.subject not in newest:
                newest[change.subject] = change
                size += len(change.update)
                if size > MAX_REPLAY_BYTES:
                    return None
        return list(reversed(newest.values()))

    def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()

    def _flush(self, *, is_due: bool = False) -> None:
        """Send the pending changes; after a write, further changes wait for the end of the tick.

        Args:
            is_due: Whether changes are sent without names that are not loaded yet.
        """
        self._tick, self._is_waiting_for_profiles = None, False
        if not self._pending:
            return
        if not is_due and (unknown := [each for each in self._pending if self._profiles.of(each) is None]):
            self._wait_for_profiles(unknown)
            return
        now_ms = self._now_ms()
        changes = Changes([self._encode(change, now_ms) for change in self._pending.values()])
        self._pending.clear()
        self._append_history(changes)
        for form, listeners in self._listeners.items():
            if listeners:
                self._fan_out.deliver(listeners, *form(changes), is_listening=listeners.__contains__)
        self._fan_out.when_done(partial(self._begin_tick, now_ms))

    def _begin_tick(self, flushed_at_ms: int) -> None:
        """Wait before the next write, as long as the last one took: thousands of listeners take longer than a tick."""
        took_s = (self._now_ms() - flushed_at_ms) / 1000
        self._tick = asyncio.get_running_loop().call_later(max(self._tick_s, took_s), self._flush)

    def _flush_if_idle(self) -> None:
        if self._tick is None and not self._fan_out.is_running:
            self._flush()

    def _wait_for_profiles(self, subjects: list[SubjectId]) -> None:
        """Load names before the pending changes are sent, all of them: their numbers must go up."""
        self._is_waiting_for_profiles = True
        self._tick = asyncio.get_running_loop().call_later(PROFILES_S, partial(self._flush, is_due=True))
        self._profiles.load(subjects, partial(self._on_profiles_loaded, subjects))

    def _on_profiles_loaded(self, subjects: list[SubjectId]) -> None:
        if self._is_waiting_for_profiles:
            if self._tick is not None:
                self._tick.cancel()
            # A profile that is still unknown is sent without a name: the database is unavailable, or too many names were read.
            self._flush(is_due=any(self._profiles.of(each) is None for each in subjects))
        self.on_profiles_changed(subjects)

    def _profile(self, subject: SubjectId) -> ShownProfile:
        return self._profiles.of(subject) or NO_PROFILE

    def _encode(self, change: PresenceChanged, now_ms: int) -> Change:
        subject, shown = change.transition.subject, change.transition.after
        profile = self._profile(subject)
        if shown.status is Status.OFFLINE:
            self._online.pop(subject, None)
        else:
            self._online[subject] = profile
        update = encode_json({**encode_presence(subject, shown, now_ms), **profile._asdict(), "seq": change.seq})
        return Change(change.seq, subject, update[1:-1])

    def _append_history(self, changes: Changes) -> None:
        self.seq = changes.seq
        self._history.extend(changes.changes)
        self._history_bytes += sum(len(change.update) for change in changes.changes)
        while len(self._history) > self._history_size or self._history_bytes > HISTORY_BYTES:
            oldest = self._history.popleft()
            self._history_bytes -= len(oldest.update)
            self._replayable_after = oldest.seq
