"""A log of the SQL statements and commits of a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from daarion_appservice.storage.database import Database
from daarion_appservice.storage.deferred_writes import MERGED


@dataclass
class StatementLog:
    """The statements of the pooled connections since `clear`, without BEGIN and joined ones, and the number of commits."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0

    def clear(self) -> None:
        self.statements.clear()
        self.commits = 0

    async def has_commit(self) -> bool:
        return self.commits > 0

    def of(self, table: str) -> list[str]:
        """Return the statements that read or write a table."""
        return [statement for statement in self.statements if f" {table} " in f"{statement} "]


@contextmanager
def statement_log(database: Database) -> Iterator[StatementLog]:
    """Log the statements of a database during the block."""
    log = StatementLog()
    engine = database._engine.sync_engine

    def executed(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if not statement.startswith("BEGIN") and not context.execution_options.get(MERGED):
            log.statements.append(" ".join(statement.split()))

    def committed(_connection: Any) -> None:
        log.commits += 1

    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "commit", committed)
    try:
        yield log
    finally:
        event.remove(engine, "before_cursor_execute", executed)
        event.remove(engine, "commit", committed)
