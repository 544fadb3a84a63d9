"""``agent``, ``room``, ``events``, ``db``: what each leaves in the database, says, and ends with."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from daarion_appservice.city.tokens import TokenDirectory
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Author,
    AuthorKind,
    Delivery,
    Message,
    MessageId,
    OutboxKind,
)
from daarion_appservice.config import editing as config_edit
from daarion_appservice.errors import ExitCode
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.inbox import InboxRow
from tests.parts.city import eventually
from tests.parts.terminal import Ended, Terminal

# --- agents -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("command", [("add", "scribe", "--name", "Later"), ("rename", "scribe", "Later")])
async def test_agent_changed_meanwhile_keeps_both_changes(terminal: Terminal, command: tuple[str, ...]) -> None:
    """An admin changes the title by the API while a command changes the name."""
    await asyncio.to_thread(terminal.run, "agent", "add", "scribe")
    database = Database(terminal.database_url)

    async def waits() -> bool:
        async with database.read_only() as tx:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            return bool(await tx.connection.scalar(text(waiting)))

    async with database.transaction() as tx:
        agent = await tx.agents.lock("scribe")
        assert agent is not None
        await tx.agents.put(replace(agent, title="Writes"), now_ms=1)
        typing = asyncio.create_task(asyncio.to_thread(terminal.run, "agent", *command))
        await eventually(waits)
    await typing
    async with database.read_only() as tx:
        (stored,) = await tx.agents.all()
    await database.close()
    assert (stored.display_name, stored.title) == ("Later", "Writes")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", [("agent", "add"), ("room", "show"), ("outbox", "retry")])
def test_argument_in_other_encoding_is_refused(terminal: Terminal, command: tuple[str, ...]) -> None:
    latin = os.fsdecode("Café".encode("latin-1"))
    assert "is not in UTF-8" in terminal.run_refused(*command, latin, code=ExitCode.USAGE)


def test_agent_add_changes_given_fields_only(terminal: Terminal) -> None:
    output = terminal.run(
        *("agent", "add", "scribe", "--name", "Писар", "--title", "Пише", "--node", "node-1", "--role", "steward"),
        *("--microdao", "daarion", "--room", "general", "--room", "builders", "--avatar", "scribe.png"),
    )
    assert output.splitlines() == [
        "Stored the agent scribe.",
        "Its runtime needs a token: daarion-appservice agent token scribe -c config.yaml",
    ]
    picture = str(terminal.directory / "scribe.png")
    described = Agent(
        "scribe", AgentSlug("scribe"), "Писар", "Пише", picture, "node-1", "daarion", "steward", ("general", "builders")
    )
    assert terminal.agents() == [described]
    assert (
        terminal.run("agent", "list").splitlines()[1]
        == "scribe\tПисар\tПише\tnode-1\tdaarion\tsteward\tgeneral, builders\t\tsteward\t\t"
    )

    terminal.run("agent", "add", "scribe", "--avatar", "mxc://city.localhost/a")
    assert terminal.agents() == [replace(described, avatar="mxc://city.localhost/a")]
    terminal.run("agent", "add", "plain")
    assert terminal.agents()[0] == Agent("plain", AgentSlug("plain"), "plain", rooms=("general",))


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (["Scribe"], "slug"),
        (["scribe", "--room", "Не та"], "rooms[0]"),
        (["scribe", "--name", "x" * 256], "display_name"),
        (["scribe", "--avatar", "mxc://nothing"], "avatar"),
        (["scribe", "--color", "red"], "color"),
    ],
)
def test_agent_add_refuses_invalid_options(terminal: Terminal, arguments: list[str], mistake: str) -> None:
    assert f"invalid options: {mistake}: " in terminal.run_refused("agent", "add", *arguments)


def test_agent_import_is_atomic(terminal: Terminal) -> None:
    (terminal.directory / "cast").mkdir()
    file = terminal.directory / "cast" / "agents.yaml"
    file.write_text("agents:\n- {slug: a, display_name: A, avatar: a.png}\n- {slug: b, display_name: B, role: 5}\n")
    assert "\n  agents[1].role: must be text" in terminal.run_refused("agent", "import", str(file))
    assert "Traceback" not in terminal.run_refused("agent", "token", "a")

    file.write_text(file.read_text().replace("role: 5", "role: guardian"))
    assert terminal.run("agent", "import", str(file)) == "agents: 2 added, 0 changed, 0 unchanged, 0 removed\n"
    a, b = terminal.agents()
    assert (a.avatar, b.role) == (str(file.parent / "a.png"), "guardian"), "pictures lie beside the list"
    file.write_text("- {slug: c, display_name: C}\n")
    terminal.run("agent", "import", str(file))
    assert [agent.slug for agent in terminal.agents()] == ["a", "b", "c"]


REGISTRY = """\
nodes: [{id: node-1, name: Вузол}]
agents:
  - {slug: a, display_name: A, node_id: node-1, node_role: guardian, microdao: daarion, microdao_role: scribe}
  - {slug: b, display_name: B, kind: infra, district: podil}
