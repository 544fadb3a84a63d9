"""One database by its URL: SQLite or PostgreSQL. Transactions that write, and readings that do not."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ..errors import ExitCode, StartError
from .accounts import AccountRepository
from .agent_replies import ReplyRepository
from .agents import AgentRepository
from .availability import Availability
from .citizens import CitizenRepository
from .database_url import cannot_use, driver_url, postgres_options, sqlite_file
from .dedicated_connection import PostgresDedicatedConnection, SqliteDedicatedConnection
from .feed import FeedRepository
from .ghosts import GhostRepository
from .inbox import InboxRepository
from .inbox_writer import InboxWriter, PostgresInboxWriter, SqliteInboxWriter
from .interactions import InteractionRepository
from .invitations import InvitationRepository
from .key_values import KeyValueRepository
from .media import MediaRepository
from .members import MemberRepository
from .membership_periods import MembershipPeriodRepository
from .messages import MessageRepository
from .outbox import OutboxRepository
from .places import PlaceRepository
from .reactions import ReactionRepository
from .read_cache import PostgresVersion, ReadCache, SqliteVersion
from .removed_agents import RemovedAgentRepository
from .restrictions import RestrictionRepository
from .revisions import RevisionRepository
from .room_events import RoomEventRepository
from .room_versions import PostgresRoomVersions, RoomVersions, SqliteRoomVersions
from .rooms import RoomRepository
from .sqlite_file import ServiceLock, make_private
from .watermarks import WatermarkRepository

_BUSY_S = 30
"""How long SQLite waits for another process (a command line beside the service) before it gives up."""
_DEDICATED = 4
"""Connections that are taken for good: three lines, and the lease."""
_HIDDEN = True
"""What people say has no place in the words of an error, which are logged, and kept with what failed."""
_SWITCH_S = 5.0
"""How long it is tried to have a new file written the fast way."""


class Transaction:
    """One database transaction, seen as the city's things."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    @cached_property
    def accounts(self) -> AccountRepository:
        return AccountRepository(self.connection)

    @cached_property
    def agents(self) -> AgentRepository:
        return AgentRepository(self.connection)

    @cached_property
    def agent_replies(self) -> ReplyRepository:
        return ReplyRepository(self.connection)

    @cached_property
    def citizens(self) -> CitizenRepository:
        return CitizenRepository(self.connection)

    @cached_property
    def invitations(self) -> InvitationRepository:
        return InvitationRepository(self.connection)

    @cached_property
    def removed_agents(self) -> RemovedAgentRepository:
        return RemovedAgentRepository(self.connection)

    @cached_property
    def places(self) -> PlaceRepository:
        return PlaceRepository(self.connection)

    @cached_property
    def rooms(self) -> RoomRepository:
        return RoomRepository(self.connection)

    @cached_property
    def room_events(self) -> RoomEventRepository:
        return RoomEventRepository(self.connection)

    @cached_property
    def feed(self) -> FeedRepository:
        return FeedRepository(self.connection)

    @cached_property
    def members(self) -> MemberRepository:
        return MemberRepository(self.connection)

    @cached_property
    def membership_periods(self) -> MembershipPeriodRepository:
        return MembershipPeriodRepository(self.connection)

    @cached_property
    def media(self) -> MediaRepository:
        return MediaRepository(self.connection)

    @cached_property
    def messages(self) -> MessageRepository:
        return MessageRepository(self.connection)

    @cached_property
    def reactions(self) -> ReactionRepository:
        return ReactionRepository(self.connection)

    @cached_property
    def revisions(self) -> RevisionRepository:
        return RevisionRepository(self.connection)

    @cached_property
    def restrictions(self) -> RestrictionRepository:
        return RestrictionRepository(self.connection)

    @cached_property
    def inbox(self) -> InboxRepository:
        return InboxRepository(self.connection)

    @cached_property
    def outbox(self) -> OutboxRepository:
        return OutboxRepository(self.connection)

    @cached_property
    def ghosts(self) -> GhostRepository:
        return GhostRepository(self.connection)

    @cached_property
    def key_values(self) -> KeyValueRepository:
        return KeyValueRepository(self.connection)

    @cached_property
    def watermarks(self) -> WatermarkRepository:
        return WatermarkRepository(self.connection)

    @cached_property
    def interactions(self) -> InteractionRepository:
        return InteractionRepository(self.connection)


