"""Checks of the database: reachable, the city's own, migrated, writable, with enough connections, its clock."""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ..clock import now_ms
from ..storage import migrate
from ..storage.database import Database, is_write_protected
from ..storage.leader_lock import waiting_sessions
from ..storage.tables import metadata
from ..storage.tables.search import SQLITE_INDEX
from .checks import check
from .findings import Finding, failed, listed, passed, skipped, warning
from .homeserver import judge_clock
from .installation import Installation

_OLDEST_POSTGRES: Final = 140_000
"""PostgreSQL 14, which ends the idle session of a frozen leader (``idle_session_timeout``)."""
_ANSWER_S: Final = 10.0
_ALEMBIC_TABLE: Final = "alembic_version"
_ON_SQLITE: Final = "SQLite has none of this."


@check(
    needs=("config",),
    symptoms=(
        "The service does not start, with exit code 4.",
        "The API answers 503, and the log says database_unavailable.",
    ),
)
async def database(installation: Installation) -> Finding:
    """The database can be opened, its encoding is UTF-8, and it is not Synapse's.

    Fails with the cause: password, host, a missing database or file, no more connections, LATIN1, a locked or damaged file.
    """
    try:
        async with asyncio.timeout(_ANSWER_S):
            await installation.database.check()
    except TimeoutError:
        return failed(
            f"The database does not answer within {_ANSWER_S:g} seconds.",
            "See host and port in database.url, and whether a firewall drops packets or a lock of another program holds it.",
        )
    return passed("SQLite" if installation.database.is_sqlite else "PostgreSQL with UTF-8")


@check(needs=("database",))
async def database_schema(installation: Installation) -> Finding:
    """The database has the revision that this version of the service expects.

    Fails for a database of another version, and for an empty one: the checks that read its tables need the right ones.
    """
    revision = await migrate.current(installation.database)
    migrate.check_known(revision)
    if revision is None:
        return failed(
            "The database is empty.",
            f"`daarion-appservice db upgrade -c {installation.config}`, or the first start of the service, makes its tables.",
        )
    if revision != migrate.head():
        return failed(
            f"The database has revision {revision}, and this version expects {migrate.head()}.",
            "Make a backup, then restart the service: it migrates the database at its start.",
        )
    return passed(f"Revision {revision}")


@check(needs=("database",), symptoms=("Messages are not accepted.",))
async def database_writable(installation: Installation) -> Finding:
    """The database takes writes, and its tables belong to the service's role.

    Fails on a standby, with `default_transaction_read_only`, and for tables of another role.
    """
    if installation.database.is_sqlite:
        return passed("The file takes writes.")  # `database` has begun a write transaction
    async with installation.database.read_only() as tx:
        if await is_write_protected(tx.connection):
            return failed(
                "This PostgreSQL takes no writes: it is a standby, or default_transaction_read_only is on.",
                "Name the primary in database.url, or turn the setting off.",
            )
        return await _judge_owners(tx.connection)


async def _judge_owners(connection: AsyncConnection) -> Finding:
    rows = await connection.execute(
        text(
            "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = current_schema() AND tableowner <> current_user"
        )
    )
    others = [f"{name} of {owner}" for name, owner in rows if name in metadata.tables]
    if others:
        return failed(
            f"Tables belong to another role: {listed(others)}.",
            "As PostgreSQL's superuser, in this database: REASSIGN OWNED BY that_role TO the_role_in_database_url.",
        )
    may_create = await connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')"))
    if not may_create.scalar():
        return failed(
            "The role may not create tables, so no upgrade can migrate the database.",
            "As PostgreSQL's superuser, in this database: ALTER SCHEMA public OWNER TO the_role_in_database_url.",
        )
    return passed("It takes writes, and its tables belong to the service's role.")


@check(needs=("database",))
async def database_tables(installation: Installation) -> Finding:
    """The database holds only the service's tables."""
    async with installation.database.read_only() as tx:
        names = await tx.connection.run_sync(_table_names)
    foreign = sorted(names - set(metadata.tables) - {_ALEMBIC_TABLE})
    if foreign and _ALEMBIC_TABLE in names:
        return warning(
            f"Other tables are in it: {listed(foreign)}.",
            "Give the city a database of its own before both want one name.",
        )
    if foreign:
        return warning(
            f"It is another program's: {listed(foreign)}.", "Name a database of the city's own in database.url."
        )
    return passed(f"{len(names)} tables")


