"""Leases: which users each application service keeps online, and until when. No clock, no I/O; times are in seconds.

no lease ──renew──► lease ──renew──► the same lease with a later deadline
                      │
                      └──overdue, or end──► ended: its users are set offline in batches
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from .presence_updates import UserPresence


@dataclass(slots=True, eq=False)
class Lease:
    """The lease of one application service."""

    id: str
    deadline: float
    users: dict[str, UserPresence] = field(default_factory=dict)
    """The users that are not offline, with their presence."""


class Leases:
    """The active lease of each application service, at most one, and ended leases whose users are not offline yet."""

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self._active: dict[str, Lease] = {}
        self._ended: list[Lease] = []

    @property
    def active(self) -> list[Lease]:
        return list(self._active.values())

    def is_active(self, lease: Lease) -> bool:
        return any(lease is active for active in self._active.values())

    def renew(self, service: str, now: float) -> Lease:
        """Extend the lease of ``service``, or create one; return it."""
        lease = self._active.get(service)
        if lease is None:
            lease = self._active[service] = Lease(secrets.token_hex(8), now)
        lease.deadline = now + self._duration_s
        return lease

    def set_users(self, lease: Lease, users: Mapping[str, UserPresence]) -> None:
        """Add users to ``lease``, or remove those that are offline; remove all of them from ended leases."""
        for user_id, presence in users.items():
            if presence.is_active:
                lease.users[user_id] = presence
            else:
                lease.users.pop(user_id, None)
            for ended in self._ended:
                ended.users.pop(user_id, None)

    def end(self, service: str) -> int:
        """End the lease of ``service``; return the number of its users."""
        lease = self._active.pop(service, None)
        if lease is None:
            return 0
        self._ended.append(lease)
        return len(lease.users)

    def end_overdue(self, now: float) -> dict[str, int]:
        """End the leases whose deadline has passed; return the numbers of their users by application service."""
        overdue = [service for service, lease in self._active.items() if lease.deadline <= now]
        return {service: self.end(service) for service in overdue}

    def users_of_ended(self, limit: int) -> list[str]:
        """Return up to ``limit`` users of ended leases; `remove_from_ended` removes them."""
        self._ended = [lease for lease in self._ended if lease.users]
        return list(islice((user_id for lease in self._ended for user_id in lease.users), limit))

    def remove_from_ended(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            for lease in self._ended:
                lease.users.pop(user_id, None)
