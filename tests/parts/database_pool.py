"""Reuses databases of PostgreSQL: to empty one takes a tenth of the CPU time of dropping it and copying the template again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import psycopg2

from tests.parts.postgres import Postgres

MAX_USES: Final = 50
"""Deleted rows stay in the files of a database, as the tests' server has no autovacuum."""

_TABLES: Final = """
    SELECT string_agg(format('DELETE FROM %I', relname), '; ') FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
"""
_END_OTHER_CONNECTIONS: Final = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_RESTART_SEQUENCES: Final = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"
_OF_PUBLIC: Final = "(SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
_SCHEMA: Final = f"""
    SELECT (SELECT string_agg(version_num, ',') FROM alembic_version),
        (SELECT sum(hashtext(concat(oid, xmin, reltuples))) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
        (SELECT sum(hashtext(concat(attrelid, attnum, xmin))) FROM pg_attribute WHERE attrelid IN {_OF_PUBLIC}),
        (SELECT sum(hashtext(concat(oid, xmin))) FROM pg_trigger),
        (SELECT sum(hashtext(concat(oid, xmin))) FROM pg_constraint),
        (SELECT sum(hashtext(concat(oid, xmin))) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
        (SELECT sum(hashtext(concat(oid, xmin))) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'),
        (SELECT count(*) FROM pg_statistic WHERE starelid IN {_OF_PUBLIC}),
        (SELECT count(*) FROM pg_db_role_setting),
        (SELECT concat(datconnlimit, datallowconn) FROM pg_database WHERE datname = current_database())
"""
"""Changes with each statement that changes the schema, or what the planner knows of it."""


@dataclass(slots=True)
class _Pooled:
    name: str
    connection: Any
    schema: Any
    uses: int = 0


@dataclass(slots=True)
class DatabasePool:
    """Databases with the city's tables and no rows.

    Args:
        postgres: the server.
        template: the name of the database that the first ones are copied from.
    """

    postgres: Postgres
    template: str
    _free: list[_Pooled] = field(default_factory=list)
    _taken: dict[str, _Pooled] = field(default_factory=dict)

    def take(self) -> str:
        """Return the name of an empty database."""
        database = self._free.pop() if self._free else self._new()
        database.uses += 1
        self._taken[database.name] = database
        return database.name

    def put_back(self, name: str) -> None:
        """Empty a database for the next test, or drop it if a test changed its schema; open connections end."""
        database = self._taken.pop(name)
        if database.uses < MAX_USES and _empty(database):
            self._free.append(database)
            return
        database.connection.close()
        self.postgres.drop_database(name)

    def close(self) -> None:
        """Close the connections of the pool; the databases end with the server."""
        for database in [*self._free, *self._taken.values()]:
            database.connection.close()

    def _new(self) -> _Pooled:
        name = self.postgres.create_database(self.template)
        connection = psycopg2.connect(self.postgres.url(name))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_SCHEMA)
            return _Pooled(name, connection, cursor.fetchone())


def _empty(database: _Pooled) -> bool:
    """Delete all rows and restart all sequences; return whether the schema is the one of the template."""
    try:
        with database.connection.cursor() as cursor:
            cursor.execute(_END_OTHER_CONNECTIONS)
            cursor.execute(_SCHEMA)
            if cursor.fetchone() != database.schema:
                return False
            cursor.execute(_TABLES)
            (deletes,) = cursor.fetchone()
            # A replica's session runs no triggers, foreign keys included: the order of the tables does not matter.
            cursor.execute(f"SET session_replication_role = replica; {deletes}; {_RESTART_SEQUENCES}")
    except psycopg2.Error:  # a test ended the connection, or renamed the database
        return False
    return True
