"""Presence as a stream: every change has a number, and whoever comes back with one gets exactly what they missed.

    change ─► pending (newest of a subject wins) ─► tick ─► numbered, encoded once ─► history, listeners

A lone change goes out at once; changes that follow within a tick wait for its end and go together. Numbers begin at the
microseconds since 1970 at which the process started, and go up by one a change: so a number of an earlier process is lower
than all of this one, and is answered with a resync, like one that the history no longer reaches back to. Never a silent gap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from ..city.events import PresenceChanged
from ..city.ports import NowMs
from ..city.presence import Shown, Status
from ..city.types import SubjectId

TICK_S: Final = 0.05
SNAPSHOT_MS: Final = 1000
"""How long a snapshot serves while nobody comes or goes: ``last_active_ago_ms`` in it is at most so much too low."""
HISTORY: Final = 20_000
"""Changes that can be replayed: at 500 a second those of the last 40 s, in quiet times those of days."""


@dataclass(frozen=True, slots=True)
class Change:
    seq: int
    subject: SubjectId
    update: bytes
    """The JSON of the change, without its braces: what single and batched frames are both made of."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    seq: int
    at_ms: int
    encoded: bytes


class Listener(Protocol):
    def presence(self, changes: Changes) -> None:
        """Pass on what changed; returns at once and never raises."""


class Changes:
    """What changed in one tick, oldest first; each form of it is encoded once, when the first listener wants it."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes
        self._forms: dict[str, bytes] = {}

    @property
    def seq(self) -> int:
        return self.changes[-1].seq

    @property
    def singly(self) -> list[bytes]:
        """One ``presence.update`` a change."""
        return [b'{"event":"presence.update",' + each.update + b"}" for each in self.changes]

    @property
    def together(self) -> bytes:
        """One ``presence.updates`` for all."""
        inner = b",".join(b"{" + each.update + b"}" for each in self.changes)
        return b'{"event":"presence.updates","updates":[' + inner + b'],"seq":%d}' % self.seq

    def once(self, form: str, encode: Encode) -> bytes:
        """The bytes of one form (a WebSocket frame, an SSE block), made by ``encode`` the first time."""
        found = self._forms.get(form)
        if found is None:
            found = self._forms[form] = encode(self)
        return found


class Encode(Protocol):
    def __call__(self, changes: Changes, /) -> bytes: ...


def encode_presence(subject: SubjectId, shown: Shown, now_ms: int) -> dict[str, object]:
    """A subject as snapshots and updates show it."""
    return {
        "user_id": subject,
        "status": shown.status,
        "status_msg": shown.status_msg,
        "last_active_ago_ms": None if shown.last_active_ms is None else max(0, now_ms - shown.last_active_ms),
    }


class PresenceStream:
    def __init__(
        self,
        shown: Callable[[SubjectId], Shown],
        now_ms: NowMs,
        *,
        tick_s: float = TICK_S,
        history: int = HISTORY,
    ) -> None:
        self._shown = shown
        self._now_ms = now_ms
        self._tick_s = tick_s
        self.epoch = now_ms() * 1000
        self.seq = self.epoch
        self._history: deque[Change] = deque(maxlen=history)
        self._here: set[SubjectId] = set()
        self._pending: dict[SubjectId, Shown] = {}
        self._listeners: set[Listener] = set()
        self._tick: asyncio.TimerHandle | None = None
        self._taken = _Snapshot(-1, 0, b"")

    def follow(self, change: PresenceChanged) -> None:
        """Take note of a change; called by the bus."""
        subject, shown = change.transition.subject, change.transition.after
        self._pending.pop(subject, None)
        self._pending[subject] = shown
        if self._tick is None:
            self._flush()

    def listen(self, listener: Listener) -> None:
        self._listeners.add(listener)

    def unlisten(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def snapshot(self) -> bytes:
        """Everybody who is not offline, as of ``seq``; made once for all who come at the same time."""
        now_ms = self._now_ms()
        if self._taken.seq != self.seq or now_ms - self._taken.at_ms >= SNAPSHOT_MS:
            self._taken = _Snapshot(self.seq, now_ms, self._encode_snapshot(now_ms))
        return self._taken.encoded

    def _encode_snapshot(self, now_ms: int) -> bytes:
        users = []
        for subject in self._here:
            shown = self._shown(subject)
            # Who left within this tick stands here until its end.
            if shown.status is not Status.OFFLINE:
                users.append(encode_presence(subject, shown, now_ms))
        return orjson.dumps({"event": "presence.snapshot", "users": users, "seq": self.seq})

    def since(self, seq: int) -> list[Change] | None:
        """What changed after ``seq``, the newest of each subject; None when that cannot be told any more."""
        oldest = self._history[0].seq if self._history else self.seq + 1
        if not max(self.epoch, oldest - 1) <= seq <= self.seq:
            return None
        newest: dict[SubjectId, Change] = {}
        for change in self._missed(seq):
            newest.pop(change.subject, None)
            newest[change.subject] = change
        return list(newest.values())

    def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()

    def _missed(self, seq: int) -> Iterable[Change]:
        missed = self.seq - seq
        return [] if missed == 0 else list(self._history)[-missed:]

    def _flush(self) -> None:
        """Send what is pending; if there was anything, what comes within the next tick waits for its end."""
        self._tick = None
        if not self._pending:
            return
        now_ms = self._now_ms()
        changes = Changes([self._number(subject, shown, now_ms) for subject, shown in self._pending.items()])
        self._pending.clear()
        self._tick = asyncio.get_running_loop().call_later(self._tick_s, self._flush)
        for listener in list(self._listeners):
            listener.presence(changes)

    def _number(self, subject: SubjectId, shown: Shown, now_ms: int) -> Change:
        if shown.status is Status.OFFLINE:
            self._here.discard(subject)
        else:
            self._here.add(subject)
        self.seq += 1
        update = orjson.dumps(encode_presence(subject, shown, now_ms) | {"seq": self.seq})
        change = Change(self.seq, subject, update[1:-1])
        self._history.append(change)
        return change
