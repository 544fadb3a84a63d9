"""Hypothesis strategies of hostile input, and a check that such input did no harm to a running city."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import InboxState
from daarion_appservice.storage.outbox import OutboxState
from daarion_appservice.storage.queue_depths import read_queue_depths
from tests.parts.city import RunningCity, citizen_token, eventually
from tests.parts.matrix_user import MatrixUser

MAX_GROWTH_BYTES: Final = 50 * 1024 * 1024
"""Of the resident set. Measured: 32 MB after 2,000 events, 36 MB after the same again, all of it what malloc has kept
(``ops/heap.py``); objects of Python take as much as before."""
ALICE: Final = "@alice:city.localhost"
FAULTS: Final = (
    "request_failed",
    "task_failed",
    "unit_failed",
    "task_given_up",
    "listener_failed",
    "room_delivery_failed",
    "presence_request_failed",
)
"""Log events of internal errors."""
_COUNTS_OF_FAULTS: Final = {
    "daarion_task_restarts_total",
    "daarion_task_units_failed_total",
    "daarion_listener_errors_total",
}

_DRAWN_AT_ONCE: Final = 1_000
_EXAMPLE_SIZE: Final = 5
"""Values in one example. Hypothesis discards an example that needs more than 8 KiB of choices: lists of 50 events took a
hundred times as long."""

T = TypeVar("T")

_LONG: Final = ["x" * 60_000, "я" * 30_000, "[[[a](" * 5_000, "> " * 20_000, "<b>" * 20_000, "\n" * 40_000]
_SHORT: Final = [
    "\0",
    "\ud800",
    "a\udfffb",
    "\u202egpj.exe",
    "@agent_scribe:city.localhost",
    "**b**",
    "@daarwizz",
    "../..",
    "1e999",
]
_SHORT_PER_LONG: Final = 20
"""Short texts for each long one. An event has several texts: with a long one among every three, 2,000 events took 235 MB of
JSON (19 MB so), and what the test cost was the copying of strings; the long texts of 2,000 events are still hundreds."""


def _special(number: int) -> str:
    # A function: hypothesis writes out the values of `sampled_from` and the object of a bound method.
    return _LONG[number] if number < len(_LONG) else _SHORT[number % len(_SHORT)]


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),
    # Not `integers`, which favours the ends of its range.
    st.sampled_from(range(len(_LONG) * (1 + _SHORT_PER_LONG))).map(_special),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([1 << 63, -(1 << 64), 10**40, -1, 0]),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def events(room: str) -> st.SearchStrategy[dict[str, Any]]:
    """Matrix events of a room as no homeserver would send them, and some that one would."""
    kinds = st.sampled_from(
        [
            *(
                "m.room.message",
                "m.room.member",
                "m.room.name",
                "m.room.topic",
                "m.room.redaction",
                "m.reaction",
                "m.sticker",
            ),
            *(
                "m.room.power_levels",
                "m.room.join_rules",
                "m.room.canonical_alias",
                "m.room.history_visibility",
                "m.room.avatar",
            ),
            *("m.room.encrypted", "m.room.create", "m.call.invite", "org.example"),
            *("m.poll.start", "org.matrix.msc3381.poll.start"),
        ]
    )
    senders = st.sampled_from(
        [ALICE, "@fay:elsewhere.example", "@citizen_u_1:city.localhost", "@agent_scribe:city.localhost"]
    )
    users = senders | st.sampled_from(
        ["@citizen_" + "=ff" * 60 + ":city.localhost", "@citizen_agent=3adaarwizz:city.localhost", "@x"]
    )
    ids = st.sampled_from([f"$known{number}" for number in range(20)])
    relation = st.fixed_dictionaries(
        {},
        optional={
            "rel_type": st.sampled_from(["m.replace", "m.annotation", "m.thread"]) | VALUES,
            "event_id": ids | VALUES,
            "key": TEXTS | VALUES,
            "m.in_reply_to": st.fixed_dictionaries({"event_id": ids | VALUES}) | VALUES,
            "is_falling_back": VALUES,
        },
    )
    content = st.fixed_dictionaries(
        {},
        optional={
            "body": TEXTS | VALUES,
            "msgtype": st.sampled_from(
                ["m.text", "m.image", "m.file", "m.emote", "m.location", "m.key.verification.request"]
            )
            | VALUES,
            "format": st.just("org.matrix.custom.html") | VALUES,
            "formatted_body": TEXTS | VALUES,
            "url": st.just("mxc://city.localhost/abc") | VALUES,
            "filename": TEXTS | VALUES,
            "info": st.dictionaries(
                st.sampled_from(["size", "w", "h", "duration", "mimetype", "thumbnail_url"]), VALUES
            )
            | VALUES,
            "membership": st.sampled_from(["join", "leave", "ban", "invite", "knock"]) | VALUES,
            "displayname": TEXTS | VALUES,
            "avatar_url": TEXTS | VALUES,
            "name": TEXTS | VALUES,
            "topic": TEXTS | VALUES,
            "m.poll": VALUES,
            "org.matrix.msc3381.poll.start": VALUES,
            "m.text": VALUES,
            "users": VALUES,
            "events": VALUES,
            "join_rule": VALUES,
            "history_visibility": VALUES,
            "redacts": ids | VALUES,
            "m.mentions": st.fixed_dictionaries({"user_ids": st.lists(users, max_size=3) | VALUES}) | VALUES,
            "m.relates_to": relation | VALUES,
            "m.new_content": st.fixed_dictionaries({"body": TEXTS, "msgtype": st.just("m.text")}) | VALUES,
            "space.daarion.message_id": TEXTS | VALUES,
        },
    )
    return st.fixed_dictionaries(
        {
            "type": kinds | VALUES,
            "sender": senders | users | VALUES,
            "content": content | VALUES | st.just(nested(300)),
        },
        optional={
            "event_id": st.uuids().map(lambda each: f"${each}") | ids | VALUES,
            "room_id": st.just(room) | VALUES,
            "state_key": st.just("") | users | VALUES,
            "origin_server_ts": st.integers(0, 1 << 42) | VALUES,
            "unsigned": VALUES,
            "redacts": ids | VALUES,
        },
    ).map(lambda event: {"room_id": room, "event_id": f"${id(event)}"} | event)


def some(strategy: st.SearchStrategy[T], count: int, *, at_once: int = 50) -> Iterator[list[T]]:
    """Yield ``count`` examples, in lists of ``at_once``; few of them are in memory at the same time."""
    drawn: list[T] = []
    for start in range(0, count, _DRAWN_AT_ONCE):
        drawn += _drawn(strategy, min(_DRAWN_AT_ONCE, count - start))
        while len(drawn) >= at_once:
            yield drawn[:at_once]
            del drawn[:at_once]
    if drawn:
        yield drawn


def _drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    drawn: list[T] = []

    @settings(
        max_examples=max(1, count // _EXAMPLE_SIZE),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(strategy, min_size=_EXAMPLE_SIZE, max_size=_EXAMPLE_SIZE))
    def draw(examples: list[T]) -> None:
        drawn.extend(examples)

    draw()
    return drawn


@asynccontextmanager
async def unharmed(
    city: RunningCity, person: MatrixUser, room_id: str, *, room: str = "general", growth: int = MAX_GROWTH_BYTES
) -> AsyncIterator[None]:
    """Check that the block did the service no harm.

    It lives and is ready; it has logged no fault of its own, answered nothing 5xx and restarted no task; it holds at most
    ``growth`` bytes more; no event waits in its inbox or outbox, and every room is as linked as before; and an ordinary message
    passes both ways. ``person`` is in ``room_id``, which is the city's ``room`` on Matrix.
    """
    await _pass_both_ways(city, person, room_id, room, "before")
    before, counted, linked = _rss_bytes(city), await _faults_counted(city), await _linked(city)
    log = city.service.log
    start = log.stat().st_size
    yield
    assert city.service.running, "\n".join(city.service.last_lines(60))
    await _until_drained(city)
    await _pass_both_ways(city, person, room_id, room, "after")
    faults = [line for line in _since(log, start) if any(fault in line for fault in FAULTS) or " event_dead " in line]
    assert faults == [], "\n".join(_since(log, start)[-200:])
    assert await _faults_counted(city) == counted
    assert await _linked(city) == linked
    await city.ready()
    _, ready = await city.call("GET", "/readyz", url=city.matrix_url)
    assert ready["checks"]["tasks"] == "ok"
    assert _rss_bytes(city) - before <= growth, f"{before} -> {_rss_bytes(city)} bytes"


async def _faults_counted(city: RunningCity) -> dict[tuple[str, ...], float]:
    """Return what the service's metrics count of responses 5xx and of faults of its tasks and listeners."""
    async with city.session.get(f"{city.matrix_url}/metrics") as answer:
        text = await answer.text()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in _COUNTS_OF_FAULTS
        or (sample.name == "daarion_http_request_seconds_count" and sample.labels["status"].startswith("5"))
    }