def _table_names(connection: Connection) -> set[str]:
    names = set(inspect(connection).get_table_names())
    # On SQLite the index of the search is a virtual table that is in no metadata, with tables of its own.
    return {name for name in names if name != SQLITE_INDEX and not name.startswith(f"{SQLITE_INDEX}_")}


@check(needs=("database",))
async def database_server(installation: Installation) -> Finding:
    """PostgreSQL is of a supported version.

    Warns before version 14. States the locale too, which may be any.
    """
    if installation.database.is_sqlite:
        return skipped(_ON_SQLITE)
    async with installation.database.read_only() as tx:
        number = int((await tx.connection.execute(text("SHOW server_version_num"))).scalar() or 0)
        name = (await tx.connection.execute(text("SHOW server_version"))).scalar()
        ctype = await tx.connection.execute(text("SELECT datctype FROM pg_database WHERE datname = current_database()"))
    return judge_server(number, f"PostgreSQL {name}", str(ctype.scalar()))


def judge_server(version: int, name: str, ctype: str) -> Finding:
    """Judge a PostgreSQL server.

    Args:
        version: ``server_version_num``.
        name: the version for the admin.
        ctype: ``LC_CTYPE`` of the database.
    """
    if version < _OLDEST_POSTGRES:
        return warning(
            f"{name} is older than 14: it does not end the session of a frozen leader, so no other process takes over.",
            "Upgrade to PostgreSQL 14 or later.",
        )
    return passed(f"{name}, {ctype}")


@check(
    needs=("database",),
    symptoms=("The API answers 503 now and then, and the log says that all connections are taken.",),
)
async def database_connections(installation: Installation) -> Finding:
    """PostgreSQL has connections left for the service.

    One process takes up to twice `database.pool_size` and 4. Warns if fewer are free while the service does not run, or none is.
    """
    if installation.database.is_sqlite:
        return skipped(_ON_SQLITE)
    async with installation.database.read_only() as tx:
        row = (
            await tx.connection.execute(
                text(
                    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, "
                    "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
                    "(SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND datname = current_database()), "
                    "(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), "
                    "(SELECT datconnlimit FROM pg_database WHERE datname = current_database())"
                )
            )
        ).one()
    server, used, own, role_limit, database_limit = map(int, row)
    limits = [limit - own for limit in (role_limit, database_limit) if limit >= 0]
    needed = Database.max_connections(installation.settings.database.pool_size)
    return judge_connections(free=min([server - used, *limits]), own=own, needed=needed)


def judge_connections(*, free: int, own: int, needed: int) -> Finding:
    """Judge the connections of PostgreSQL.

    Args:
        free: how many more this role may open.
        own: how many this role has in this database.
        needed: how many one process opens at most.
    """
    if free + own < needed:
        return warning(
            f"The service may need {needed} connections; {free} are free and {own} are its own.",
            "Raise max_connections (or the role's or database's CONNECTION LIMIT), or lower database.pool_size.",
        )
    return passed(f"{free} are free, {own} are the service's, one process opens up to {needed}.")


@check(needs=("database",))
async def database_clock(installation: Installation) -> Finding:
    """The clocks of this machine and of the database agree."""
    if installation.database.is_sqlite:
        return skipped(_ON_SQLITE)
    async with installation.database.read_only() as tx:
        before_ms = now_ms()
        theirs = await tx.connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
        return judge_clock("the database", int(theirs.scalar() or 0) - (before_ms + now_ms()) // 2)


@check(
    needs=("database",),
    symptoms=("Two processes show different presence.",),
)
async def processes(installation: Installation) -> Finding:
    """Several processes of the city share a Redis.

    Warns if a process waits to lead this PostgreSQL database, and `redis.url` is empty: each would have a presence of its own.
    """
    if installation.database.is_sqlite:
        return skipped("A SQLite database serves one process.")
    async with installation.database.read_only() as tx:
        waiting = await waiting_sessions(tx.connection)
    if waiting and not installation.settings.redis.url:
        return warning(
            f"{waiting} more process(es) wait to lead, and there is no redis.url to share presence by.",
            "Set redis.url in all of them (docs/how-to/run-several-processes.md), or stop the others.",
        )
    return passed(f"{waiting} wait to take over." if waiting else "No other process waits to lead.")


CHECKS: Final = (
    database,
    database_schema,
    database_writable,
    database_tables,
    database_server,
    database_connections,
    database_clock,
    processes,
)