class Database:
    """Connections to the database at ``url`` (``sqlite:///…`` or ``postgresql://…``)."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.file = sqlite_file(self.url)
        self.availability = Availability(self.url)
        self._engine = _engine(self.url, pool_size)
        # PostgreSQL shows each statement what was committed before it, in a transaction or not; beginning and ending one
        # are two more ways to the server and back.
        self._reading = self._engine if self.is_sqlite else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer; queueing here is fair and cheap, its own waiting is neither.
        self._writing = asyncio.Lock() if self.is_sqlite else None
        self._lock: ServiceLock | None = None
        self._lines: list[PostgresDedicatedConnection | SqliteDedicatedConnection] = []
        self.intake, self.remembered, self.room_versions = self._on_lines()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Everything done within is stored when the block ends, or nothing of it when it raises."""
        with self.availability.observed():
            if self._writing is None:
                async with self._engine.begin() as connection:
                    yield Transaction(connection)
            else:
                async with self._writing, self._engine.connect() as connection:
                    await connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")
                    async with connection.begin():
                        yield Transaction(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A look at what is stored; writes nothing. Each statement sees what was committed before it."""
        async with self._reading.connect() as connection:
            yield Transaction(connection)

    async def dedicated(self) -> AsyncConnection:
        """A connection for whoever holds it, outside of any transaction, until it is closed."""
        connection = await self._engine.connect()
        return await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def check(self) -> None:
        """Raise StartError when the database cannot be used, is another program's, or cannot hold every character."""
        try:
            async with self.transaction() as tx:
                if not self.is_sqlite:
                    await _check_postgres(tx.connection)
        except (DBAPIError, OSError) as error:
            raise cannot_use(self.url, error) from error

    def claim(self) -> None:
        """Make this process the one service on a SQLite file, until ``close``. Raises StartError when another one is."""
        if self.file is not None:
            self._lock = ServiceLock(self.file)
            self._lock.acquire()

    async def problem(self) -> str | None:
        """Return why the database cannot be used now, None when it can. Writes only if the last write failed."""
        try:
            async with self.reading() as tx:
                await tx.connection.execute(text("SELECT 1"))
            if self.availability.problem is not None:
                async with self.transaction() as tx:
                    await tx.key_values.put_write_probe()
        except (SQLAlchemyError, OSError):
            return self.availability.problem or "does not answer"
        return None

    async def close(self) -> None:
        for line in self._lines:
            await line.close()
        await self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def _on_lines(self) -> tuple[InboxWriter, ReadCache, RoomVersions]:
        """What is done so often that it has connections of its own; they open when they are needed."""
        if self._writing is None:
            server = [PostgresDedicatedConnection(self.dedicated) for _ in range(3)]
            self._lines += server
            return (
                PostgresInboxWriter(server[0], self.availability),
                ReadCache(PostgresVersion(server[1])),
                PostgresRoomVersions(server[2]),
            )
        file = [SqliteDedicatedConnection(self._connect_sqlite) for _ in range(3)]
        self._lines += file
        return (
            SqliteInboxWriter(file[0], self._writing, self.availability),
            ReadCache(SqliteVersion(file[1])),
            SqliteRoomVersions(file[2]),
        )

    def _connect_sqlite(self) -> sqlite3.Connection:
        arguments, options = self._engine.dialect.create_connect_args(self.url)
        if self.file is not None:
            make_private(self.file)
        connection = sqlite3.connect(arguments[0], timeout=_BUSY_S, uri=options.get("uri", False))
        _set_up_sqlite(connection)
        return connection


def _switch_to_wal(cursor: Any) -> None:
    """Two that switch a new file at the same time each wait for the other, so neither waits, and each tries again.

    Whoever gave up would go on without, and hold up all others for as long as they wait.
    """
    cursor.execute("PRAGMA busy_timeout=0")
    give_up = time.monotonic() + _SWITCH_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            if cursor.fetchone()[0] != "delete":
                break
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
        if time.monotonic() > give_up:
            break  # a file system without shared memory: slower, and just as safe
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 -- only so that two do not keep step
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_S * 1000}")


def _set_up_sqlite(connection: Any) -> None:
    # No implicit BEGIN by the driver: it comes too late for BEGIN IMMEDIATE, see _begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # a commit that returned is on the disk
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _engine(url: URL, pool_size: int) -> AsyncEngine:
    return _sqlite_engine(url) if url.get_backend_name() == "sqlite" else _postgres_engine(url, pool_size)


async def _check_postgres(connection: AsyncConnection) -> None:
    encoding = (await connection.execute(text("SHOW server_encoding"))).scalar()
    if encoding != "UTF8":
        raise StartError(
            f"The database's encoding is {encoding}, which cannot hold every character that people write.",
            "Make one with UTF-8: createdb -E UTF8 -T template0 NAME; then name it in database.url.",
            ExitCode.DATABASE,
        )
    # Synapse's own bookkeeping of its migrations.
    found = await connection.execute(text("SELECT to_regclass('applied_schema_deltas') IS NOT NULL"))
    if found.scalar():
        raise StartError(
            "database.url names Synapse's own database.",
            "Make one for the city beside it: createdb -E UTF8 -T template0 NAME; then name it in database.url.",
            ExitCode.DATABASE,
        )


def _postgres_engine(url: URL, pool_size: int) -> AsyncEngine:
    url, options = postgres_options(url)
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size + _DEDICATED,
        hide_parameters=_HIDDEN,
        connect_args=options,
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def _check(dbapi_connection: Any, _record: object, _proxy: object) -> None:
        # The driver knows at once when the server has ended; asking the server each time would be three ways there and back.
        if dbapi_connection.driver_connection.is_closed():
            raise DisconnectionError("the server has ended it")

    return engine


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_S}, hide_parameters=_HIDDEN)
    file = sqlite_file(url)

    @event.listens_for(engine.sync_engine, "do_connect")
    def _try(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        if file is not None:
            make_private(file)
        # aiosqlite's thread outlives a file that cannot be opened, and complains when the event loop is gone by then.
        sqlite3.connect(arguments[0], uri=options.get("uri", False)).close()

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(dbapi_connection: Any, _record: object) -> None:
        _set_up_sqlite(dbapi_connection)

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once when somebody else wrote in between, however
        # long the timeout; taking the write lock at the start waits instead.
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine
