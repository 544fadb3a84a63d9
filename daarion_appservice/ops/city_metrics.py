"""Metrics of the state of the process: readiness, role, homeserver, presence, database pool, Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Info, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from .. import __version__
from ..city.events import MessagePosted
from ..city.online_counts import KINDS, OnlineCounts
from ..city.presence import Status
from ..city.types import AuthorKind
from ..matrix.client.monitor import HomeserverMonitor
from ..matrix.inbound.worker import InboundWorker
from ..matrix.presence.sender import PresenceSender
from ..realtime.supervisor import Supervisor
from ..storage.database import Database
from ..storage.leader_lock import LeaderLock
from .readiness_log import ReadinessLog

MESSAGES: Final = Counter(
    "daarion_messages",
    "Messages that this process stored, by `author`: `citizen`, `agent`, `matrix`.",
    ("author",),
    registry=None,
)
_BY_AUTHOR: Final = {kind: MESSAGES.labels(kind) for kind in AuthorKind}


def count_message(posted: MessagePosted) -> None:
    """Count a message that this process stored."""
    _BY_AUTHOR[posted.message.author.kind].inc()


def describe_build(registry: CollectorRegistry, database: Database) -> None:
    """Add the metric with the version of the service and the kind of its database."""
    info = Info(
        "daarion_build", "The `version` of the service, and its `database`: `sqlite`, `postgresql`.", registry=registry
    )
    info.info({"version": __version__, "database": "sqlite" if database.is_sqlite else "postgresql"})


@dataclass(frozen=True, slots=True)
class CityMetrics(Collector):
    """Reads the state of the parts of a city at each scrape; nothing waits."""

    database: Database
    pool_size: int
    """How many connections of the pool stay open when idle."""
    leader_lock: LeaderLock
    supervisor: Supervisor
    monitor: HomeserverMonitor
    inbound: InboundWorker
    presence_sender: PresenceSender
    online_counts: OnlineCounts
    readiness: ReadinessLog
    redis_health: Callable[[], str] | None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values."""
        yield from self._readiness()
        yield _gauge("daarion_leader", "1 if this process leads, else 0.", self.leader_lock.is_held)
        yield _gauge(
            "daarion_tasks_down", "Background tasks that failed and wait for their restart.", len(self.supervisor.down)
        )
        yield from self._homeserver()
        yield from self._presence()
        yield from self._database()
        redis = GaugeMetricFamily("daarion_redis_up", "1 while Redis answers, else 0; absent without `redis.url`.")
        if self.redis_health is not None:
            redis.add_metric([], float(self.redis_health() == "ok"))
        yield redis

    def _readiness(self) -> Iterator[Metric]:
        parts = self.readiness.latest
        is_ready = parts is not None and not any(part.is_failed for part in parts.values())
        yield _gauge(
            "daarion_ready",
            "1 if `/readyz` is 200, else 0; examined every 15 seconds. A standby without Redis is not ready.",
            is_ready,
        )
        state = GaugeMetricFamily(
            "daarion_part_state",
            "State of each `part` of `/readyz`: 0 ok, 1 works badly, 2 failed. Absent if the examination hangs.",
            labels=["part"],
        )
        for name, part in (parts or {}).items():
            state.add_metric([name], part.severity)
        yield state

    def _homeserver(self) -> Iterator[Metric]:
        yield _gauge("daarion_homeserver_up", "1 while the homeserver answers, else 0.", self.monitor.is_up)
        ping = GaugeMetricFamily(
            "daarion_homeserver_ping_last_timestamp_seconds",
            "When the last ping of the homeserver arrived (Unix time); absent before the first one.",
        )
        if self.monitor.last_ping_s is not None:
            ping.add_metric([], time.time() - (asyncio.get_running_loop().time() - self.monitor.last_ping_s))
        yield ping
        yield _gauge(
            "daarion_inbox_catching_up",
            "1 while the leader fetches missed events before it handles the inbox, else 0.",
            self.leader_lock.is_held and self.inbound.is_catching_up,
        )

    def _presence(self) -> Iterator[Metric]:
        subjects = GaugeMetricFamily(
            "daarion_presence_subjects",
            "Subjects that are not offline, by `kind` (`citizens`, `agents`, `people`: Matrix users) and `status`: `online`, "
            "`away`.",
            labels=["kind", "status"],
        )
        for status in (Status.ONLINE, Status.AWAY):
            for kind, count in self.online_counts.by_kind(status).items():
                subjects.add_metric([kind, status], count)
        transitions = CounterMetricFamily(
            "daarion_presence_transitions",
            "Changes of subjects' presence, by `kind` and the new `status`.",
            labels=["kind", "status"],
        )
        for kind in KINDS:
            for status in Status:
                transitions.add_metric([kind, status], self.online_counts.transitions[kind, status])
        queue = GaugeMetricFamily(
            "daarion_presence_queue_ghosts",
            "Ghosts by the `queue` of presence updates to the homeserver: `changes`, `retries`, `refreshes` (all that are kept "
            "online), `status_texts` (of profiles), `in_flight`.",
            labels=["queue"],
        )
        for name, size in self.presence_sender.queue_sizes.items():
            queue.add_metric([name], size)
        yield from (subjects, transitions, queue)
        yield _gauge(
            "daarion_presence_allowed_requests_per_second",
            "The rate of presence requests that the homeserver bears at the moment, as measured by its response times.",
            self.presence_sender.allowed_per_s,
        )
        yield _gauge(
            "daarion_presence_refresh_period_seconds",
            "The period within which the presence of each ghost is repeated.",
            self.presence_sender.period_s,
        )

    def _database(self) -> Iterator[Metric]:
        usage = self.database.pool_usage
        pool = GaugeMetricFamily(
            "daarion_database_pool_connections",
            "Connections of the pool, by `state`: `in_use`, `idle`.",
            labels=["state"],
        )
        pool.add_metric(["in_use"], usage.in_use)
        pool.add_metric(["idle"], usage.idle)
        yield pool
        yield _gauge(
            "daarion_database_pool_max_connections",
            "The number of connections that the pool opens at most.",
            self.database.max_connections(self.pool_size),
        )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))
