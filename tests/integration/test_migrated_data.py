"""Tests of the rows that single migrations keep or change, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import unicodedata

from sqlalchemy import insert, select, text

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.message_kinds import NO_DETAILS
from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    CitizenId,
    MessageId,
    OutboxKind,
    Room,
    RoomId,
    SubjectId,
    UserId,
)
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.agents import _description
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.ghosts import Ghost
from daarion_appservice.storage.inbox import ReceivedEvent
from daarion_appservice.storage.matrix_rooms import AppliedRoomState
from tests.parts.encryption_rows import account_row
from tests.parts.migrations import EMPTY, downgrade

SCRIBE = Agent("scribe", AgentSlug("scribe"), "Писар", rooms=("general",))


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
        await downgrade(tx, "0014")
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
        await downgrade(tx, "0016")
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
        await downgrade(tx, "0017")
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
        await migrate.upgrade(database, "0019")
        async with database.read_only() as tx:
            rows = await tx.connection.execute(select(tables.direct_chat_agents).order_by(text("room_id")))
            assert [tuple(row) for row in rows] == [
                ("direct_1", "scribe", "joined"),
                ("direct_2", "scribe", "invited"),
            ]
        async with database.transaction() as tx:
            await downgrade(tx, "0018")
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
            await downgrade(tx, "0020")


@EMPTY
async def test_migration_0027_marks_members_as_up_to_date(database: Database) -> None:
    await migrate.upgrade(database, "0026")
    async with database.transaction() as tx:
        execute = tx.connection.execute
        await execute(insert(tables.rooms).values(id="r", slug="r", name="r", created_at_ms=1, last_seq=7))
        for user in ("@citizen_u_1:hs", "@citizen_=d0=9e:hs", "@alice:hs", "@bob:hs", "@agent_scribe:hs"):
            await execute(insert(tables.members).values(room_id="r", user_id=user))
        await execute(insert(tables.accounts).values(matrix_user_id="@alice:hs", citizen_id="u_2", linked_at_ms=1))

    await migrate.upgrade(database, "0027")

    async with database.read_only() as tx:
        marks = (await tx.connection.execute(select(tables.read_marks))).all()
    assert sorted(tuple(mark) for mark in marks) == [("u_1", "r", "", 7), ("u_2", "r", "", 7), ("О", "r", "", 7)]


@EMPTY
async def test_migration_0024_takes_profiles_of_public_rooms(database: Database) -> None:
    await migrate.upgrade(database, "0023")
    rows = [
        "INSERT INTO accounts (matrix_user_id, citizen_id, linked_at_ms) VALUES ('@alice:x', 'u_1', 1), ('@bob:x', 'u_2', 2)",
        "INSERT INTO rooms (id, slug, name, created_at_ms) VALUES ('r', 'r', 'r', 1), ('s', 's', 's', 1), ('a', 'a', 'a', 1)",
        "UPDATE rooms SET history_visibility = 'shared' WHERE id = 'a'",
        "INSERT INTO members (room_id, user_id, display_name, avatar_url) VALUES ('r', '@alice:x', 'Alice', 'mxc://x/a')",
        "INSERT INTO members (room_id, user_id, display_name, avatar_url) VALUES ('s', '@alice:x', 'Lady', 'mxc://x/b')",
        "INSERT INTO members (room_id, user_id, display_name, avatar_url) VALUES ('a', '@alice:x', 'Secret', 'mxc://x/c')",
        "INSERT INTO members (room_id, user_id, display_name) VALUES ('a', '@bob:x', 'Bobby')",
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
            await downgrade(tx, "0023")
    await migrate.upgrade(database)


CHAT = Room(
    RoomId("direct_1"), "direct_1", "@alice:x", "", is_default=False, archived=False, created_at_ms=1, agent=SCRIBE.slug
)


@EMPTY
async def test_migration_0025_keeps_data_both_ways(database: Database) -> None:
    await migrate.upgrade(database, "0024")
    ghost = Ghost(UserId("@agent_scribe:x"), "Писар 😀", has_device=True)
    async with database.transaction() as tx:
        await tx.ghosts.put(ghost)
        await tx.connection.execute(insert(tables.agents).values(_agent_row(SCRIBE)))
        await tx.inbox.add([ReceivedEvent("$1", "!r:x", "{}")], now_ms=2)
        await tx.outbox.add_move(OutboxKind.JOIN, ghost.user_id, RoomId("r"), txn_id="t")
        chat = {"id": CHAT.id, "slug": CHAT.slug, "name": CHAT.name, "agent": CHAT.agent, "created_at_ms": 1}
        await tx.connection.execute(insert(tables.rooms).values(chat | {"matrix_room_id": CHAT.matrix_room_id}))
        await tx.direct_chats.mark_linked(CHAT.id, is_group=False)
        moves = await tx.outbox.waiting(limit=9)
    for _ in range(2):
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            assert await tx.encryption_accounts.ghosts() == []
            assert [chat.id for chat in await tx.direct_chats.pending()] == [CHAT.id], "its encryption is not known"
            assert await tx.undecrypted.next_try_ms() is None
            await tx.encryption_accounts.save(account_row(ghost.user_id))
            assert await tx.encryption_accounts.ghosts() == [ghost.user_id]
        async with database.transaction() as tx:
            await downgrade(tx, "0024")
            names = await tx.connection.run_sync(lambda sync: sync.dialect.get_table_names(sync))
            assert [name for name in names if name.startswith("encryption")] == []
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert await tx.ghosts.all() == [ghost]
        assert await tx.agents.all() == [SCRIBE]
        assert await tx.outbox.waiting(limit=9) == moves
        assert [row.event_id for row in await tx.inbox.waiting(after_id=0, limit=9)] == ["$1"]


def _agent_row(agent: Agent) -> dict[str, object]:
    """Return the row of an agent in a schema without tombstones of erased agents, which its repository reads."""
    return {"id": agent.id, "slug": agent.slug, "created_at_ms": 1, **_description(agent)}


@EMPTY
async def test_migration_0042_shows_files_of_chats(database: Database) -> None:
    await migrate.upgrade(database, "0041")
    file = {"mxc": "mxc://x/file", "thumbnail_mxc": "mxc://x/thumbnail", "encrypted_file": None}
    secret = {"mxc": "mxc://x/secret", "thumbnail_mxc": None, "encrypted_file": "{}"}
    values = {
        "author_kind": "matrix",
        "author_id": "@a:x",
        "author_name": "A",
        "body": "",
        "msgtype": "m.image",
        "delivery": "sent",
    }
    async with database.transaction() as tx:
        execute = tx.connection.execute
        for seq, (room, agent, media) in enumerate(
            (("chat", "scribe", file), ("old", "scribe", secret), ("r", None, file))
        ):
            row = {"id": room, "slug": room, "name": room, "description": "", "created_at_ms": 1}
            state = {"agent": agent, "archived": room == "old", "matrix_status": "linked"}
            await execute(insert(tables.rooms).values(row | state))
            message = {"id": f"m{seq}", "room_id": room, "seq": 1, "created_at_ms": 1, "msgtype": "m.image"}
            message["media"] = json.dumps(media)
            await execute(insert(tables.messages).values(values | message))
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        shown = await tx.connection.execute(select(tables.media_shown).order_by(tables.media_shown.c.mxc))
    assert [tuple(row) for row in shown] == [("mxc://x/file", "m0"), ("mxc://x/thumbnail", "m0")]


@EMPTY
async def test_migration_0043_indexes_decomposed_letters_again(database: Database) -> None:
    await migrate.upgrade(database, "0042")
    texts = {"m1": unicodedata.normalize("NFD", "район"), "m2": "район", "m3": "x"}
    html = {"m3": unicodedata.normalize("NFD", "<b>її</b>")}
    values = {"author_kind": "citizen", "author_id": "u", "author_name": "U", "msgtype": "m.text", "delivery": "sent"}
    async with database.transaction() as tx:
        execute = tx.connection.execute
        room = {"id": "r", "slug": "r", "name": "r", "description": "", "created_at_ms": 1}
        await execute(insert(tables.rooms).values(room))
        for number, (name, body) in enumerate(texts.items()):
            message = {"id": name, "room_id": "r", "seq": number, "created_at_ms": 1, "body": body}
            await execute(insert(tables.messages).values(values | message | {"formatted_body": html.get(name)}))
            entry = {"number": number, "message_id": name, "stems": "before"}
            await execute(insert(tables.search_entries).values(entry))
        await tx.key_values.put_search_position(None)
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert list(await tx.connection.scalars(select(tables.search_entries.c.message_id))) == ["m2"]
        assert not (await tx.key_values.search_position()).is_complete
    async with database.transaction() as tx:
        await tx.key_values.put_search_position(None)
        await downgrade(tx, "0042")
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert (await tx.key_values.search_position()).is_complete, "nothing is to be indexed again"


@EMPTY
async def test_downgrade_of_0044_keeps_one_reaction_of_a_person(database: Database) -> None:
    await migrate.upgrade(database)
    author = {"author_kind": "matrix", "author_id": "@bob:x", "author_name": "Bob"}
    message = {"id": "m", "room_id": "r", "seq": 1, "created_at_ms": 1, "body": "x", "msgtype": "m.text"}
    async with database.transaction() as tx:
        execute = tx.connection.execute
        await execute(insert(tables.rooms).values(id="r", slug="r", name="r", description="", created_at_ms=1))
        await execute(insert(tables.messages).values(message | author | {"delivery": "sent"}))
        for name, is_removed in (("a", True), ("b", False), ("c", False)):
            reaction = {"id": name, "message_id": "m", "key": "x", "at_ms": 1, "removed": is_removed}
            await execute(insert(tables.reactions).values(reaction | author))
        await downgrade(tx, "0043")
    await migrate.upgrade(database)
    async with database.read_only() as tx:
        assert list(await tx.connection.scalars(select(tables.reactions.c.id).order_by("id"))) == ["a", "b"]
