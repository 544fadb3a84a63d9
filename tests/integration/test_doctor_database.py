"""The doctor names what is wrong with a database or a Redis."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from daarion_appservice.city.data_subjects import DataSubject
from daarion_appservice.city.types import UserId
from daarion_appservice.clock import now_ms
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config.pickle_key import new_pickle_key
from daarion_appservice.doctor import database as database_checks
from daarion_appservice.doctor.database import judge_connections, judge_server
from daarion_appservice.encryption.accounts import create_account
from daarion_appservice.encryption.primitives import PickleKey
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import ReceivedEvent
from daarion_appservice.storage.leader_lock import LeaderLock
from daarion_appservice.storage.tables import outbox
from tests.parts.doctor import expect_finding, finding_of, write_config
from tests.parts.ports import HOST, free_port
from tests.parts.postgres import Postgres
from tests.parts.redis import RedisServer

OF_DATABASE = (
    "database",
    "database_schema",
    "database_writable",
    "database_tables",
    "database_server",
    "database_connections",
    "database_clock",
    "processes",
)


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    return write_config(tmp_path, {"database.url": database_url})


@pytest.fixture
def postgres_config(tmp_path: Path, postgres_url: str) -> Path:
    return write_config(tmp_path, {"database.url": postgres_url})


@pytest.fixture
def sqlite_config(tmp_path: Path, sqlite_url: str) -> Path:
    return write_config(tmp_path, {"database.url": sqlite_url})


async def test_healthy_database_has_no_problem(config: Path) -> None:
    found = {name: await finding_of(name, config) for name in OF_DATABASE}
    assert {each.status.value for each in found.values()} <= {"pass", "skip"}, found


# --- SQLite -------------------------------------------------------------------------------------------


async def test_missing_file_is_named_and_not_created(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"database.url": "sqlite:///none.db"})
    await expect_finding("database", config, "fail", "There is no database", "--env-file", "db upgrade")
    assert not (tmp_path / "none.db").exists()


async def test_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but a long enough text to be read as one\n" * 100)
    config = write_config(tmp_path, {"database.url": "sqlite:///text.db"})
    await expect_finding("database", config, "fail", "no SQLite database")


async def test_empty_database_is_named(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    config = write_config(tmp_path, {"database.url": "sqlite:///empty.db"})
    await expect_finding("database_schema", config, "fail", "is empty", "db upgrade")


# --- PostgreSQL ---------------------------------------------------------------------------------------


async def test_missing_database_is_named(postgres_config: Path, postgres_url: str) -> None:
    config_edit.set_values(postgres_config, {"database.url": f"{postgres_url}_missing"})
    await expect_finding("database", postgres_config, "fail", "no such database", "createdb")


async def test_server_that_is_away_is_named(postgres_config: Path) -> None:
    url = f"postgresql://user:secret-password@{HOST}:{free_port()}/x"
    config_edit.set_values(postgres_config, {"database.url": url})
    found = await finding_of("database", postgres_config)
    assert found.status.value == "fail"
    assert "Check that PostgreSQL runs there" in found.advice
    assert "secret-password" not in found.summary + found.advice


async def test_silent_database_server_is_named(postgres_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_checks, "_ANSWER_S", 0.3)
    is_over = asyncio.Event()

    async def keep_silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    server = await asyncio.start_server(keep_silent, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    config_edit.set_values(postgres_config, {"database.url": f"postgresql://city@{HOST}:{port}/city"})
    await expect_finding("database", postgres_config, "fail", "does not answer within 0.3 seconds", "firewall")
    is_over.set()
    server.close()


@pytest.fixture
def latin1(postgres: Postgres) -> Iterator[str]:
    postgres.execute("CREATE DATABASE doctor_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    yield postgres.url("doctor_latin1")
    postgres.drop_database("doctor_latin1")


async def test_latin1_database_is_named(postgres_config: Path, latin1: str) -> None:
    config_edit.set_values(postgres_config, {"database.url": latin1})
    await expect_finding("database", postgres_config, "fail", "LATIN1", "createdb -E UTF8")


async def execute(url: str, *statements: str) -> None:
    database = Database(url)
    async with database.transaction() as tx:
        for statement in statements:
            await tx.connection.exec_driver_sql(statement)
    await database.close()


async def test_synapse_database_is_named(postgres_config: Path, postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE applied_schema_deltas (version int)")
    await expect_finding("database", postgres_config, "fail", "Synapse's own database")


async def test_read_only_database_is_named(postgres_config: Path, postgres_url: str, postgres: Postgres) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await expect_finding("database_writable", postgres_config, "fail", "takes no writes", "primary")


async def test_tables_of_another_role_are_named(postgres_config: Path, postgres_url: str, postgres: Postgres) -> None:
    await execute(postgres_url, "CREATE ROLE doctor_other", "ALTER TABLE rooms OWNER TO doctor_other")
    await expect_finding("database_writable", postgres_config, "fail", "rooms of doctor_other", "REASSIGN OWNED")
    await execute(postgres_url, "REASSIGN OWNED BY doctor_other TO CURRENT_USER", "DROP ROLE doctor_other")


@pytest.mark.parametrize("is_migrated", [False])
async def test_database_of_another_program_is_named(postgres_config: Path, postgres_url: str) -> None:
    await execute(postgres_url, "CREATE TABLE customers (id int)")
    await expect_finding("database_tables", postgres_config, "warn", "another program's: customers")


async def test_foreign_table_is_named(config: Path, database_url: str) -> None:
    await execute(database_url, "CREATE TABLE customers (id int)")
    await expect_finding("database_tables", config, "warn", "Other tables are in it: customers")


@pytest.mark.parametrize(
    ("revision", "advice"), [("9999", "Install the newer version"), ("0001", "restart the service")]
)
async def test_other_revision_is_named(config: Path, database_url: str, revision: str, advice: str) -> None:
    await execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    await expect_finding("database_schema", config, "fail", revision, migrate.head(), advice)


@pytest.mark.parametrize(("version", "status"), [(130_004, "warn"), (150_002, "pass")])
def test_version_of_postgres_is_judged(version: int, status: str) -> None:
    assert judge_server(version, "PostgreSQL", "C").status.value == status


@pytest.mark.parametrize(("free", "own", "status"), [(3, 2, "warn"), (0, 20, "pass"), (80, 1, "pass")])
def test_free_connections_are_judged(free: int, own: int, status: str) -> None:
    assert judge_connections(free=free, own=own, needed=20).status.value == status


async def test_connection_limit_of_database_is_named(
    postgres_config: Path, postgres_url: str, postgres: Postgres
) -> None:
    postgres.execute(f"ALTER DATABASE {postgres_url.rpartition('/')[2]} CONNECTION LIMIT 5")
    await expect_finding("database_connections", postgres_config, "warn", "may need 19 connections", "max_connections")


async def test_other_pickle_key_is_named(sqlite_config: Path, sqlite_url: str) -> None:
    former = new_pickle_key()
    config_edit.set_values(sqlite_config, {"encryption.enabled": True, "encryption.pickle_key": former})
    await expect_finding("pickle_key", sqlite_config, "pass")
    database = Database(sqlite_url)
    async with database.transaction() as tx:
        key = PickleKey(base64.b64decode(former))
        await tx.encryption_accounts.save(create_account(UserId("@agent_scribe:city.localhost"), "E2E_1", key))
    await database.close()
    await expect_finding("pickle_key", sqlite_config, "pass")
    config_edit.set_values(sqlite_config, {"encryption.pickle_key": new_pickle_key()})
    await expect_finding("pickle_key", sqlite_config, "fail", "another encryption.pickle_key", "discard-keys")


async def test_second_process_without_redis_is_named(postgres_config: Path, postgres_url: str) -> None:
    await expect_finding("processes", postgres_config, "pass")
    databases = Database(postgres_url), Database(postgres_url)
    leader, standby = (LeaderLock(each, shares_presence=False) for each in databases)
    assert await leader._may_lead()
    await expect_finding("processes", postgres_config, "pass", "No other process")
    assert not await standby._may_lead()
    await expect_finding("processes", postgres_config, "warn", "1 more process(es) wait to lead", "redis.url")
    config_edit.set_values(postgres_config, {"redis.url": "redis://localhost:6379"})
    await expect_finding("processes", postgres_config, "pass", "1 wait to take over")
    for each in (leader, standby):
        await each.release()
    for database in databases:
        await database.close()


# --- queues -------------------------------------------------------------------------------------------


async def test_dead_letter_is_named(config: Path, database_url: str) -> None:
    await receive(database_url, ReceivedEvent("$a", "!r", "{}", "broken"), now_ms())
    await expect_finding("queues", config, "warn", "1 event(s) from Matrix could not be processed", "dead-letter list")


async def test_late_event_is_named(config: Path, database_url: str) -> None:
    await receive(database_url, ReceivedEvent("$a", "!r", "{}"), now_ms() - 120_000)
    await expect_finding("queues", config, "warn", "has waited for 120 seconds, 1 in all")


async def test_rejected_message_is_named(config: Path, database_url: str) -> None:
    move = insert(outbox).values(kind="join", user_id="@a:b", room_id="r", txn_id="t", state="failed")
    database = Database(database_url)
    async with database.transaction() as tx:
        await tx.connection.execute(move)
    await database.close()
    await expect_finding("queues", config, "warn", "rejected 1 message(s)", "message list --failed")


async def test_stuck_erasure_is_named(config: Path, database_url: str) -> None:
    database = Database(database_url)
    async with database.transaction() as tx:
        await tx.erasures.add("01E", DataSubject(user=UserId("@a:b")), now_ms=now_ms())
    await expect_finding("erasures", config, "pass", "not done: 1")
    async with database.transaction() as tx:
        await tx.erasures.update("01E", requested_at_ms=now_ms() - 2 * 3_600_000, error="403 M_FORBIDDEN")
    await database.close()
    await expect_finding("erasures", config, "warn", "01E", "city for 2 h: 403 M_FORBIDDEN; 1 in all")


async def receive(url: str, event: ReceivedEvent, at_ms: int) -> None:
    database = Database(url)
    async with database.transaction() as tx:
        await tx.inbox.add([event], now_ms=at_ms)
    await database.close()


# --- Redis --------------------------------------------------------------------------------------------


async def test_city_without_redis_is_skipped(sqlite_config: Path) -> None:
    await expect_finding("redis", sqlite_config, "skip", "one process")


async def test_healthy_redis_passes(sqlite_config: Path, redis: RedisServer) -> None:
    config_edit.set_values(sqlite_config, {"redis.url": redis.url})
    await expect_finding("redis_eviction", sqlite_config, "pass")


async def test_redis_that_is_away_is_named(sqlite_config: Path) -> None:
    config_edit.set_values(sqlite_config, {"redis.url": f"redis://{HOST}:{free_port()}"})
    await expect_finding("redis", sqlite_config, "fail", "Redis does not answer", "redis.url")


async def test_cluster_mismatch_is_named(sqlite_config: Path, redis: RedisServer) -> None:
    config_edit.set_values(sqlite_config, {"redis.url": redis.url, "redis.cluster": True})
    await expect_finding("redis", sqlite_config, "fail", "this Redis is not a cluster")


async def test_evicting_redis_is_named(sqlite_config: Path, redis: RedisServer) -> None:
    redis._say("CONFIG SET maxmemory-policy allkeys-lru")
    config_edit.set_values(sqlite_config, {"redis.url": redis.url})
    await expect_finding("redis_eviction", sqlite_config, "warn", "allkeys-lru", "noeviction")
