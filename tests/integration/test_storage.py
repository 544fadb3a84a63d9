"""The database, SQLite and PostgreSQL alike: migrated, guarded, and honest about what is wrong with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, insert, select, text

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.message_kinds import NO_DETAILS
from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.rooms import Rooms, room_id_of
from daarion_appservice.city.tokens import new_token
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    CitizenId,
    Member,
    MessageId,
    OutboxKind,
    Room,
    RoomId,
    SubjectId,
    UserId,
)
from daarion_appservice.clock import new_id
from daarion_appservice.errors import Conflict, ConstraintViolated, ExitCode, StartError
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.ghosts import Ghost
from daarion_appservice.storage.inbox import ReceivedEvent
from daarion_appservice.storage.matrix_rooms import AppliedRoomState
from tests.parts.ports import free_port

SCRIBE = Agent("scribe", AgentSlug("scribe"), "Писар", rooms=("general",))
GENERAL = Room(room_id_of("general"), "general", "General", "", is_default=True, archived=False, created_at_ms=1)

EMPTY = pytest.mark.parametrize("is_migrated", [False], ids=["empty"])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


# --- migrations ---------------------------------------------------------------------------------------


@EMPTY
async def test_migrated_schema_equals_table_definitions(database: Database) -> None:
    await migrate.upgrade(database)

    def differences(connection: Connection) -> list[object]:
        # SQLite tells defaults as they were written, which cannot be compared.
        options = {"compare_server_default": connection.dialect.name != "sqlite"}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, tables.metadata))

    async with database.read_only() as tx:
        assert await tx.connection.run_sync(differences) == []


@EMPTY
async def test_upgrade_migrates_empty_database_once(
    database: Database,
) -> None:
    assert await migrate.current(database) is None
    assert await migrate.upgrade(database) == (None, migrate.head())
    assert await migrate.current(database) == migrate.head()
    async with database.transaction() as tx:
        await tx.agents.put(SCRIBE, now_ms=1)

    assert await migrate.upgrade(database) == (migrate.head(), migrate.head())

    async with database.read_only() as tx:
        assert await tx.agents.all() == [SCRIBE]


@EMPTY
async def test_migration_0013_fails_unsendable_messages(database: Database) -> None:
    await migrate.upgrade(database, "0012")
    values = {"room_id": "r", "author_kind": "citizen", "author_id": "u", "author_name": "U", "body": "", "msgtype": ""}
    async with database.transaction() as tx:
        execute = tx.connection.execute
        await execute(insert(tables.rooms).values(id="r", slug="r", name="r", description="", created_at_ms=1))
        for seq, (name, deleted) in enumerate({"waits": False, "deleted": True, "lost": False}.items()):
            row = values | {"id": name, "seq": seq, "created_at_ms": 1, "deleted": deleted, "delivery": "pending"}
            await execute(insert(tables.messages).values(row))
        await execute(insert(tables.outbox).values(kind="message", message_id="waits", room_id="r", txn_id="t"))
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        columns = tables.messages.c
        rows = await tx.connection.execute(select(columns.delivery, columns.delivery_error).order_by(columns.seq))
        assert [tuple(row) for row in rows] == [("pending", None), ("failed", "deleted"), ("failed", "refused")]


@EMPTY
async def test_migration_0014_keeps_rows_of_renamed_tables(database: Database) -> None:
    await migrate.upgrade(database, "0013")
    values = {"room_id": "r", "author_kind": "citizen", "author_id": "u", "author_name": "U", "body": "", "msgtype": ""}
    states = {"owed": "pending", "given": "posted", "dropped": "abandoned"}
    async with database.transaction() as tx:
        execute = tx.connection.execute
        await execute(insert(tables.rooms).values(id="r", slug="r", name="r", description="", created_at_ms=1))
        await execute(
            insert(tables.messages).values(values | {"id": "m", "seq": 1, "created_at_ms": 1, "delivery": "sent"})
        )
        await execute(text("INSERT INTO standings VALUES ('r', '@u:x', 'banned', 'noise', 7)"))
        await execute(text("INSERT INTO kept VALUES ('key', 'value')"))
        for state in states:
            await execute(
                text(
                    "INSERT INTO answers (id, question_id, agent, room_id, depth, asker, asked_at_ms, state, no_answer) "
                    f"VALUES ('{state}', 'm', '{state}', 'r', 1, 'u', 5, '{state}', 'too_much')"
                )
            )
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        read = tx.connection.execute
        assert [tuple(row) for row in await read(select(tables.restrictions))] == [("r", "@u:x", "banned", "noise", 7)]
        assert ("key", "value") in [tuple(row) for row in await read(select(tables.key_values))]
        replies = tables.agent_replies.c
        found = await read(select(replies.agent, replies.state, replies.failure, replies.requested_at_ms))
        assert {tuple(row) for row in found} == {(old, new, "too_much", 5) for old, new in states.items()}


@EMPTY
async def test_migration_0015_keeps_data_in_both_directions(database: Database) -> None:
    removal = '{"standing":"banned","by":null,"reason":"a \\"standing\\": noise"}'
    await migrate.upgrade(database, "0014")
    async with database.transaction() as tx:
        for statement in (
            (
                "INSERT INTO rooms (id, slug, name, created_at_ms, told_name, told_topic, told_archived, in_company) "
                "VALUES ('r', 'r', 'r', 1, 'name', 'topic', true, true)"
            ),
            (
                "INSERT INTO messages (id, room_id, seq, author_kind, author_id, author_name, body, msgtype, created_at_ms, "
                "delivery) VALUES ('m', 'r', 1, 'citizen', 'u', 'U', '', '', 1, 'sent')"
            ),
            "INSERT INTO restrictions VALUES ('r', '@u:x', 'banned', 'noise', 7)",
            (
                "INSERT INTO agent_replies (id, question_id, agent, room_id, depth, asker, asked_at_ms, state, message_id, "
                "attempts, retry_at_ms, error, failure) "
                "VALUES ('a', 'm', 'scribe', 'r', 1, 'u_1', 5, 'posted', 'n', 2, 3, 'no', 'too_much')"
            ),
            "INSERT INTO key_values VALUES ('presence_held_ms:Synapse 1.120', '40000')",
            (
                "INSERT INTO room_events (room_id, seq, kind, author_kind, author_id, author_name, at_ms, removal) "
                f"VALUES ('r', 2, 'city.room.leave', 'matrix', '@u:x', 'U', 1, '{removal}')"
            ),
        ):
            await tx.connection.exec_driver_sql(statement)

    await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert await tx.restrictions.get(RoomId("r"), UserId("@u:x")) == Restriction(RestrictionKind.BANNED, "noise")
        assert await tx.matrix_rooms.applied_state(RoomId("r")) == AppliedRoomState("name", "topic", None, None, True)
        room = await tx.rooms.get(RoomId("r"))
        assert room is not None
        assert room.is_group
        assert await tx.key_values.presence_timeout_ms("Synapse 1.120") == 40_000
        assert await tx.agent_replies.count_by_requester(SubjectId("u_1"), since_ms=5) == 1
        rows = await tx.connection.execute(select(tables.agent_replies))
        assert [tuple(row) for row in rows] == [
            ("a", "m", "scribe", "r", 1, "u_1", 5, "posted", "n", 2, 3, "no", "too_much")
        ]
        stored = await tx.connection.scalar(select(tables.room_events.c.removal))
    assert stored == removal.replace('"standing":', '"kind":', 1)

    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda connection: _downgrade(connection, "0014"))
    async with database.read_only() as tx:
        rows = await tx.connection.exec_driver_sql("SELECT question_id, asker, asked_at_ms FROM agent_replies")
        assert [tuple(row) for row in rows] == [("m", "u_1", 5)]
        stored = await tx.connection.exec_driver_sql("SELECT standing, removal FROM restrictions, room_events")
        assert [tuple(row) for row in stored] == [("banned", removal)]
    await migrate.upgrade(database)


@EMPTY
async def test_migration_0017_keeps_ghosts_both_ways(database: Database) -> None:
    await migrate.upgrade(database, "0016")
    ghost = Ghost(UserId("@agent_scribe:x"), "Писар", "sha256:1", "mxc://x/1")
    async with database.transaction() as tx:
        await tx.ghosts.put(ghost)
    await migrate.upgrade(database, "0017")
    async with database.transaction() as tx:
        assert await tx.drawn_avatars.add("key", "mxc://x/2") == "mxc://x/2"
        assert await tx.drawn_avatars.add("key", "mxc://x/3") == "mxc://x/2", "another process was first"
        await tx.drawn_avatars.mark_lost("mxc://x/2")
        assert await tx.drawn_avatars.add("key", "mxc://x/4") == "mxc://x/4"
        assert await tx.drawn_avatars.current() == {"key": "mxc://x/4"}
        assert await tx.drawn_avatars.among(["mxc://x/1", "mxc://x/2", "mxc://x/4"]) == {"mxc://x/2", "mxc://x/4"}
    async with database.transaction() as tx:
        await tx.connection.run_sync(lambda connection: _downgrade(connection, "0016"))
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert await tx.ghosts.all() == [ghost]
        assert await tx.drawn_avatars.current() == {}


@EMPTY
async def test_migration_0018_keeps_messages(database: Database) -> None:
    await migrate.upgrade(database, "0017")
    media = '{"mxc":"mxc://x/y","mimetype":"audio/ogg","filename":"a"}'
    insert = (
        "INSERT INTO messages (id, room_id, seq, author_kind, author_id, author_name, body, msgtype, created_at_ms, "
    )
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql(
            "INSERT INTO rooms (id, slug, name, created_at_ms) VALUES ('r', 'r', 'r', 1)"
        )
        await tx.connection.exec_driver_sql(
            f"{insert}delivery, media) VALUES ('m', 'r', 1, 'citizen', 'u', 'U', 'b', 'm.audio', 1, 'sent', '{media}')"
        )
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        message = await tx.messages.get(MessageId("m"))
        assert message is not None
        assert (message.body, message.details, message.poll_results) == ("b", NO_DETAILS, None)
        assert message.media is not None
        assert (message.media.is_voice, message.media.waveform) == (False, ())
        await tx.outbox.add(OutboxKind.VOTE, message.id, message.room_id, txn_id="v")
        await tx.connection.run_sync(lambda connection: _downgrade(connection, "0017"))
        assert await tx.outbox.waiting(limit=9) == []
    await migrate.upgrade(database)


@EMPTY
async def test_migration_0019_keeps_data(database: Database) -> None:
    await migrate.upgrade(database, "0018")
    chats = {"direct_1": ("linked", "false"), "direct_2": ("pending", "false"), "direct_3": ("linked", "true")}
    async with database.transaction() as tx:
        for chat, (status, archived) in chats.items():
            await tx.connection.exec_driver_sql(
                "INSERT INTO rooms (id, slug, name, created_at_ms, agent, matrix_status, archived) "
                f"VALUES ('{chat}', '{chat}', '@u:x', 1, 'scribe', '{status}', {archived})"
            )
    for _ in range(2):
        await migrate.upgrade(database)
        async with database.read_only() as tx:
            rows = await tx.connection.execute(select(tables.direct_chat_agents).order_by(text("room_id")))
            assert [tuple(row) for row in rows] == [
                ("direct_1", "scribe", "joined"),
                ("direct_2", "scribe", "invited"),
            ]
        async with database.transaction() as tx:
            await tx.connection.run_sync(lambda connection: _downgrade(connection, "0018"))
            slugs = await tx.connection.exec_driver_sql("SELECT agent FROM rooms")
            assert list(slugs.scalars()) == ["scribe"] * 3
    await migrate.upgrade(database)


@EMPTY
async def test_migration_0021_keeps_accounts(database: Database) -> None:
    await migrate.upgrade(database, "0020")
    alice, oksana = UserId("@alice:x"), CitizenId("u_1")
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql(
            "INSERT INTO accounts (matrix_user_id, citizen_id, linked_at_ms) VALUES ('@alice:x', 'u_1', 1)"
        )
    for _ in range(2):
        await migrate.upgrade(database, "0021")
        async with database.transaction() as tx:
            assert await tx.accounts.use("digest", until_ms=5)
            assert not await tx.accounts.use("digest", until_ms=5)
            await tx.accounts.forget_uses(before_ms=6)
            assert await tx.accounts.use("digest", until_ms=5)
            assert await tx.accounts.of(oksana) == alice
        async with database.transaction() as tx:
            await tx.connection.run_sync(lambda connection: _downgrade(connection, "0020"))


@EMPTY
async def test_migration_0024_keeps_accounts(database: Database) -> None:
    await migrate.upgrade(database, "0023")
    rows = [
        "INSERT INTO accounts (matrix_user_id, citizen_id, linked_at_ms) VALUES ('@alice:x', 'u_1', 1), ('@bob:x', 'u_2', 2)",
        "INSERT INTO rooms (id, slug, name, created_at_ms) VALUES ('r', 'r', 'r', 1)",
        "INSERT INTO members (room_id, user_id, display_name, avatar_url) VALUES ('r', '@alice:x', 'Alice', 'mxc://x/a')",
    ]
    async with database.transaction() as tx:
        for row in rows:
            await tx.connection.exec_driver_sql(row)
    for _ in range(2):
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            assert sorted(await tx.accounts.all(), key=lambda account: account.citizen) == [
                LinkedAccount(CitizenId("u_1"), UserId("@alice:x"), "Alice", "mxc://x/a"),
                LinkedAccount(CitizenId("u_2"), UserId("@bob:x")),
            ]
        async with database.transaction() as tx:
            await tx.connection.run_sync(lambda connection: _downgrade(connection, "0023"))
    await migrate.upgrade(database)


def _downgrade(connection: Connection, to: str) -> None:
    config = migrate._config()
    config.attributes["connection"] = connection
    command.downgrade(config, to)


@EMPTY
async def test_concurrent_upgrades_migrate_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    try:
        ways = await asyncio.gather(*(migrate.upgrade(database) for database in databases))
    finally:
        for database in databases:
            await database.close()

    assert sorted(ways, key=lambda way: way[0] or "") == [
        (None, migrate.head()),
        (migrate.head(), migrate.head()),
        (migrate.head(), migrate.head()),
    ]


@EMPTY
async def test_concurrent_processes_migrate_once(database_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from daarion_appservice.storage import migrate\n"
        "from daarion_appservice.storage.database import Database\n"
        "sys.stdin.readline()\n"
        "print(asyncio.run(migrate.upgrade(Database(sys.argv[1])))[0])\n"
    )
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, database_url, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(2)
    ]
    ended = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert [process.returncode for process in processes] == [0, 0], ended
    assert sorted(out.decode().strip() for out, _ in ended) == sorted(["None", migrate.head()])


async def test_newer_database_is_refused_unchanged(database: Database) -> None:
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        await tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StartError) as raised:
        await migrate.upgrade(database)

    assert raised.value.exit_code == ExitCode.DATABASE
    assert "newer daarion-appservice: its revision is 9999" in raised.value.what
    assert "restore the backup" in raised.value.help
    assert await migrate.current(database) == "9999"


@EMPTY
async def test_failed_migration_changes_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(text("CREATE TABLE outbox (something text)"))  # the last table that it would make
    with pytest.raises(StartError):
        await migrate.upgrade(database)

    async with database.read_only() as tx:
        names = await tx.connection.run_sync(lambda sync: sync.dialect.get_table_names(sync))
    assert [name for name in names if name != "alembic_version"] == ["outbox"]


# --- SQLite -------------------------------------------------------------------------------------------


@EMPTY
@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
async def test_sqlite_pragmas_are_durable(sqlite_url: str, pragma: str, value: object) -> None:
    database = Database(sqlite_url)
    async with database.read_only() as one, database.read_only() as other:
        for tx in (one, other):
            assert (await tx.connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value
    await database.close()


async def test_sqlite_writers_wait_for_each_other(sqlite_url: str) -> None:
    service, command_line = Database(sqlite_url), Database(sqlite_url)
    await migrate.upgrade(service)

    async def add(database: Database, number: int) -> None:
        async with database.transaction() as tx:
            before = (await tx.connection.execute(select(func.count()).select_from(tables.key_values))).scalar_one()
            await asyncio.sleep(0)
            await tx.connection.execute(tables.key_values.insert().values(key=str(number), value=str(before)))

    await asyncio.gather(
        *(add(database, 10 * who + n) for n in range(5) for who, database in enumerate((service, command_line)))
    )

    async with service.read_only() as tx:
        seen = (await tx.connection.execute(select(tables.key_values.c.value))).scalars().all()
    assert sorted(map(int, seen)) == list(range(10)), "each saw what the one before it wrote"
    await service.close()
    await command_line.close()


# --- transactions -------------------------------------------------------------------------------------


async def test_failed_transaction_rolls_back(database: Database) -> None:
    await migrate.upgrade(database)

    async def fail(tx: Transaction) -> None:
        await tx.rooms.add(GENERAL, created_by=None)
        await tx.agents.put(SCRIBE, now_ms=1)
        await tx.inbox.add([ReceivedEvent("$1", "!room", "{}")], now_ms=1)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        async with database.transaction() as tx:
            await fail(tx)

    async with database.read_only() as tx:
        assert await tx.rooms.all() == []
        assert await tx.agents.all() == []
        assert await tx.inbox.counts() == {}
        assert await tx.key_values.registry_version() == 0


async def test_database_error_hides_parameters(database: Database) -> None:
    await migrate.upgrade(database)
    with pytest.raises(ConstraintViolated) as raised:
        async with database.transaction() as tx:
            await tx.agents.add_token("01", SCRIBE, "a secret", now_ms=1)
    assert "a secret" not in f"{raised.value} {raised.value.__cause__}"


async def test_room_takes_33000_members(database: Database) -> None:
    await migrate.upgrade(database)
    known = Member(GENERAL.id, UserId("@last:hs"), "Last")
    users = [*(UserId(f"@u{n}:hs") for n in range(33_000)), known.user_id]
    async with database.transaction() as tx:
        await tx.rooms.add(GENERAL, created_by=None)
        await tx.members.put([known])
        assert await tx.members.some(GENERAL.id, users) == [known]
        await tx.members.remove(GENERAL.id, users)
        assert await tx.members.of_room(GENERAL.id) == []


async def test_foreign_keys_are_enforced(database: Database) -> None:
    await migrate.upgrade(database)
    with pytest.raises(ConstraintViolated):
        async with database.transaction() as tx:
            await tx.agents.add_token("01", SCRIBE, "0" * 64, now_ms=1)


async def test_concurrent_sequence_numbers_have_no_gap(database: Database) -> None:
    await migrate.upgrade(database)
    async with database.transaction() as tx:
        await tx.rooms.add(GENERAL, created_by=None)

    async def next_seq(now_ms: int) -> int:
        async with database.transaction() as tx:
            seq = await tx.rooms.next_seq(GENERAL.id, now_ms=now_ms)
            await asyncio.sleep(0)
            return seq

    async def give_back() -> None:
        async with database.transaction() as tx:
            await tx.rooms.next_seq(GENERAL.id, now_ms=5)
            raise RuntimeError

    taken = await asyncio.gather(
        *(next_seq(now_ms) for now_ms in range(25)), *(give_back() for _ in range(5)), return_exceptions=True
    )

    assert sorted(seq for seq in taken if isinstance(seq, int)) == list(range(1, 26))
    assert [await _earlier(database) for _ in range(3)] == [0, -1, -2]


async def _earlier(database: Database) -> int:
    async with database.transaction() as tx:
        return await tx.rooms.earlier_seq(GENERAL.id)


async def test_registry_version_changes_with_each_write(
    database: Database,
) -> None:
    await migrate.upgrade(database)
    token = new_token("01")
    versions = [await _version(database)]

    async def change(work: str) -> None:
        async with database.transaction() as tx:
            match work:
                case "new agent" | "agent described anew":
                    await tx.agents.put(SCRIBE, now_ms=1)
                case "new token":
                    await tx.agents.add_token(token.id, SCRIBE, token.secret_sha256, now_ms=1)
                case "token revoked":
                    assert await tx.agents.revoke_tokens(SCRIBE, None, now_ms=1) == 1
                case "new room":
                    await tx.rooms.add(GENERAL, created_by=None)
                case "room archived":
                    await tx.rooms.change(replace(GENERAL, archived=True))
        versions.append(await _version(database))

    for work in ("new agent", "agent described anew", "new token", "token revoked", "new room", "room archived"):
        await change(work)

    assert len(set(versions)) == len(versions)


async def _version(database: Database) -> int:
    async with database.read_only() as tx:
        return await tx.key_values.registry_version()


async def test_concurrent_processes_create_default_rooms(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(3)]
    await migrate.upgrade(databases[0])
    seeds = [(f"room-{number}", f"Room {number}", "") for number in range(10)]
    await asyncio.gather(*(Rooms(each, lambda _: None, lambda: 0, new_id).open_missing(seeds) for each in databases))
    async with databases[0].read_only() as tx:
        assert sorted(room.slug for room in await tx.rooms.all()) == [slug for slug, _, _ in seeds]
    for each in databases:
        await each.close()


async def test_default_room_with_taken_name_is_created(database: Database) -> None:
    await migrate.upgrade(database)
    rooms = Rooms(database, lambda _: None, lambda: 0, new_id)
    await rooms.open_missing([("general", "General", "")])
    with pytest.raises(Conflict):
        await rooms.open_missing([("city_general", "General", "")])


async def test_concurrent_adds_of_one_agent_succeed(database: Database) -> None:
    await migrate.upgrade(database)

    async def add() -> None:
        async with database.transaction() as tx:
            await tx.agents.put(SCRIBE, now_ms=1)

    await asyncio.gather(*(add() for _ in range(5)))

    async with database.read_only() as tx:
        assert await tx.agents.all() == [SCRIBE]


# --- what is said when it does not work ---------------------------------------------------------------

SECRET = "p4ssw0rd-of-the-city"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://city:{secret}@127.0.0.1:{port}/city",
        "postgresql+psycopg2://city:{secret}@127.0.0.1:{port}/city",
        "postgresql://city@127.0.0.1:{port}/city?password={secret}",
        "postgresql://city:{secret}@no-such-host.invalid/city",
    ],
)
async def test_unreachable_postgresql_error_hides_password(url: str) -> None:
    database = Database(url.format(secret=SECRET, port=free_port()))
    for use in (database.check, lambda: migrate.upgrade(database), lambda: migrate.current(database)):
        with pytest.raises(StartError) as raised:
            await use()
        assert raised.value.exit_code == ExitCode.DATABASE
        assert raised.value.what.startswith("The database postgresql://city")
        assert "cannot be used: " in raised.value.what
        assert "Check that PostgreSQL runs there" in raised.value.help
        assert SECRET not in f"{raised.value.what}{raised.value.help}{raised.value!r}"
    await database.close()


async def test_missing_database_error_has_advice(postgres_url: str) -> None:
    database = Database(postgres_url + "_that_is_not_there")
    with pytest.raises(StartError, match="does not exist") as raised:
        await database.check()
    assert raised.value.exit_code == ExitCode.DATABASE
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://city:{SECRET}@localhost/city",
        f"postgresql://city:{SECRET}@localhost:port/city",
        f"city:{SECRET}",
        "",
    ],
)
def test_unsupported_url_error_hides_password(url: str) -> None:
    with pytest.raises(StartError) as raised:
        Database(url)
    assert raised.value.exit_code == ExitCode.CONFIG
    assert SECRET not in f"{raised.value.what}{raised.value.help}"
    assert "sqlite:///daarion.db or postgresql://" in raised.value.help


async def test_unusable_sqlite_file_error_has_advice(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes and no database at all" * 100)
    for name, reason, advice in (
        ("missing/city.db", "unable to open", "this user may write to it"),
        ("notes.txt", "not a database", "name another in database.url"),
    ):
        database = Database(f"sqlite:///{tmp_path / name}")
        with pytest.raises(StartError, match=reason) as raised:
            await database.check()
        assert raised.value.exit_code == ExitCode.DATABASE
        assert advice in raised.value.help
        await database.close()


async def test_writes_survive_other_process_closing(tmp_path: Path) -> None:
    """As a command line, or a backup, does beside the service."""
    database = Database(f"sqlite:///{tmp_path / 'city.db'}")
    await migrate.upgrade(database)
    count = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM inbox').fetchone()[0])"
    )

    async def seen_by_another_process() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", count, str(tmp_path / "city.db"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return int(out)

    seen = []
    for number in range(3):
        async with database.transaction() as tx, database.read_only():
            await tx.inbox.add([ReceivedEvent(f"${number}", "!room", "{}")], now_ms=1)
        seen.append(await seen_by_another_process())
    await database.close()
    assert [*seen, await seen_by_another_process()] == [1, 2, 3, 3]
