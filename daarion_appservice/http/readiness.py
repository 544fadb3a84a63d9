"""The readiness of the process: the state of each of its parts, and whether the city can do its job.

failed   the city does not do its job: ``/readyz`` is 503, and a load balancer uses another process
warning  the part works badly: only the verbose report shows it, and the checks that are informational
ok
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..city.ports import NowMs
from ..errors import DatabaseError
from ..matrix.client.monitor import HomeserverMonitor
from ..matrix.encryption.support import EncryptionSupport, SupportState
from ..matrix.reconcile.reconciler import Reconciler
from ..realtime.supervisor import Supervisor
from ..storage.database import Database
from ..storage.disk_space import DiskSpace
from ..storage.leader_lock import LeaderLock
from ..storage.matrix_rooms import RoomLinkCounts

_PING_OVERDUE_S: Final = 180.0
"""The monitor pings every minute: two pings in a row had no result."""


class PartStatus(StrEnum):
    """The status of one part."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """The state of a part; ``age_s`` is the time since the last event that ``detail`` names, in seconds."""

    status: PartStatus
    detail: str
    age_s: float | None = None

    @property
    def is_failed(self) -> bool:
        return self.status is PartStatus.FAILED

    @property
    def severity(self) -> int:
        """The status as a number: 0 ok, 1 warning, 2 failed."""
        return (PartStatus.OK, PartStatus.WARNING, PartStatus.FAILED).index(self.status)

    @property
    def text(self) -> str:
        """The state as one text: `ok`, or what is wrong."""
        return "ok" if self.status is PartStatus.OK else self.detail


def _ok(detail: str = "ok", age_s: float | None = None) -> Part:
    return Part(PartStatus.OK, detail, age_s)


def _failed(detail: str) -> Part:
    return Part(PartStatus.FAILED, detail)


def _warning(detail: str, age_s: float | None = None) -> Part:
    return Part(PartStatus.WARNING, detail, age_s)


@dataclass(frozen=True, slots=True)
class ReadinessProbe:
    """Examines the parts of the process. Nothing is written, except after a failed write of the database."""

    database: Database
    monitor: HomeserverMonitor
    reconciler: Reconciler
    leader_lock: LeaderLock
    supervisor: Supervisor
    deliveries_state: Callable[[], str]
    redis_health: Callable[[], str] | None
    encryption: EncryptionSupport
    now_ms: NowMs

    @property
    def role(self) -> str:
        return "leader" if self.leader_lock.is_held else "standby"

    async def parts(self) -> dict[str, Part]:
        """Return the state of each part by its name."""
        database = await self._database()
        parts = {
            "database": database,
            "disk": self._disk(),
            "homeserver": self._homeserver(),
            "as_token": _failed(self.monitor.refusal) if self.monitor.refusal else _ok("accepted"),
            "callback": self._callback(),
            "rooms_and_ghosts": self._rooms_and_ghosts(),
            "processes": self._processes(),
            "tasks": self._tasks(),
            "deliveries": self._deliveries(),
            "encryption": self._encryption(),
        }
        if not database.is_failed:
            parts |= await self._stored_parts()
        if self.redis_health is not None:
            # A process without Redis serves requests for a while, which is better than no process.
            state = self.redis_health()
            parts["redis"] = _ok() if state == "ok" else _warning(state)
        return parts

    async def _database(self) -> Part:
        problem = await self.database.problem()
        return _failed(problem) if problem else _ok("takes writes")

    def _disk(self) -> Part:
        if self.database.file is None:
            return _ok("the disk of PostgreSQL is not examined")
        disk = DiskSpace.of(self.database.file)
        if disk.problem:
            return _failed(disk.problem)
        return _warning(disk.described) if disk.is_low else _ok(disk.described)

    def _homeserver(self) -> Part:
        return _ok("answers") if self.monitor.is_up else _failed(f"away: {self.monitor.reason}")

    def _callback(self) -> Part:
        """Return whether the homeserver reaches this service."""
        if self.monitor.unreached:
            return _failed(self.monitor.unreached)
        if self.monitor.last_ping_s is None:
            return _warning("no ping has arrived yet") if self.monitor.is_up else _ok("not known yet")
        age_s = round(asyncio.get_running_loop().time() - self.monitor.last_ping_s, 1)
        detail = f"the last ping arrived {age_s:.0f} s ago"
        return _warning(detail, age_s) if age_s > _PING_OVERDUE_S and self.monitor.is_up else _ok(detail, age_s)

    def _rooms_and_ghosts(self) -> Part:
        # The leader sets up rooms and ghosts; a standby has nothing to report.
        if self.reconciler.is_done or not self.leader_lock.is_held:
            return _ok("set up" if self.leader_lock.is_held else "the leader sets them up")
        return _failed("being set up")

    def _processes(self) -> Part:
        if self.leader_lock.is_held:
            return _ok(self.role)
        if not self.leader_lock.is_elsewhere:
            return _failed("cannot read the leader lock from the database")
        # Without Redis a standby does not know the leader's heartbeats, so it must get no requests.
        if self.redis_health is not None:
            return _ok(self.role)
        return _failed("another process leads, and there is no redis.url to share presence by")

    def _tasks(self) -> Part:
        # A restarted task works again; its name is shown for a minute so that an operator notices.
        if down := self.supervisor.down:
            return _failed(f"failed, will be restarted: {', '.join(down)}")
        restarted = self.supervisor.restarted()
        return _warning(f"restarted within the last minute: {', '.join(restarted)}") if restarted else _ok("all run")

    def _deliveries(self) -> Part:
        # Backfill fetches undelivered events, and another process would get no more of them.
        state = self.deliveries_state()
        return _ok() if state == "ok" else _warning(state)

    def _encryption(self) -> Part:
        """Return whether agents read and write encrypted chats; city and rooms do without it."""
        if self.encryption.state is SupportState.REFUSED:
            return _warning(f"the homeserver takes no keys of ghosts: {self.encryption.refusal}")
        return _ok(str(self.encryption.state))

    async def _stored_parts(self) -> dict[str, Part]:
        try:
            async with self.database.read_only() as tx:
                links = await tx.matrix_rooms.count_links()
                last_ms = await tx.inbox.last_transaction_ms()
        except DatabaseError as error:
            return {"rooms": _failed(str(error))}
        return {"rooms": self._rooms(links), "transactions": self._transactions(last_ms)}

    def _rooms(self, links: RoomLinkCounts) -> Part:
        detail = f"{links.linked} of {links.total} rooms are linked"
        if not links.broken:
            return _ok(detail)
        detail += f"; {', '.join(slug for slug, _ in links.broken)}: {links.broken[0][1]}"
        return _warning(detail) if links.linked or not self.reconciler.is_done else _failed(detail)

    def _transactions(self, last_ms: int | None) -> Part:
        if last_ms is None:
            return _ok("no transaction with events yet")
        age_s = round((self.now_ms() - last_ms) / 1000, 1)
        return _ok(f"the last one with events arrived {age_s:.0f} s ago", age_s)
