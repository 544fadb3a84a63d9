"""The sessions of all subjects, stored in Redis for all processes; Lua scripts compute each change there, once.

    city:{presence}:…      the sessions, their deadlines and the stream of changes; one hash tag, so that a cluster
                           stores them together (see lua/presence.lua)
    presence:<subject>     ``online`` or ``away`` with a lifetime, for other services of the city to read; a cluster
                           distributes these keys, so they are written beside the scripts

All calls raise ``redis_client.REDIS_ERRORS``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from ..city.presence import MAX_SESSIONS, Heartbeat, KeepCurrent, PresenceState, RemotePresence, Status
from ..city.types import SubjectId
from .presence_replica import RESERVED_NUMBERS, SharedChange
from .redis_client import REDIS_ERRORS, Client, response_of
from .redis_script import AddCommands, RedisScript

BATCH: Final = 1000
"""Sessions in one request: a few milliseconds of Redis's time."""

_KEYS: Final = tuple(f"city:{{presence}}:{name}" for name in ("subjects", "deadlines", "changes", "meta", "processes"))
_SUBJECTS, _DEADLINES, _CHANGES, *_ = _KEYS


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """The new state of one session and the time when it was set."""

    subject: SubjectId
    session: str
    status: Status
    status_msg: str | KeepCurrent | None
    at_ms: int
    is_remote: bool = False
    last_active_ms: int | None = None

    @classmethod
    def from_heartbeat(cls, heartbeat: Heartbeat, now_ms: int) -> SessionUpdate:
        return cls(heartbeat.subject, heartbeat.session, heartbeat.status, heartbeat.status_msg, now_ms)

    @classmethod
    def from_remote(cls, remote: RemotePresence, now_ms: int) -> SessionUpdate:
        shown = remote.state
        text = None if shown.status is Status.OFFLINE else shown.status_msg
        return cls(remote.subject, remote.session, shown.status, text, now_ms, True, shown.last_active_ms)


@dataclass(frozen=True, slots=True)
class SessionUpdateResult:
    """The presence after an update; ``seq`` is the number of the change that it caused, None if there was none."""

    status: Status
    status_msg: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """A position in the stream of changes."""

    seq: int
    data_id: str
    """Identifier of the data in Redis: it stays the same until Redis loses its data."""


@dataclass(frozen=True, slots=True)
class ExpiryResult:
    """The result of a search for expired sessions; ``wait_ms`` is the time until the next deadline, if one is known."""

    wait_ms: int | None
    data_id: str | None


