"""One cache of compiled SQL statements for all engines of a process.

SQLAlchemy caches compiled statements by engine. Each test has an engine of its own, and compiling took a sixth of the CPU time of
the tests of the API.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

_CAPACITY: Final = 2000
"""More than the package has statements, on both databases."""


class SharedStatements:
    """What an engine uses of its cache. Dialects of one class count as equal: all PostgreSQL databases are on one server."""

    def __init__(self) -> None:
        self._statements: LRUCache[Any, Any] = LRUCache(_CAPACITY)

    def __len__(self) -> int:
        return len(self._statements)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        # Alembic makes new Table objects each time, so its statements are never hits: they took 60 KB in each test.
        if "alembic" in compiled.string:
            return
        self._statements[type(key[0]), *key[1:]] = compiled

    def get(self, key: tuple[Any, ...]) -> Any:
        return self._statements.get((type(key[0]), *key[1:]))


def install() -> None:
    """Have every engine of this process use one cache."""
    statements = SharedStatements()
    # SQLAlchemy reads the signature of Engine.__init__, so it stays as it is; what that sets is ignored.
    Engine._compiled_cache = property(lambda _: statements, lambda *_: None)  # type: ignore[assignment]
