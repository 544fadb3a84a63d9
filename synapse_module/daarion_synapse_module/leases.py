"""Whom each application service keeps up, and until when: a machine without clock or I/O, told the time in seconds.

no lease ──renew──► lease ──renew──► the same, for longer
                      │
                      └──overdue, or given up──► ended: its users are to be let go, one portion after the other
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from .wishes import Shown


@dataclass(slots=True, eq=False)
class Lease:
    id: str
    deadline: float
    users: dict[str, Shown] = field(default_factory=dict)
    """Who is up under it, and how."""


class Leases:
    """At most one lease an application service."""

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self._live: dict[str, Lease] = {}
        self._ended: list[Lease] = []

    @property
    def live(self) -> list[Lease]:
        return list(self._live.values())

    def is_live(self, lease: Lease) -> bool:
        return any(lease is live for live in self._live.values())

    def renew(self, service: str, now: float) -> Lease:
        """The lease of ``service``, a new one if there is none."""
        lease = self._live.get(service)
        if lease is None:
            lease = self._live[service] = Lease(secrets.token_hex(8), now)
        lease.deadline = now + self._duration_s
        return lease

    def put(self, lease: Lease, users: Mapping[str, Shown]) -> None:
        """Users are up under ``lease`` as they are shown now, or under none any more."""
        for user_id, shown in users.items():
            if shown.is_up:
                lease.users[user_id] = shown
            else:
                lease.users.pop(user_id, None)
            for ended in self._ended:
                ended.users.pop(user_id, None)

    def give_up(self, service: str) -> int:
        """End the lease of ``service``; answers how many were up under it."""
        lease = self._live.pop(service, None)
        if lease is None:
            return 0
        self._ended.append(lease)
        return len(lease.users)

    def end_overdue(self, now: float) -> dict[str, int]:
        """End those that were not renewed in time: how many were up, by application service."""
        overdue = [service for service, lease in self._live.items() if lease.deadline <= now]
        return {service: self.give_up(service) for service in overdue}

    def to_let_go(self, at_most: int) -> list[str]:
        """Users of ended leases; they are named again until they were `let_go`."""
        self._ended = [lease for lease in self._ended if lease.users]
        return list(islice((user_id for lease in self._ended for user_id in lease.users), at_most))

    def let_go(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            for lease in self._ended:
                lease.users.pop(user_id, None)