class RedisSessions:
    """Access to the sessions in Redis.

    Args:
        name: name of this process.
        now_ms: a clock for tests; by default Redis's own clock, the same for all processes.
    """

    def __init__(self, client: Client, *, name: str, ttl_ms: int, now_ms: Callable[[], int] | None = None) -> None:
        self._client: Any = client  # the types of its methods' results depend on options of the connection
        self._name = name
        self._ttl_ms = ttl_ms
        self._now_ms = now_ms
        self._scripts = {name: RedisScript("presence", name) for name in ("beat", "expire", "join", "leave")}

    async def apply(
        self, updates: Sequence[SessionUpdate], ages_ms: Sequence[int], predict: Callable[[SessionUpdate], Status]
    ) -> list[SessionUpdateResult]:
        """Apply updates in one round trip.

        Args:
            ages_ms: how long ago each update was made.
            predict: predicts the resulting status, so that the keys for other services are set in the same round trip; a
                wrong prediction is corrected in a second one.
        """
        items = orjson.dumps([_item(each, age_ms) for each, age_ms in zip(updates, ages_ms, strict=True)])
        expected = {
            each.subject: (predict(each), self._ttl_ms - age_ms) for each, age_ms in zip(updates, ages_ms, strict=True)
        }
        encoded = await self._run("beat", [str(MAX_SESSIONS), items], pipelined=partial(_set_keys, shown=expected))
        results = [_result(*each) for each in orjson.loads(encoded)]
        shown = {each.subject: result.status for each, result in zip(updates, results, strict=True)}
        wrong = {
            subject: (shown[subject], left_ms)
            for subject, (status, left_ms) in expected.items()
            if shown[subject] is not status
        }
        if wrong:
            await self._write_keys(wrong)
        return results

    async def expire(self) -> ExpiryResult:
        """Expire sessions whose deadline has passed."""
        while True:
            answer = orjson.loads(await self._run("expire", [str(BATCH), self._name]))
            ended = {
                SubjectId(subject): (Status(status), left_ms)
                for subject, status, left_ms in answer["ended"] or ()
                if status == Status.AWAY
            }
            if ended:
                await self._write_keys(ended)
            if len(answer["ended"]) < BATCH:
                return ExpiryResult(answer["wait"], answer.get("era"))

    async def join(self, *, published_seq: int, read_seq: int, data_id: str | None) -> StreamPosition:
        """Set a mark in the stream of changes, from which this process follows."""
        mark, current_id = await self._run(
            "join", [str(published_seq), str(read_seq), str(RESERVED_NUMBERS), data_id or ""]
        )
        return StreamPosition(int(mark), current_id)

    async def leave(self) -> int:
        """Unregister this process; return how many others go on."""
        return int(await self._run("leave", [self._name]))

    async def snapshot(self) -> AsyncIterator[tuple[SubjectId, PresenceState, int]]:
        """Yield every known subject with the number of its newest change; concurrent changes may be included or not."""
        cursor = 0
        while True:
            cursor, page = await response_of(self._client.hscan(_SUBJECTS, cursor, count=BATCH))
            for subject, text in page.items():
                it = orjson.loads(text)
                yield SubjectId(subject), PresenceState(Status(it["st"]), it.get("m"), it.get("a")), int(it.get("q", 0))
            if not cursor:
                return

    async def changes(self, after: int, *, block_ms: int) -> list[SharedChange]:
        """Return the changes after the given number, oldest first; wait up to ``block_ms`` if there is none."""
        found = await response_of(
            self._client.xread({_CHANGES: f"{after}-0"}, count=BATCH, block=block_ms), is_blocking=True
        )
        if not found:
            return []
        ((_, entries),) = found
        return [_change(entry_id, fields) for entry_id, fields in entries]

    async def deadlines_after(self, deadline_ms: float) -> list[tuple[SubjectId, str, float]]:
        """Return the sessions whose deadlines are later than ``deadline_ms``, earliest first, with their deadlines."""
        found = await response_of(
            self._client.zrange(
                _DEADLINES, f"({deadline_ms:.0f}", "+inf", byscore=True, offset=0, num=BATCH, withscores=True
            )
        )
        return [(*_names(member), float(score)) for member, score in found]

    async def disconnect(self) -> None:
        """Close all connections, as some may not have noticed the loss of Redis; the next request opens new ones."""
        with suppress(*REDIS_ERRORS):
            await self._client.aclose()

    async def _run(self, name: str, arguments: list[str | bytes], *, pipelined: AddCommands | None = None) -> Any:
        now = "" if self._now_ms is None else str(self._now_ms())
        return await self._scripts[name].run(
            self._client, _KEYS, [now, str(self._ttl_ms), *arguments], pipelined=pipelined
        )

    async def _write_keys(self, shown: dict[SubjectId, tuple[Status, int]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        _set_keys(pipeline, shown)
        await response_of(pipeline.execute())


def _set_keys(pipeline: Any, shown: dict[SubjectId, tuple[Status, int]]) -> None:
    for subject, (status, left_ms) in shown.items():
        key = f"presence:{subject}"
        if status is Status.OFFLINE or left_ms <= 0:
            pipeline.delete(key)
        else:
            pipeline.set(key, status, px=left_ms)


def _item(update: SessionUpdate, age_ms: int) -> list[Any]:
    keep = isinstance(update.status_msg, KeepCurrent)
    return [
        update.subject,
        update.session,
        update.status,
        keep,
        None if keep else update.status_msg,
        age_ms,
        update.is_remote,
        update.last_active_ms,
    ]


def _result(seq: str, status: str, status_msg: str | None = None) -> SessionUpdateResult:
    return SessionUpdateResult(Status(status), status_msg, int(seq) if seq else None)


def _change(entry_id: str, fields: dict[str, str]) -> SharedChange:
    subject, active_ms = fields.get("s"), fields.get("a")
    return SharedChange(
        int(entry_id.partition("-")[0]),
        int(fields["p"]),
        None if subject is None else SubjectId(subject),
        PresenceState(
            Status(fields.get("c", "offline")), fields.get("m"), None if active_ms is None else int(active_ms)
        ),
    )


def _names(member: str) -> tuple[SubjectId, str]:
    """Split a member of the sorted set of deadlines into subject id and session; the length prefix counts bytes."""
    length, _, names = member.partition(":")
    encoded = names.encode()
    return SubjectId(encoded[: int(length)].decode()), encoded[int(length) :].decode()