async def _until_drained(city: RunningCity) -> None:
    """Wait until nothing waits to be handled, or to be sent to Matrix, in any room.

    A busy machine takes long for thousands of events: it is a fault only if the queues do not get shorter.
    """
    length = await _queue_length(city)

    async def is_shorter(than: int) -> bool:
        nonlocal length
        length = await _queue_length(city)
        return length < than

    while length:
        await eventually(partial(is_shorter, length), explain=lambda: "\n".join(city.service.last_lines(60)))


async def _queue_length(city: RunningCity) -> int:
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            depths = await read_queue_depths(tx)
    finally:
        await database.close()
    return depths.inbox.counts[InboxState.NEW] + depths.outbox.counts[OutboxState.NEW]


async def _linked(city: RunningCity) -> dict[str, str]:
    return {room["slug"]: room["matrix_status"] for room in await city.get("/city/rooms?limit=500")}


async def _pass_both_ways(city: RunningCity, person: MatrixUser, room_id: str, room: str, when: str) -> None:
    from_city, from_matrix = f"from the city, {when}", f"from Matrix, {when}"
    # The author is a member and reads as one: a transaction may have set a history visibility that hides the room from others.
    citizen = citizen_token("u_ordinary", "Оксана")
    await city.post(f"/city/rooms/{room}/messages", {"body": from_city}, token=citizen)
    await person.wait_for(lambda: any(body == from_city for _, body in person.messages))
    await person.send_text(room_id, from_matrix)

    async def is_there() -> bool:
        return from_matrix in await city.bodies(room, token=citizen)

    await eventually(is_there, explain=lambda: "\n".join(city.service.last_lines(60)))


def _since(log: Path, start: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode("utf-8", "replace").splitlines()


def _rss_bytes(city: RunningCity) -> int:
    status = Path(f"/proc/{city.service.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
