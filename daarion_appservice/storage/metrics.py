"""Prometheus metrics of database statements, and of the wait for a connection."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Counter, Histogram
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool

from .deferred_writes import is_deferred

_OPERATIONS: Final = ("select", "insert", "update", "delete", "other")
_BEGAN_S: Final = "daarion_began_s"

STATEMENT_SECONDS: Final = Histogram(
    "daarion_database_statement_seconds",
    "Duration of the statements of pooled connections, by `operation`: `select`, `insert`, `update`, `delete`, `other`. A "
    "write that waits for the next statement of its transaction counts as a part of that.",
    ("operation",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10),
    registry=None,
)
WAIT_SECONDS: Final = Histogram(
    "daarion_database_wait_seconds",
    "Time that a transaction waits before its first statement: for a connection of the pool, on SQLite also for the write lock.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10),
    registry=None,
)
ERRORS: Final = Counter(
    "daarion_database_errors",
    "Failed uses of the database, by `kind`: `unavailable` (no answer, no free connection, no writes), `rolled_back` (a "
    "deadlock or serialization failure), `constraint`, `other`.",
    ("kind",),
    registry=None,
)
EXPIRED: Final = Counter(
    "daarion_retention_deleted",
    "Things that were deleted because they were older than the section `retention` says, by `what`.",
    ("what",),
    registry=None,
)
METRICS: Final = (STATEMENT_SECONDS, WAIT_SECONDS, ERRORS, EXPIRED)

_BY_OPERATION: Final = {operation: STATEMENT_SECONDS.labels(operation) for operation in _OPERATIONS}
_OTHER: Final = _BY_OPERATION["other"]
for _kind in ("unavailable", "rolled_back", "constraint", "other"):
    ERRORS.labels(_kind)


def measure_statements(engine: Engine) -> None:
    """Measure every statement of the engine's connections."""

    @event.listens_for(engine, "before_cursor_execute")
    def _begin(connection: Any, *_: object) -> None:
        connection.info[_BEGAN_S] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def _end(
        connection: Any, _cursor: object, statement: str, _parameters: object, context: Any, _is_many: bool
    ) -> None:
        if is_deferred(context):
            return  # It was not executed yet.
        took_s = time.perf_counter() - connection.info[_BEGAN_S]
        _BY_OPERATION.get(statement[:6].lower(), _OTHER).observe(took_s)


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """The open connections of a pool."""

    in_use: int
    idle: int


def pool_usage(pool: Pool) -> PoolUsage:
    """Return how the connections of a pool are used; a database in memory has a single one, which does not count."""
    if not isinstance(pool, AsyncAdaptedQueuePool):
        return PoolUsage(in_use=0, idle=0)
    return PoolUsage(in_use=pool.checkedout(), idle=pool.checkedin())
