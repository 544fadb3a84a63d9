"""Commands that show, rename and list: tables, JSON, tokens, undelivered messages, and where settings come from."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from daarion_appservice.city.tokens import TokenDirectory
from daarion_appservice.city.types import Author, AuthorKind, Delivery, Message, MessageId, OutboxKind
from daarion_appservice.errors import ExitCode
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.tables import feed, messages, outbox
from tests.parts.terminal import Terminal


def read_json(terminal: Terminal, *arguments: str) -> Any:
    return json.loads(terminal.run(*arguments, "--json"))


def test_agent_show_has_the_fields_of_the_api(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe", "--name", "Писар", "--room", "general", "--room", "podil")
    terminal.run("agent", "token", "scribe")
    shown = read_json(terminal, "agent", "show", "scribe")
    assert (shown["display_name"], shown["matrix_user_id"]) == ("Писар", "@agent_scribe:city.localhost")
    assert (shown["rooms"], shown.pop("valid_tokens")) == (["general", "podil"], 1)
    assert read_json(terminal, "agent", "list") == [shown]
    lines = terminal.run("agent", "show", "scribe").splitlines()
    assert lines[0] == "field\tvalue"
    assert {"display_name\tПисар", "rooms\tgeneral, podil", "valid_tokens\t1"} <= set(lines)


def test_agent_rename_changes_the_name_only(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe", "--title", "Пише")
    assert terminal.run("agent", "rename", "scribe", "Літописець") == "The agent scribe is called Літописець now.\n"
    (agent,) = terminal.agents()
    assert (agent.display_name, agent.title) == ("Літописець", "Пише")
    for name in ("", "x" * 256):
        assert "display_name" in terminal.run_refused("agent", "rename", "scribe", name)
    assert terminal.agents() == [agent]


@pytest.mark.parametrize("command", [["show"], ["rename"], ["rotate"]])
def test_commands_refuse_unknown_agents(terminal: Terminal, command: list[str]) -> None:
    more = ["x"] if command == ["rename"] else []
    assert "there is no agent 'nobody'" in terminal.run_refused("agent", *command, "nobody", *more)
    assert terminal.agents() == []


def test_agent_rotate_leaves_one_valid_token(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe")
    terminal.run("agent", "add", "guide")
    old = [terminal.run("agent", "token", "scribe").strip() for _ in range(2)]
    other = terminal.run("agent", "token", "guide").strip()
    ended = terminal.type("agent", "rotate", "scribe")
    new = ended.out.strip()
    assert "Revoked 2 earlier token(s) of scribe" in ended.err
    ring = TokenDirectory()
    ring.replace(terminal.valid_tokens())
    assert [ring.owner(token) for token in (*old, new, other)] == [None, None, "scribe", "guide"]


def test_token_list_shows_no_secrets(terminal: Terminal) -> None:
    assert read_json(terminal, "token", "list") == []
    for slug in ("scribe", "guide"):
        terminal.run("agent", "add", slug)
    tokens = [terminal.run("agent", "token", slug).strip() for slug in ("scribe", "guide", "scribe")]
    ids = [token.split("_")[1] for token in tokens]
    terminal.run("agent", "revoke", "scribe", "--id", ids[0])
    listed = read_json(terminal, "token", "list")
    assert [(row["id"], row["agent"], row["revoked_at"] is None) for row in listed] == [
        (ids[1], "guide", True),
        (ids[0], "scribe", False),
        (ids[2], "scribe", True),
    ]
    assert len(read_json(terminal, "token", "list", "guide")) == 1
    table = terminal.run("token", "list")
    assert table.startswith("id\tagent\tcreated\trevoked\n")
    assert not any(token.split("_", 2)[2] in table for token in tokens)
    assert "there is no agent 'nobody'" in terminal.run_refused("token", "list", "nobody")


def test_room_show_and_rename(terminal: Terminal) -> None:
    terminal.run("room", "add", "Наука", "--description", "Спільнота")
    assert terminal.run("room", "rename", "nauka", "Science") == "The room nauka is called Science now.\n"
    shown = read_json(terminal, "room", "show", "nauka")
    assert (shown["name"], shown["description"], shown["slug"]) == ("Science", "Спільнота", "nauka")
    assert (shown["matrix_room_alias"], shown["matrix_status"]) == ("#city_nauka:city.localhost", "pending")
    assert read_json(terminal, "room", "list") == [shown]
    terminal.run("room", "rename", "nauka", "Science", "--description", "")
    assert "description\t\n" in terminal.run("room", "show", "nauka")
    assert "name" in terminal.run_refused("room", "rename", "nauka", " ")
    for command in (["show", "nowhere"], ["rename", "nowhere", "x"]):
        assert "there is no room 'nowhere'" in terminal.run_refused("room", *command)


def test_message_list_separates_failed_from_waiting(terminal: Terminal) -> None:
    assert terminal.run("message", "list") == "Everything is delivered.\n"
    assert terminal.run("message", "list", "--failed") == "There are no failed deliveries.\n"
    terminal.run("room", "add", "General")
    terminal.with_database(store_two_messages)
    assert [(row["message_id"], row["delivery"]) for row in read_json(terminal, "message", "list")] == [
        ("m0", "failed"),
        ("m1", "pending"),
    ]
    failed = {
        "message_id": "m0",
        "kind": "message",
        "room_id": "city_general",
        "delivery": "failed",
        "attempts": 1,
        "error": "403",
    }
    assert read_json(terminal, "message", "list", "--failed") == read_json(terminal, "outbox", "list") == [failed]
    table = terminal.run("message", "list", "--failed").splitlines()
    assert table == [
        "message\tkind\troom\tdelivery\tattempts\terror",
        "m0\tmessage\tcity_general\tfailed\t1\t403",
    ]
    assert terminal.run("message", "retry", "m0") == "1 change(s) will be sent again.\n"
    assert read_json(terminal, "message", "list", "--failed") == []


async def store_two_messages(tx: Transaction) -> None:
    """Store two undelivered messages, of which the homeserver rejected the first."""
    room = await tx.rooms.find("general")
    assert room is not None
    author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    for number in range(2):
        (seq,), _ = await tx.rooms.next_seqs(room.id, 1)
        message = Message(MessageId(f"m{number}"), room.id, seq, author, "text", 1, delivery=Delivery.PENDING)
        await tx.messages.add(message)
        await tx.outbox.add(OutboxKind.MESSAGE, message.id, room.id, txn_id=message.id)
    first, _ = await tx.outbox.waiting(limit=9)
    await tx.outbox.record_failure(first.id, "403", retry_at_ms=None)
    await tx.messages.mark_failed(MessageId("m0"), "403")


def test_events_list_and_db_current_as_json(terminal: Terminal) -> None:
    head = migrate.head()
    terminal.run("db", "upgrade")
    assert read_json(terminal, "db", "current") == {"revision": head, "expected": head}
    assert read_json(terminal, "dead-letter", "list") == []

    async def die(tx: Transaction) -> None:
        await tx.inbox.add([inbox_event({"event_id": "$1", "room_id": "!r"})], now_ms=1_764_187_200_000)
        for row in await tx.inbox.waiting(after_id=0, limit=9):
            await tx.inbox.record_failure(row, "KeyError: x", retry_at_ms=None)

    terminal.with_database(die)
    assert read_json(terminal, "dead-letter", "list") == [
        {"event_id": "$1", "room_id": "!r", "received_at": "2025-11-26T20:00:00.000Z", "error": "KeyError: x"}
    ]


def test_config_is_found_by_option_or_variable(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe")
    file, elsewhere = str(terminal.directory / "config.yaml"), terminal.directory / "elsewhere"
    elsewhere.mkdir()
    terminal.monkeypatch.chdir(elsewhere)
    terminal.run_refused("agent", "list", code=ExitCode.CONFIG)
    environment = elsewhere / "environment"
    environment.write_text(f"DAARION_CONFIG={file}\n")
    terminal.monkeypatch.setenv("DAARION_ENV_FILE", str(environment))
    try:
        assert terminal.run("agent", "list").splitlines()[1].startswith("scribe\t")
        os.environ.pop("DAARION_CONFIG")
        terminal.monkeypatch.delenv("DAARION_ENV_FILE")
        assert terminal.run("-c", file, "agent", "list").splitlines()[1].startswith("scribe\t")
        assert "nowhere.yaml" in terminal.run_refused("agent", "list", "-c", "nowhere.yaml", code=ExitCode.CONFIG)
    finally:
        os.environ.pop("DAARION_CONFIG", None)


def test_completion_knows_the_commands_of_groups(terminal: Terminal) -> None:
    terminal.monkeypatch.setenv("_DAARION_APPSERVICE_COMPLETE", "complete_bash")
    terminal.monkeypatch.setenv("COMP_WORDS", "daarion-appservice agent ro")
    terminal.monkeypatch.setenv("COMP_CWORD", "2")
    assert terminal.run().split() == ["rotate"]


def test_room_remove_asks_and_deletes_all(terminal: Terminal) -> None:
    terminal.run("room", "add", "General")
    terminal.with_database(store_two_messages)
    terminal.monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    declined = terminal.type("room", "remove", "general")
    assert (declined.code, declined.out.strip()) == (1, "")
    assert "Remove the room general (General) with its 2 messages, for ever?" in declined.err.replace("\n", " ")
    assert len(terminal.rooms()) == 1
    ended = terminal.type("room", "remove", "general", "--yes")
    assert ended.out == "Removed the room general.\n"
    assert "general is also listed under `city.rooms` in config.yaml" in ended.err
    assert terminal.rooms() == []
    for table in (messages, outbox, feed):
        assert terminal.with_database(lambda tx, table=table: rows_of(tx, table)) == 0  # type: ignore[misc]
    assert "there is no room 'general'" in terminal.run_refused("room", "remove", "general", "--yes")


async def rows_of(tx: Transaction, table: Table) -> int:
    return int(await tx.connection.scalar(select(func.count()).select_from(table)) or 0)
