"""``encryption status|reset|discard-keys``: what each leaves in the database, says, and ends with."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from daarion_appservice.app import run
from daarion_appservice.city.types import AgentSlug, Room, RoomId, UserId
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.encryption.accounts import create_account
from daarion_appservice.encryption.primitives import PickleKey
from daarion_appservice.encryption.rows import AccountRow
from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.matrix.encryption.stored_keys import check_stored_keys
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.tables import metadata
from tests.parts.encryption_rows import (
    GUIDE,
    ROOM,
    SCRIBE,
    entry,
    inbound_row,
    index_row,
    olm_row,
    outbound_row,
    request_row,
    shared_row,
    undecrypted_row,
)
from tests.parts.encryption_tables import stored_accounts
from tests.parts.terminal import Terminal

CONFIG = Path("config.yaml")
OTHER_KEY = base64.b64encode(bytes(range(32))).decode()


def create(terminal: Terminal, ghost: UserId = SCRIBE, device_id: str = "E2E_1") -> AccountRow:
    """Store an account under the configured pickle key."""
    octets = config_file.load(CONFIG, {}).encryption.octets()
    assert octets is not None
    account = create_account(ghost, device_id, PickleKey(octets))
    terminal.with_database(lambda tx: tx.encryption_accounts.save(account))
    return account


@pytest.fixture
def city(terminal: Terminal) -> Terminal:
    """A city with the agents guide and scribe; only scribe has a device."""
    for slug in ("guide", "scribe"):
        terminal.run("agent", "add", slug)
    create(terminal)
    return terminal


# --- status -------------------------------------------------------------------------------------------


def test_status_shows_agents_without_and_with_keys(city: Terminal) -> None:
    lines = city.run("encryption", "status").splitlines()
    assert lines == [
        "Encryption is on.",
        "agent\tdevice\tkeys\tOlm sessions\trooms\tto-device waiting\tevents waiting",
        "guide\t\tnone\t\t\t\t",
        "scribe\tE2E_1\tnot uploaded\t0\t0\t0\t0",
        "0 of 2 agents have keys on the homeserver.",
        "0 Megolm sessions can be read.",
    ]


async def _fill(tx: Transaction) -> None:
    """Give scribe sessions, and a chat in which two events wait."""
    await tx.encryption_accounts.set_uploaded(SCRIBE, is_uploaded=True)
    await tx.olm_sessions.save([olm_row(), olm_row("t" * 43), olm_row("u" * 43, ghost=GUIDE)])
    await tx.megolm_sessions.save_outbound(outbound_row())
    await tx.megolm_sessions.save_inbound([inbound_row(), inbound_row("t" * 43), inbound_row("u" * 43)])
    await tx.to_device_outbox.add(SCRIBE, "m.room.encrypted", "1", {}, now_ms=1)
    chat = Room(
        RoomId("c1"),
        "c1",
        "Alice",
        "",
        is_default=False,
        archived=False,
        created_at_ms=1,
        agent=AgentSlug("scribe"),
        matrix_room_id=ROOM,
    )
    await tx.rooms.add(chat, created_by=None)
    for event_id, received_at_ms in (("$1", 1_900_000_000_000), ("$2", 1_800_000_000_000)):
        await tx.undecrypted.add(undecrypted_row(event_id, received_at_ms=received_at_ms))


def test_status_counts_sessions_and_waiting_events(city: Terminal) -> None:
    city.with_database(_fill)
    lines = city.run("encryption", "status").splitlines()
    assert "scribe\tE2E_1\ton the homeserver\t2\t1\t1\t2" in lines
    assert lines[-3:] == [
        "1 of 2 agents have keys on the homeserver.",
        "3 Megolm sessions can be read.",
        "2 events wait for their key, the oldest since 2027-01-15 08:00 UTC.",
    ]


def test_status_as_json_has_the_same_values(city: Terminal) -> None:
    city.with_database(_fill)
    found = json.loads(city.run("encryption", "status", "--json"))
    guide, scribe = found.pop("agents")
    assert found == {
        "enabled": True,
        "inbound_sessions": 3,
        "waiting_events": 2,
        "oldest_waiting_at": "2027-01-15T08:00:00.000Z",
    }
    assert (guide["agent_id"], guide["device_id"], guide["uploaded"]) == ("guide", None, False)
    assert scribe == {
        "agent_id": "scribe",
        "matrix_user_id": SCRIBE,
        "device_id": "E2E_1",
        "uploaded": True,
        "reset_requested": False,
        "olm_sessions": 2,
        "outbound_sessions": 1,
        "to_device_waiting": 1,
        "waiting_events": 2,
    }


def test_status_says_why_encryption_is_off(city: Terminal) -> None:
    config_edit.set_values(CONFIG, {"encryption.pickle_key": ""})
    assert city.run("encryption", "status").startswith("Encryption is off: encryption.pickle_key is empty.\n")
    config_edit.set_values(CONFIG, {"encryption.enabled": False})
    assert city.run("encryption", "status").startswith("Encryption is off: encryption.enabled is false.\n")


# --- reset --------------------------------------------------------------------------------------------


def test_reset_asks_the_leader_for_one_new_device(city: Terminal) -> None:
    create(city, GUIDE, "E2E_2")
    assert "new encryption device" in city.run("encryption", "reset", "scribe")
    stored = city.with_database(stored_accounts)
    assert [(each.account.ghost, each.is_reset_requested) for each in stored] == [(GUIDE, False), (SCRIBE, True)]
    assert "scribe\tE2E_1\treset requested" in city.run("encryption", "status")


def test_reset_of_agent_without_device_is_refused(city: Terminal) -> None:
    assert "there is no agent 'nobody'" in city.run_refused("encryption", "reset", "nobody")
    assert "guide has no encryption device yet" in city.run_refused("encryption", "reset", "guide")


def test_reset_while_off_is_refused(city: Terminal) -> None:
    config_edit.set_values(CONFIG, {"encryption.enabled": False})
    assert "encryption.enabled is false" in city.run_refused("encryption", "reset", "scribe")


# --- another pickle key -------------------------------------------------------------------------------


def refused_start() -> StartError:
    """Start the service until its check of the pickle key refuses it."""
    config_edit.set_values(CONFIG, {"appservice.as_token": "ours", "appservice.hs_token": "theirs"})
    with pytest.raises(StartError) as caught:
        asyncio.run(asyncio.wait_for(run(config_file.load(CONFIG, {})), 30))
    assert caught.value.exit_code is ExitCode.CONFIG
    return caught.value


@pytest.mark.parametrize(("key", "what"), [("", "pickle_key is empty"), (OTHER_KEY, "stored with another")])
def test_start_with_other_key_is_refused(city: Terminal, key: str, what: str) -> None:
    config_edit.set_values(CONFIG, {"encryption.pickle_key": key})
    error = refused_start()
    assert what in error.what
    assert "discard-keys" in error.help
    assert not key or key not in f"{error.what}{error.help}"


def check(terminal: Terminal) -> None:
    """Run the check of each start."""

    async def examine() -> None:
        database = Database(terminal.database_url)
        try:
            await check_stored_keys(database, config_file.load(CONFIG, {}).encryption)
        finally:
            await database.close()

    asyncio.run(examine())


def test_start_is_allowed_without_stored_keys(terminal: Terminal) -> None:
    terminal.run("db", "upgrade")
    check(terminal)
    config_edit.set_values(CONFIG, {"encryption.pickle_key": ""})
    check(terminal)


def test_start_is_allowed_with_same_key(city: Terminal) -> None:
    check(city)


@pytest.mark.parametrize("key", ["", OTHER_KEY])
def test_start_is_allowed_to_end_encryption(city: Terminal, key: str) -> None:
    config_edit.set_values(CONFIG, {"encryption.pickle_key": key, "encryption.enabled": False})
    check(city)


def test_discard_refuses_readable_keys(city: Terminal) -> None:
    assert "so they were not deleted" in city.run_refused("encryption", "discard-keys", "--yes")
    assert len(city.with_database(stored_accounts)) == 1


def test_discard_asks_first(city: Terminal) -> None:
    config_edit.set_values(CONFIG, {"encryption.pickle_key": OTHER_KEY})
    city.monkeypatch.setattr(sys, "stdin", io.StringIO("n"))
    assert city.type("encryption", "discard-keys").code == ExitCode.FAILED
    assert len(city.with_database(stored_accounts)) == 1


def test_discard_deletes_unreadable_keys_only(city: Terminal) -> None:
    async def fill(tx: Transaction) -> None:
        await _fill(tx)
        await tx.megolm_sessions.save_shared([shared_row()])
        await tx.megolm_sessions.add_index(index_row())
        await tx.key_requests.save(request_row())
        await tx.olm_sessions.set_recovery(SCRIBE, "c" * 43, 1)
        await tx.encrypted_entries.add(entry())

    city.with_database(fill)
    config_edit.set_values(CONFIG, {"encryption.pickle_key": OTHER_KEY})
    assert city.run("encryption", "discard-keys", "--yes") == "Deleted the encryption keys of 1 agents.\n"

    async def rows(tx: Transaction) -> dict[str, int]:
        tables = [table for table in metadata.sorted_tables if table.name.startswith("encryption_")]
        counts = {table.name: await tx.connection.scalar(select(func.count()).select_from(table)) for table in tables}
        return {name: count for name, count in counts.items() if count}

    assert city.with_database(rows) == {"encryption_undecrypted": 2, "encryption_message_indexes": 1}
    check(city)
    assert city.run("encryption", "discard-keys") == "The database has no encryption keys.\n"
