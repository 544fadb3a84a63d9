"""Read receipts: which timelines a receipt marks, and which receipts of a sync response are read."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.events import ReceiptsChanged
from daarion_appservice.city.receipts import NamedReceipt, ReadPosition, Receipt, ReceiptKey, timelines_of
from daarion_appservice.city.types import Author, AuthorKind, HistoryVisibility, MessageId, RoomId, SubjectId
from daarion_appservice.matrix.presence.receipts import read_receipts
from daarion_appservice.realtime import shared_bus
from tests.parts.messaging import IDENTITIES

GENERAL, ROOT, NOW_MS = RoomId("city_general"), MessageId("root"), 1_800_000_000_000
ALICE = "@alice:city.localhost"


@pytest.mark.parametrize(
    ("thread_root", "thread_id", "timelines"),
    [
        (None, None, (None,)),
        (None, "main", (None,)),
        (None, "$root", (None,)),
        (ROOT, None, (None, ROOT)),
        (ROOT, "main", (None,)),
        (ROOT, "$root", (ROOT,)),
    ],
)
def test_receipt_marks_timelines(
    thread_root: MessageId | None, thread_id: str | None, timelines: tuple[MessageId | None, ...]
) -> None:
    assert timelines_of(thread_root, thread_id) == timelines


def read(content: Any) -> list[tuple[str, str | None, str, int]]:
    update = {"ephemeral": {"events": [{"type": "m.receipt", "content": content}]}}
    found = read_receipts(update, GENERAL, IDENTITIES, NOW_MS)
    return [(each.timeline.user, each.timeline.thread_id, each.event, each.at_ms) for each in found]


def test_receipts_are_read_by_thread() -> None:
    content = {
        "$1": {"m.read": {ALICE: {"ts": 5, "thread_id": "main"}, "@bob:city.localhost": {"ts": 6}}},
        "$2": {"m.read": {ALICE: {"ts": 7, "thread_id": "$root"}}},
    }
    assert read(content) == [
        (ALICE, "main", "$1", 5),
        ("@bob:city.localhost", None, "$1", 6),
        (ALICE, "$root", "$2", 7),
    ]


@pytest.mark.parametrize("kind", ["m.read.private", "m.fully_read", "org.example.read"])
def test_receipts_of_other_types_are_ignored(kind: str) -> None:
    assert read({"$1": {kind: {ALICE: {"ts": 5}}}}) == []


@pytest.mark.parametrize(
    "user", ["@citizen_u_1:city.localhost", "@agent_scribe:city.localhost", "@city_observer:city.localhost"]
)
def test_receipts_of_ghosts_are_ignored(user: str) -> None:
    assert read({"$1": {"m.read": {user: {"ts": 5}}}}) == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"$1": None},
        {"$1": {"m.read": [ALICE]}},
        {"$1": {"m.read": {ALICE: None, "alice": {"ts": 5}, "@a\0:city.localhost": {"ts": 5}}}},
        {"1": {"m.read": {ALICE: {"ts": 5}}}},
        {"$\0": {"m.read": {ALICE: {"ts": 5}}}},
        {"$\ud800": {"m.read": {ALICE: {"ts": 5}}}},
        {"$" + "1" * 300: {"m.read": {ALICE: {"ts": 5}}}},
    ],
)
def test_invalid_receipts_are_ignored(content: Any) -> None:
    assert read(content) == []


@pytest.mark.parametrize(
    ("ts", "at_ms"), [("x", 0), (None, 0), (True, 0), (-5, 0), (1.5, 0), (10**30, NOW_MS), (NOW_MS + 1, NOW_MS)]
)
def test_receipt_time_is_bounded(ts: Any, at_ms: int) -> None:
    assert read({"$1": {"m.read": {ALICE: {"ts": ts}}}}) == [(ALICE, None, "$1", at_ms)]


@pytest.mark.parametrize("thread_id", [5, "thread", "$\0", {}])
def test_invalid_thread_id_reads_as_unthreaded(thread_id: Any) -> None:
    assert read({"$1": {"m.read": {ALICE: {"ts": 5, "thread_id": thread_id}}}}) == [(ALICE, None, "$1", 5)]


@pytest.mark.parametrize("thread_root", [None, ROOT])
def test_receipts_are_equal_in_other_processes(thread_root: MessageId | None) -> None:
    key = ReceiptKey(GENERAL, SubjectId(ALICE), thread_root)
    receipt = Receipt(key, ReadPosition(MessageId("m1"), 7, NOW_MS), HistoryVisibility.JOINED)
    author = Author(AuthorKind.MATRIX, ALICE, "Аліса", "mxc://city.localhost/alice")
    event = ReceiptsChanged(GENERAL, (NamedReceipt(receipt, author),))
    received = shared_bus._decode(shared_bus._encode(event))
    assert received == event
    assert isinstance(received, ReceiptsChanged)
    assert isinstance(received.receipts[0].receipt.key, ReceiptKey)
