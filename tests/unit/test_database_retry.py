"""Pauses and log lines after database errors, without a clock."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from daarion_appservice.errors import ConstraintViolated, DatabaseUnavailable
from daarion_appservice.realtime import database_retry
from daarion_appservice.realtime.database_retry import MAX_RETRY_S, RETRY_S, DatabaseRetry

OUTAGE = DatabaseUnavailable("connection refused")
REFUSED = ConstraintViolated("UNIQUE")


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the random part of each pause by its maximum."""
    monkeypatch.setattr(database_retry, "jittered", lambda pause_s: pause_s)


def test_pause_in_outage_stays() -> None:
    retry = DatabaseRetry("task")
    assert [retry.record_failure(OUTAGE) for _ in range(100)] == [RETRY_S] * 100


def test_pause_after_refusals_doubles_up_to_maximum() -> None:
    retry = DatabaseRetry("task")
    assert [retry.record_failure(REFUSED) for _ in range(9)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        MAX_RETRY_S,
        MAX_RETRY_S,
        MAX_RETRY_S,
    ]


def test_pause_after_thousands_of_refusals_is_maximum() -> None:
    retry = DatabaseRetry("task")
    assert [retry.record_failure(REFUSED) for _ in range(5000)][-1] == MAX_RETRY_S


def test_pause_after_success_is_shortest_again() -> None:
    retry = DatabaseRetry("task")
    for _ in range(5):
        retry.record_failure(REFUSED)
    retry.record_success()
    assert retry.record_failure(REFUSED) == RETRY_S


def test_refusals_log_powers_of_two_and_end() -> None:
    retry = DatabaseRetry("task")
    with capture_logs() as logs:
        for _ in range(100):
            retry.record_failure(REFUSED)
        retry.record_success()
        retry.record_success()
    assert [(each["event"], each.get("attempts"), each.get("exc_info")) for each in logs] == [
        *(("task_statement_refused", attempts, REFUSED) for attempts in (1, 2, 4, 8, 16, 32, 64)),
        ("task_continues", None, None),
    ]


def test_outage_logs_start_and_end() -> None:
    retry = DatabaseRetry("task")
    with capture_logs() as logs:
        for _ in range(100):
            retry.record_failure(OUTAGE)
        retry.record_success()
    assert [each["event"] for each in logs] == ["task_waits_for_database", "task_continues"]


def test_outage_between_refusals_logs_both() -> None:
    retry = DatabaseRetry("task")
    with capture_logs() as logs:
        for error in (REFUSED, OUTAGE, REFUSED, OUTAGE):
            retry.record_failure(error)
        retry.record_success()
    assert [each["event"] for each in logs] == [
        "task_statement_refused",
        "task_waits_for_database",
        "task_statement_refused",
        "task_continues",
    ]


@pytest.mark.parametrize("pause_s", [1.0, 60.0])
def test_jitter_is_at_most_half(pause_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert all(pause_s / 2 <= database_retry.jittered(pause_s) <= pause_s for _ in range(100))