"""


def test_remove_missing_asks_first(terminal: Terminal) -> None:
    file = terminal.directory / "registry.yaml"
    file.write_text(REGISTRY)
    assert terminal.run("agent", "import", "registry.yaml").splitlines() == [
        "agents: 2 added, 0 changed, 0 unchanged, 0 removed",
        "nodes: 1 added, 0 changed, 0 unchanged, 0 removed",
    ]
    assert terminal.run("agent", "list").splitlines() == [
        "slug\tname\ttitle\tnode\tmicroDAO\trole\trooms\tkind\ton node\tin microDAO\tdistrict",
        "a\tA\t\tnode-1\tdaarion\tguardian\tgeneral\t\tguardian\tscribe\t",
        "b\tB\t\t\t\t\tgeneral\tinfra\t\t\tpodil",
    ]

    file.write_text("agents: [{slug: b, display_name: B, kind: infra, district: podil}]\n")
    only_part = terminal.run("agent", "import", "registry.yaml")
    assert only_part == "agents: 0 added, 0 changed, 1 unchanged, 0 removed\n"

    def answer(word: str) -> Ended:
        terminal.monkeypatch.setattr(sys, "stdin", io.StringIO(word))
        return terminal.type("agent", "import", "registry.yaml", "--remove-missing")

    for word in ("", "n\n", "perhaps\n"):
        refused = answer(word)
        assert refused.code == 1
        assert "agents to be removed: a\nRemove them?" in refused.err
        assert len(terminal.agents()) == 2
    assert answer("y\n").code == 0
    assert [agent.slug for agent in terminal.agents()] == ["b"]

    file.write_text("agents: []\nnodes: []\n")
    terminal.run("agent", "import", "registry.yaml", "--remove-missing", "--yes")
    assert terminal.agents() == []
    assert {each.slug for each in terminal.with_database(lambda tx: tx.removed_agents.all())} == {"a", "b"}


def test_agent_remove_deletes_tokens(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe")
    token = terminal.run("agent", "token", "scribe").strip()
    assert terminal.run("agent", "remove", "scribe") == "Removed the agent scribe.\n"
    assert terminal.agents() == []
    ring = TokenDirectory()
    ring.replace(terminal.valid_tokens())
    assert ring.owner(token) is None
    assert "there is no agent 'scribe'" in terminal.run_refused("agent", "remove", "scribe")

    terminal.run("agent", "add", "scribe")
    assert terminal.with_database(lambda tx: tx.removed_agents.all()) == [], "it is back, so nothing of it has to go"


def test_removed_configured_agent_gives_warning(terminal: Terminal) -> None:
    config = Path("config.yaml")
    config.write_text(config.read_text().replace("\nagents: []\n", "\nagents: [{slug: a, display_name: A}]\n"))
    terminal.run("agent", "add", "a")
    ended = terminal.type("agent", "remove", "a")
    assert (ended.code, terminal.agents()) == (0, [])
    assert "a is also listed under `agents:` in config.yaml" in ended.err


@pytest.mark.parametrize("content", [None, "", "agents: 5", "just words", "- [", "agents: {a: b}", "- slug", "\0"])
def test_import_of_invalid_file_is_refused(terminal: Terminal, content: str | None) -> None:
    if content is not None:
        (terminal.directory / "agents.yaml").write_text(content)
    assert "agents.yaml" in terminal.run_refused("agent", "import", "agents.yaml")


def test_token_is_valid_until_revoked(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe")
    tokens = [terminal.run("agent", "token", "scribe").strip() for _ in range(3)]
    ring = TokenDirectory()

    def owners() -> list[str | None]:
        ring.replace(terminal.valid_tokens())
        return [ring.owner(token) for token in tokens]

    assert owners() == ["scribe"] * 3
    first_id = tokens[0].split("_")[1]
    assert terminal.run("agent", "revoke", "scribe", "--id", first_id) == "Revoked 1 token(s) of scribe.\n"
    assert owners() == [None, "scribe", "scribe"]
    assert "no such token" in terminal.run_refused("agent", "revoke", "scribe", "--id", first_id)
    assert terminal.run("agent", "revoke", "scribe") == "Revoked 2 token(s) of scribe.\n"
    assert owners() == [None, None, None]
    assert "no such token" in terminal.run_refused("agent", "revoke", "scribe")


def test_token_of_unknown_agent_is_refused(terminal: Terminal) -> None:
    for command in ("token", "revoke"):
        assert "there is no agent 'nobody'; see `daarion-appservice agent list`" in terminal.run_refused(
            "agent", command, "nobody"
        )


# --- rooms --------------------------------------------------------------------------------------------


def test_room_add_list_archive(terminal: Terminal) -> None:
    assert terminal.run("room", "add", "Наука", "--description", "Спільнота") == "Created the room nauka.\n"
    assert terminal.run("room", "add", "Book club", "--slug", "books") == "Created the room books.\n"
    assert "already" in terminal.run_refused("room", "add", "Наука")
    assert "must be 1 to 64" in terminal.run_refused("room", "add", "x", "--slug", "Ж")
    assert "send one as `slug`" in terminal.run_refused("room", "add", "!!!")

    assert terminal.run("room", "archive", "nauka") == "The room nauka is archived.\n"
    assert "there is no room 'nowhere'" in terminal.run_refused("room", "archive", "nowhere")
    assert terminal.run("room", "archive", "books") == "The room books is archived.\n"
    assert terminal.run("room", "reopen", "books") == "The room books is open.\n"

    assert [(room.slug, room.description, room.archived) for room in terminal.rooms()] == [
        ("nauka", "Спільнота", True),
        ("books", "", False),
    ]
    assert terminal.run("room", "list").splitlines() == [
        "slug\tname\talias\tMatrix\tarchived\terror",
        "nauka\tНаука\t#city_nauka:city.localhost\tpending\tyes\t",
        "books\tBook club\t#city_books:city.localhost\tpending\t\t",
    ]


# --- dead letters -------------------------------------------------------------------------------------------


def test_dead_letter_list_and_retry(terminal: Terminal) -> None:
    for group in ("dead-letter", "events"):
        assert terminal.run(group, "list") == "There are no dead letters.\n"
    events = [inbox_event({"event_id": f"${number}", "room_id": "!r"}) for number in range(3)]

    async def die(tx: Transaction) -> None:
        await tx.inbox.add(events, now_ms=1_764_187_200_000)
        for row in await tx.inbox.waiting(after_id=0, limit=9):
            await tx.inbox.record_failure(row, "RuntimeError: too much", retry_at_ms=None)

    terminal.with_database(die)
    listed = terminal.run("dead-letter", "list").splitlines()
    assert listed[:2] == ["event\troom\treceived\terror", "$0\t!r\t2025-11-26T20:00:00.000Z\tRuntimeError: too much"]
    assert len(listed) == 4

    def waiting() -> list[InboxRow]:
        return terminal.with_database(lambda tx: tx.inbox.waiting(after_id=0, limit=9))

    assert "no dead letter" in terminal.run_refused("dead-letter", "retry", "$other")
    assert terminal.run("dead-letter", "retry", "$1") == "1 event(s) will be processed again.\n"
    assert [(row.event_id, row.attempts) for row in waiting()] == [("$1", 0)]
    assert terminal.run("dead-letter", "retry") == "2 event(s) will be processed again.\n"
    assert len(waiting()) == 3
    assert terminal.run("dead-letter", "retry") == "0 event(s) will be processed again.\n"


# --- database -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
def test_db_upgrade_and_current(terminal: Terminal) -> None:
    head = migrate.head()
    file = terminal.directory / "city.db"
    if terminal.database_url.startswith("sqlite"):
        assert f"There is no database {file}." in terminal.run_refused("db", "current", code=ExitCode.DATABASE)
        assert not file.exists()
        assert terminal.run("db", "upgrade") == f"Made the database {file} at revision {head}.\n"
    else:
        assert terminal.run("db", "current") == f"The database is at revision (empty); this version expects {head}.\n"
        assert terminal.run("db", "upgrade") == f"Migrated the database from revision (empty) to {head}.\n"
    assert terminal.run("db", "upgrade") == f"The database is at revision {head}.\n"
    assert terminal.run("db", "current") == f"The database is at revision {head}; this version expects {head}.\n"


def test_unusable_database_has_own_exit_code(terminal: Terminal) -> None:
    config = Path("config.yaml")
    config_edit.set_values(config, {"database.url": f"sqlite:///{terminal.directory}/missing/city.db"})
    for command in (["db", "current"], ["db", "upgrade"]):
        output = terminal.run_refused(*command, code=ExitCode.DATABASE)
        assert ("There is no database" if command[1] == "current" else "unable to open database file") in output


def test_command_on_missing_sqlite_file_refused(terminal: Terminal) -> None:
    file = terminal.directory / "other.db"
    config_edit.set_values(Path("config.yaml"), {"database.url": f"sqlite:///{file}"})
    for command in (["agent", "add", "x"], ["room", "add", "x"], ["dead-letter", "retry"], ["outbox", "list"]):
        output = terminal.run_refused(*command, code=ExitCode.DATABASE)
        assert f"There is no database {file}." in output
        assert "--env-file" in output
    assert not file.exists()


def test_env_file_gives_commands_the_services_settings(terminal: Terminal) -> None:
    environment = terminal.directory / "environment"
    environment.write_text(
        f'# of the unit\nexport DAARION_DATABASE__URL=\'{terminal.database_url}\'\nDAARION_CITY__NAME="A \\"city\\""\n'
    )
    config_edit.set_values(Path("config.yaml"), {"database.url": f"sqlite:///{terminal.directory}/other.db"})
    terminal.monkeypatch.setenv("DAARION_CITY__NAME", "replaced")
    terminal.run("--env-file", str(environment), "agent", "add", "scribe")
    assert [agent.slug for agent in terminal.agents()] == ["scribe"]
    assert os.environ.pop("DAARION_DATABASE__URL") == terminal.database_url
    assert os.environ["DAARION_CITY__NAME"] == 'A "city"'


@pytest.mark.parametrize("content", [None, "DAARION_API__ADMIN_TOKEN secret-value", b"\xff"])
def test_unusable_env_file_refused_without_its_content(terminal: Terminal, content: str | bytes | None) -> None:
    environment = terminal.directory / "environment"
    if content is not None:
        environment.write_bytes(content if isinstance(content, bytes) else content.encode())
    output = terminal.run_refused("--env-file", str(environment), "agent", "list", code=ExitCode.CONFIG)
    assert ("There is no environment file" in output) is (content is None)
    assert str(environment) in output
    assert "secret-value" not in output


# --- outbox -------------------------------------------------------------------------------------------


def test_outbox_list_and_retry(terminal: Terminal) -> None:
    assert terminal.run("outbox", "list") == "There are no failed deliveries.\n"
    terminal.run("room", "add", "General")
    author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    ids = []

    async def fail(tx: Transaction) -> None:
        room = await tx.rooms.find("general")
        assert room is not None
        for number in range(2):
            (seq,), _ = await tx.rooms.next_seqs(room.id, 1)
            message = Message(
                MessageId(f"m{number}"), room.id, seq, author, "text", created_at_ms=1, delivery=Delivery.PENDING
            )
            await tx.messages.add(message)
            await tx.outbox.add(OutboxKind.MESSAGE, message.id, room.id, txn_id=message.id)
            await tx.outbox.add(OutboxKind.EDIT, message.id, room.id, txn_id=f"{message.id}-edit")
            await tx.messages.mark_failed(message.id, "refused")
            ids.append(message.id)
        for row in await tx.outbox.waiting(limit=9):
            await tx.outbox.record_failure(row.id, "400 M_UNKNOWN_DEVICE", retry_at_ms=None)

    terminal.with_database(fail)
    listed = terminal.run("outbox", "list").splitlines()
    assert listed[:2] == ["message\tkind\troom\terror", "m0\tmessage\tcity_general\t400 M_UNKNOWN_DEVICE"]
    assert len(listed) == 5

    def waiting() -> list[tuple[str | None, OutboxKind, int]]:
        rows = terminal.with_database(lambda tx: tx.outbox.waiting(limit=9))
        return [(row.message_id, row.kind, row.attempts) for row in rows]

    assert "no failed delivery" in terminal.run_refused("outbox", "retry", "other")
    assert terminal.run("outbox", "retry", "m1") == "2 change(s) will be sent again.\n"
    assert waiting() == [("m1", OutboxKind.MESSAGE, 0), ("m1", OutboxKind.EDIT, 0)]
    assert terminal.run("outbox", "retry") == "2 change(s) will be sent again.\n"
    assert len(waiting()) == 4
    (first, second) = [terminal.with_database(lambda tx, each=each: tx.messages.get(each)) for each in ids]  # type: ignore[misc]
    assert first is not None
    assert second is not None
    assert (first.delivery, second.delivery) == (Delivery.PENDING, Delivery.PENDING)
    assert terminal.run("outbox", "retry") == "0 change(s) will be sent again.\n"


def test_missing_config_has_own_exit_code(terminal: Terminal) -> None:
    for command in (["agent", "list"], ["room", "list"], ["dead-letter", "list"], ["db", "upgrade"], ["run"]):
        assert "nowhere.yaml" in terminal.run_refused(*command, "-c", "nowhere.yaml", code=ExitCode.CONFIG)


def test_running_service_notices_changes(terminal: Terminal) -> None:
    terminal.run("db", "upgrade")
    versions = []
    for command in (["agent", "add", "a"], ["agent", "token", "a"], ["agent", "revoke", "a"], ["room", "add", "x"]):
        terminal.run(*command)
        versions.append(terminal.with_database(lambda tx: tx.key_values.registry_changes()).version)
    assert versions == sorted(set(versions))
