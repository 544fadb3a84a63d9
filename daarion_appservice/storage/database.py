"""Connections, transactions and reads of a SQLite or PostgreSQL database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import event, inspect, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ..errors import DatabaseError, ExitCode, StartError
from .accounts import AccountRepository
from .agent_messages import AgentMessageRepository
from .agent_replies import ReplyRepository
from .agents import AgentRepository
from .availability import Availability
from .bot_chats import BotChatRepository
from .chat_receipts import ChatReceiptRepository
from .citizen_chats import CitizenChatRepository
from .citizens import CitizenRepository
from .database_url import cannot_use, described_url, driver_url, postgres_options, sqlite_path
from .dedicated_connection import PostgresDedicatedConnection, SqliteDedicatedConnection
from .deferred_writes import WITHOUT_TRANSACTION, defer_writes
from .direct_chats import DirectChatRepository
from .drawn_avatars import DrawnAvatarRepository
from .driver_errors import translate_driver_errors
from .encryption.accounts import EncryptionAccountRepository
from .encryption.devices import EncryptionDeviceRepository
from .encryption.encrypted_entries import EncryptedEntryRepository
from .encryption.key_requests import KeyRequestRepository
from .encryption.megolm_sessions import MegolmSessionRepository
from .encryption.olm_sessions import OlmSessionRepository
from .encryption.overview import EncryptionOverviewRepository
from .encryption.to_device_outbox import ToDeviceOutboxRepository
from .encryption.undecrypted import UndecryptedRepository
from .encryption.withheld_keys import WithheldKeyRepository
from .feed import FeedRepository
from .ghosts import GhostRepository
from .inbox import InboxRepository
from .inbox_order import InboxOrderRepository
from .inbox_writer import InboxWriter, PostgresInboxWriter, SqliteInboxWriter
from .interactions import InteractionRepository
from .invitations import InvitationRepository
from .key_values import KeyValueRepository
from .last_messages import LastMessageRepository
from .matrix_rooms import MatrixRoomRepository
from .media import MediaRepository
from .members import MemberRepository
from .membership_periods import MembershipPeriodRepository
from .mentions import MentionRepository
from .message_removals import MessageRemovalRepository
from .messages import MessageRepository
from .metrics import WAIT_SECONDS, PoolUsage, measure_statements, pool_usage
from .outbox import OutboxRepository
from .personal_data.erasing import ErasingRepository
from .personal_data.erasures import ErasureRepository
from .personal_data.retention import RetentionRepository
from .places import PlaceRepository
from .poll_responses import PollResponseRepository
from .push_subscriptions import PushSubscriptionRepository
from .reactions import ReactionRepository
from .read_cache import ReadCache
from .read_marks import ReadMarkRepository
from .read_versions import PostgresVersionReader, SqliteVersionReader
from .receipts import ReceiptRepository
from .removed_agents import RemovedAgentRepository
from .removed_rooms import RemovedRoomRepository
from .repository import Repository
from .restrictions import RestrictionRepository
from .revisions import RevisionRepository
from .room_events import RoomEventRepository
from .rooms import RoomRepository
from .search import SearchRepository
from .sqlite_engine import BEGIN, connect, sqlite_engine
from .sqlite_file import ServiceLock
from .threads import ThreadRepository
from .watermarks import WatermarkRepository

_DEDICATED = 3
"""Connections that are never returned to the pool: two dedicated connections and the leader lock's."""
_HIDDEN = True
"""Errors are logged and stored with failed rows, so they must not contain statement parameters: these hold messages."""


R = TypeVar("R", bound=Repository)


class _LazyRepository(Generic[R]):
    """A repository of a transaction, made at its first use: of some fifty repositories most transactions use five."""

    def __init__(self, kind: type[R]) -> None:
        self._kind = kind

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, transaction: Transaction, _owner: type) -> R:
        made = self._kind(transaction.connection)
        # From now on the attribute of the instance is found first.
        transaction.__dict__[self._name] = made
        return made


