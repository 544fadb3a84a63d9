"""The set-up of many ghosts logs its progress, and ends early for an outage or another pass."""

from __future__ import annotations

from structlog.testing import capture_logs

from daarion_appservice.city.types import Agent, AgentSlug, Room
from daarion_appservice.matrix.reconcile.set_up_progress import SetUpProgress

AGENTS: list[tuple[Agent, list[Room]]] = [(Agent(f"a{n}", AgentSlug(f"a{n}"), f"A{n}"), []) for n in range(6)]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_tasks_get_each_agent_once() -> None:
    progress = SetUpProgress(AGENTS, lambda: False)
    first, second = progress.remaining(), progress.remaining()
    given = [next(first), next(second), *first, *second]
    assert given == AGENTS
    for _ in AGENTS:
        assert not progress.is_complete
        progress.count(is_set_up=True)
    assert progress.is_complete


def test_failure_is_not_complete() -> None:
    progress = SetUpProgress(AGENTS[:2], lambda: False)
    progress.count(is_set_up=True)
    progress.count(is_set_up=False)
    assert not progress.is_complete


def test_outage_ends_set_up_of_all_tasks() -> None:
    progress = SetUpProgress(AGENTS, lambda: False)
    first, second = progress.remaining(), progress.remaining()
    next(first), next(second)
    progress.end()
    assert [*first, *second] == []
    assert not progress.was_interrupted


def test_requested_pass_ends_set_up_after_a_while() -> None:
    clock = Clock()
    progress = SetUpProgress(AGENTS, lambda: True, clock)
    remaining = progress.remaining()
    next(remaining)
    clock.now_s = 4.9
    next(remaining)
    clock.now_s = 5.0
    assert list(remaining) == []
    assert progress.was_interrupted
    assert not progress.is_complete


def test_progress_is_logged_every_ten_seconds() -> None:
    clock = Clock()
    progress = SetUpProgress(AGENTS, lambda: False, clock)
    with capture_logs() as logs:
        for is_set_up in (True, False, True, True):
            clock.now_s += 5
            progress.count(is_set_up=is_set_up)
    assert logs == [
        {"event": "ghost_setup_progress", "log_level": "info", "set_up": 1, "failed": 1, "left": 4},
        {"event": "ghost_setup_progress", "log_level": "info", "set_up": 3, "failed": 1, "left": 2},
    ]
