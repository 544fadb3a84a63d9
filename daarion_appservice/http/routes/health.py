"""The routes ``/healthz`` (liveness) and ``/readyz`` (readiness, with the state of each dependency)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...matrix.client.monitor import HomeserverMonitor
from ...matrix.reconcile.reconciler import Reconciler
from ...realtime.supervisor import Supervisor
from ...storage.database import Database
from ...storage.leader_lock import LeaderLock
from .. import schemas
from ..auth.principals import Access
from ..routing import Call, NoBody, NoQuery, ResponseSpec, endpoint


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    database: Database
    monitor: HomeserverMonitor
    reconciler: Reconciler
    leader_lock: LeaderLock
    supervisor: Supervisor
    deliveries_state: Callable[[], str]
    redis_health: Callable[[], str] | None

    @endpoint(
        "GET", "/healthz", access=Access.PUBLIC, summary="Check that the process responds", response=schemas.Liveness
    )
    async def get_liveness(self, _call: Call[NoBody, NoQuery]) -> schemas.Liveness:
        return {"status": "ok"}

    @endpoint(
        "GET",
        "/readyz",
        access=Access.PUBLIC,
        summary="Check that the process can serve requests",
        response=schemas.Readiness,
        other_statuses={503: "The process is not ready."},
    )
    async def get_readiness(self, _call: Call[NoBody, NoQuery]) -> ResponseSpec:
        """`tasks`, `deliveries` and `redis` are informational: only tasks that are down at the moment make a process not
        ready.
        """
        checks = {
            "database": await self._database_state(),
            "homeserver": self._homeserver_state(),
            "rooms_and_ghosts": self._rooms_and_ghosts_state(),
            "processes": self._processes_state(),
        }
        is_ready = all(said == "ok" for said in checks.values()) and not self.supervisor.down
        checks["tasks"] = self._tasks_state()
        # Informational: backfill fetches undelivered events, and another process would get no more of them.
        checks["deliveries"] = self.deliveries_state()
        if self.redis_health is not None:
            # Informational: a process without Redis serves requests for a while, which is better than no process.
            checks["redis"] = self.redis_health()
        content: schemas.Readiness = {"status": "ok" if is_ready else "not ready", "checks": checks}
        return ResponseSpec(content, status=200 if is_ready else 503)

    def _homeserver_state(self) -> str:
        if not self.monitor.is_up:
            return f"away: {self.monitor.reason}"
        return self.monitor.refusal or self.monitor.unreached or "ok"

    def _rooms_and_ghosts_state(self) -> str:
        # The leader sets up rooms and ghosts; a standby has nothing to report.
        return "ok" if self.reconciler.is_done or not self.leader_lock.is_held else "being set up"

    def _tasks_state(self) -> str:
        # A restarted task works again; its name is shown for a minute so that an operator notices.
        if down := self.supervisor.down:
            return f"failed, will be restarted: {', '.join(down)}"
        restarted = self.supervisor.restarted()
        return f"restarted within the last minute: {', '.join(restarted)}" if restarted else "ok"

    def _processes_state(self) -> str:
        # Without Redis a standby does not know the leader's heartbeats, so it must get no requests.
        if self.leader_lock.is_held or self.redis_health is not None:
            return "ok"
        if not self.leader_lock.is_elsewhere:
            return "cannot read the leader lock from the database"
        return "another process leads, and there is no redis.url to share presence by"

    async def _database_state(self) -> str:
        return await self.database.problem() or "ok"
