"""The progress of a set-up of many ghosts: what is left, log entries, and its early end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from ...city.types import Agent, Room

_LOG_EVERY_S: Final = 10.0
UNINTERRUPTED_S: Final = 5.0
"""How long a set-up goes on although another pass was requested, so that frequent requests do not stop it."""

log = structlog.get_logger()


class SetUpProgress:
    """Gives each agent to one of several tasks, and counts the ghosts that are set up.

    Args:
        agents: the agents whose ghosts have to be set up, with their rooms.
        is_interrupted: returns whether the set-up should end early.
        now_s: a clock in seconds.
    """

    def __init__(
        self,
        agents: list[tuple[Agent, list[Room]]],
        is_interrupted: Callable[[], bool],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agents = agents
        self._next = iter(agents)
        self._is_interrupted = is_interrupted
        self._now_s = now_s
        self._began_s = self._logged_s = now_s()
        self._is_ended = False
        self.was_interrupted = False
        """Whether agents are left for the sake of another pass."""
        self._set_up = 0
        self._failed = 0

    @property
    def is_complete(self) -> bool:
        """Whether the ghosts of all agents are set up."""
        return self._set_up == len(self._agents)

    def remaining(self) -> Iterator[tuple[Agent, list[Room]]]:
        """Yield agents that no other task has got, until none is left or the set-up ends early."""
        while not self._is_ended and not self._should_stop():
            agent = next(self._next, None)
            if agent is None:
                return
            yield agent

    def end(self) -> None:
        """End the set-up early: the homeserver is unavailable."""
        self._is_ended = True

    def count(self, *, is_set_up: bool) -> None:
        """Count a ghost that is set up or has failed, and log the progress every ten seconds."""
        if is_set_up:
            self._set_up += 1
        else:
            self._failed += 1
        now_s = self._now_s()
        if now_s - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = now_s
            left = len(self._agents) - self._set_up - self._failed
            log.info("ghost_setup_progress", set_up=self._set_up, failed=self._failed, left=left)

    def _should_stop(self) -> bool:
        if self._now_s() - self._began_s >= UNINTERRUPTED_S and self._is_interrupted():
            self.was_interrupted = True
        return self.was_interrupted