class Transaction:
    """One database transaction with a repository for each kind of stored object."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    accounts = _LazyRepository(AccountRepository)
    agents = _LazyRepository(AgentRepository)
    agent_messages = _LazyRepository(AgentMessageRepository)
    agent_replies = _LazyRepository(ReplyRepository)
    message_removals = _LazyRepository(MessageRemovalRepository)
    citizens = _LazyRepository(CitizenRepository)
    citizen_chats = _LazyRepository(CitizenChatRepository)
    invitations = _LazyRepository(InvitationRepository)
    removed_agents = _LazyRepository(RemovedAgentRepository)
    removed_rooms = _LazyRepository(RemovedRoomRepository)
    places = _LazyRepository(PlaceRepository)
    rooms = _LazyRepository(RoomRepository)
    bot_chats = _LazyRepository(BotChatRepository)
    direct_chats = _LazyRepository(DirectChatRepository)
    matrix_rooms = _LazyRepository(MatrixRoomRepository)
    room_events = _LazyRepository(RoomEventRepository)
    feed = _LazyRepository(FeedRepository)
    members = _LazyRepository(MemberRepository)
    membership_periods = _LazyRepository(MembershipPeriodRepository)
    media = _LazyRepository(MediaRepository)
    messages = _LazyRepository(MessageRepository)
    last_messages = _LazyRepository(LastMessageRepository)
    mentions = _LazyRepository(MentionRepository)
    push_subscriptions = _LazyRepository(PushSubscriptionRepository)
    reactions = _LazyRepository(ReactionRepository)
    search = _LazyRepository(SearchRepository)
    read_marks = _LazyRepository(ReadMarkRepository)
    receipts = _LazyRepository(ReceiptRepository)
    chat_receipts = _LazyRepository(ChatReceiptRepository)
    threads = _LazyRepository(ThreadRepository)
    poll_responses = _LazyRepository(PollResponseRepository)
    revisions = _LazyRepository(RevisionRepository)
    restrictions = _LazyRepository(RestrictionRepository)
    inbox = _LazyRepository(InboxRepository)
    inbox_order = _LazyRepository(InboxOrderRepository)
    outbox = _LazyRepository(OutboxRepository)
    drawn_avatars = _LazyRepository(DrawnAvatarRepository)
    ghosts = _LazyRepository(GhostRepository)
    key_values = _LazyRepository(KeyValueRepository)
    watermarks = _LazyRepository(WatermarkRepository)
    interactions = _LazyRepository(InteractionRepository)
    encryption_accounts = _LazyRepository(EncryptionAccountRepository)
    encryption_devices = _LazyRepository(EncryptionDeviceRepository)
    olm_sessions = _LazyRepository(OlmSessionRepository)
    megolm_sessions = _LazyRepository(MegolmSessionRepository)
    key_requests = _LazyRepository(KeyRequestRepository)
    withheld_keys = _LazyRepository(WithheldKeyRepository)
    to_device_outbox = _LazyRepository(ToDeviceOutboxRepository)
    undecrypted = _LazyRepository(UndecryptedRepository)
    encrypted_entries = _LazyRepository(EncryptedEntryRepository)
    erasures = _LazyRepository(ErasureRepository)
    erasing = _LazyRepository(ErasingRepository)
    retention = _LazyRepository(RetentionRepository)
    encryption_overview = _LazyRepository(EncryptionOverviewRepository)


class Database:
    """A pool of connections, and the dedicated connections, to one database.

    Args:
        url: ``sqlite:///…`` or ``postgresql://…``.
        pool_size: connections that stay open when idle; PostgreSQL only.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.file = sqlite_path(self.url)
        self.availability = Availability(self.url)
        self._engine = _engine(self.url, pool_size)
        measure_statements(self._engine.sync_engine)
        # PostgreSQL shows each statement everything committed before it, in a transaction or not; BEGIN and COMMIT
        # would cost two more round trips. SQLite without a transaction does the same.
        options: dict[str, str] = {BEGIN: ""} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reading = self._engine.execution_options(**options, **WITHOUT_TRANSACTION)
        # SQLite allows one writer at a time; this lock is fair and cheap, SQLite's own waiting is neither.
        self._writing = asyncio.Lock() if self.is_sqlite else None
        self._lock: ServiceLock | None = None
        self._dedicated: list[PostgresDedicatedConnection | SqliteDedicatedConnection] = []
        self.inbox_writer, self.read_cache = self._open_dedicated()

    @property
    def described(self) -> str:
        """The URL for the log, without password."""
        return described_url(self.url)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a write transaction that commits when the block ends and rolls back when the block raises.

        Raises:
            DatabaseError: a statement or the commit failed.
        """
        began_s = time.perf_counter()
        with self.availability.observe():
            if self._writing is None:
                async with self._engine.begin() as connection:
                    WAIT_SECONDS.observe(time.perf_counter() - began_s)
                    yield Transaction(connection)
            else:
                async with self._writing, self._engine.connect() as connection:
                    WAIT_SECONDS.observe(time.perf_counter() - began_s)
                    await connection.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
                    async with connection.begin():
                        yield Transaction(connection)

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Transaction]:
        """Open a connection for reads only. Each statement sees everything that was committed before it.

        Raises:
            DatabaseError: a statement failed.
        """
        began_s = time.perf_counter()
        with translate_driver_errors():
            async with self._reading.connect() as connection:
                WAIT_SECONDS.observe(time.perf_counter() - began_s)
                yield Transaction(connection)

    async def dedicated(self) -> AsyncConnection:
        """Return a connection in autocommit mode that is not shared until it is closed."""
        connection = await self._engine.connect()
        return await connection.execution_options(isolation_level="AUTOCOMMIT", **WITHOUT_TRANSACTION)

    async def check(self) -> None:
        """Check that the service can use the database.

        Raises:
            StartError: the database cannot be used, belongs to Synapse, or its encoding is not UTF-8.
        """
        try:
            async with self.transaction() as tx:
                if not self.is_sqlite:
                    await _check_encoding(tx.connection)
                await tx.connection.run_sync(_check_owner)
        except DatabaseError as error:
            raise cannot_use(self.url, error) from error

    def claim(self) -> None:
        """Lock a SQLite file for this process until ``close``. PostgreSQL needs no such lock.

        Raises:
            StartError: another service holds the lock.
        """
        if self.file is not None:
            self._lock = ServiceLock(self.file)
            self._lock.acquire()

    async def problem(self) -> str | None:
        """Return why the database cannot be used now, or None if it can. Write only if the last write failed."""
        try:
            async with self.read_only() as tx:
                if await is_write_protected(tx.connection):
                    return "is read-only: a standby, or default_transaction_read_only is on"
            if self.availability.problem is not None:
                async with self.transaction() as tx:
                    await tx.key_values.put_write_probe()
        except DatabaseError:
            return self.availability.problem or "does not answer"
        return None

    @property
    def pool_usage(self) -> PoolUsage:
        """How the connections of the pool are used at the moment."""
        return pool_usage(self._engine.pool)

    @staticmethod
    def max_connections(pool_size: int) -> int:
        """Return how many connections one process opens to PostgreSQL at most."""
        return 2 * pool_size + _DEDICATED

    async def close(self) -> None:
        for connection in self._dedicated:
            await connection.close()
        await self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def _open_dedicated(self) -> tuple[InboxWriter, ReadCache]:
        """Create the inbox writer and the read cache. Their connections open at the first use."""
        if self._writing is None:
            postgres = [PostgresDedicatedConnection(self.dedicated) for _ in range(2)]
            self._dedicated += postgres
            return (
                PostgresInboxWriter(postgres[0], self.availability),
                ReadCache(PostgresVersionReader(postgres[1])),
            )
        sqlite = [SqliteDedicatedConnection(partial(connect, self._engine)) for _ in range(2)]
        self._dedicated += sqlite
        return (
            SqliteInboxWriter(sqlite[0], self._writing, self.availability),
            ReadCache(SqliteVersionReader(sqlite[1])),
        )


def _engine(url: URL, pool_size: int) -> AsyncEngine:
    return sqlite_engine(url) if url.get_backend_name() == "sqlite" else _postgres_engine(url, pool_size)


async def _check_encoding(connection: AsyncConnection) -> None:
    encoding = (await connection.execute(text("SHOW server_encoding"))).scalar()
    if encoding != "UTF8":
        raise StartError(
            f"The database's encoding is {encoding}, which cannot hold every character that people write.",
            "Make one with UTF-8: createdb -E UTF8 -T template0 NAME; then name it in database.url.",
            ExitCode.DATABASE,
        )


def _check_owner(connection: Connection) -> None:
    # Synapse records its schema migrations in this table.
    if inspect(connection).has_table("applied_schema_deltas"):
        is_sqlite = connection.dialect.name == "sqlite"
        raise StartError(
            "database.url names Synapse's own database.",
            "Name another file in database.url; it is made at the start."
            if is_sqlite
            else "Make one for the city beside it: createdb -E UTF8 -T template0 NAME; then name it in database.url.",
            ExitCode.DATABASE,
        )


async def is_write_protected(connection: AsyncConnection) -> bool:
    """Return whether PostgreSQL refuses writes (a standby, ``default_transaction_read_only``); False on SQLite."""
    if connection.dialect.name == "sqlite":
        await connection.execute(text("SELECT 1"))
        return False
    return (await connection.execute(text("SHOW transaction_read_only"))).scalar() == "on"


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
        # The driver knows at once when the server has closed the connection; a ping would take three round trips.
        if dbapi_connection.driver_connection.is_closed():
            raise DisconnectionError("the server has ended it")

    defer_writes(engine.sync_engine)
    return engine
