"""The commands ``encryption …``: the encryption devices of agents, and the pickle key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..city.identity import Identities
from ..config import EncryptionSettings, Settings
from ..config import editing as config_edit
from ..config import loading as config_file
from ..config.pickle_key import new_pickle_key
from ..errors import Conflict, ExitCode, StartError
from ..matrix.encryption.agent_devices import AgentDevice, agent_devices, describe_switch, request_reset
from ..storage.database import Database
from ..storage.encryption.discarding import discard_keys
from ..storage.encryption.overview import DeviceOverview, EncryptionTotals
from .context import with_migrated_database
from .terminal import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    confirm,
    print_json,
    print_line,
    report,
    show_table,
    warn,
)

app = typer.Typer(rich_markup_mode=None)


@app.command("status")
def status(
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Show the encryption device of each agent, its sessions, and events that wait for their key."""
    settings = config_file.load(config)
    agents, totals = _read_status(config, settings)
    if as_json:
        # Imported here: the HTTP server takes longer to import than the rest of this command.
        from ..http.routes.encryption import status_view  # noqa: PLC0415

        print_json(status_view(settings.encryption, agents, totals))
        return
    print_line(_state(settings.encryption))
    columns = ("agent", "device", "keys", "Olm sessions", "rooms", "to-device waiting", "events waiting")
    show_table(columns, [_row(each) for each in agents])
    uploaded = sum(each.device is not None and each.device.is_uploaded for each in agents)
    print_line(f"{uploaded} of {len(agents)} agents have keys on the homeserver.")
    print_line(f"{totals.inbound_sessions} Megolm sessions can be read.")
    if totals.oldest_waiting_ms is not None:
        print_line(
            f"{totals.waiting_events} events wait for their key, the oldest since {_time(totals.oldest_waiting_ms)}."
        )


@app.command("reset")
def reset(
    slug: Annotated[str, typer.Argument(metavar="AGENT", help="The slug of the agent.")],
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Give an agent a new encryption device. The running service does it within seconds.

    The cross-signing keys stay, so that people see the same identity. Chats go on; what waits for a key of the old device
    is not decrypted any more.
    """
    settings = config_file.load(config)

    async def request(database: Database) -> None:
        async with database.transaction() as tx:
            await request_reset(tx, slug, _identities(settings), settings.encryption)

    with_migrated_database(config, request)
    report(
        as_json, {"agent": slug, "reset_requested": True}, f"The running service gives {slug} a new encryption device."
    )


@app.command("generate-key")
def generate_key(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Generate encryption.pickle_key, and write it into the configuration. An existing key is never replaced."""
    encryption = config_file.load(config).encryption
    if encryption.pickle_key.get_secret_value():
        raise StartError(
            "encryption.pickle_key is set already and was not changed",
            "With another key the encryption keys in the database are unreadable: docs/how-to/encrypted-chats.md.",
            ExitCode.CONFIG,
        )
    config_edit.set_values(config, {"encryption.pickle_key": new_pickle_key()})
    report(
        as_json,
        {"config": str(config), "generated": ["encryption.pickle_key"]},
        f"Generated encryption.pickle_key, and wrote it to {config}. Keep a copy apart from the database.",
    )
    if not encryption.enabled:
        warn("encryption.enabled is false: the key is not used")


@app.command("discard-keys")
def discard(
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Delete all encryption keys from the database, if encryption.pickle_key does not read them.

    Agents get new devices and identities at the next start. Messages that were decrypted stay.
    """
    # Imported here, because only this command needs the engine.
    from ..matrix.encryption.stored_keys import StoredKeys, examine_stored_keys  # noqa: PLC0415

    settings = config_file.load(config)

    async def examine(database: Database) -> StoredKeys:
        return await examine_stored_keys(database, settings.encryption)

    async def delete(database: Database) -> int:
        async with database.transaction() as tx:
            return await discard_keys(tx.connection)

    match with_migrated_database(config, examine):
        case StoredKeys.NONE:
            report(as_json, {"agents": 0}, "The database has no encryption keys.")
            return
        case StoredKeys.READABLE:
            raise Conflict(
                "keys_readable",
                "encryption.pickle_key reads the keys in the database, so they were not deleted; `encryption reset` gives an "
                "agent a new device",
            )
    confirm("Delete the encryption keys of all agents? People will see new identities.", yes=yes)
    count = with_migrated_database(config, delete)
    report(as_json, {"agents": count}, f"Deleted the encryption keys of {count} agents.")


def _read_status(config: Path, settings: Settings) -> tuple[list[AgentDevice], EncryptionTotals]:
    async def read(database: Database) -> tuple[list[AgentDevice], EncryptionTotals]:
        async with database.read_only() as tx:
            return await agent_devices(tx, _identities(settings)), await tx.encryption_overview.totals()

    return with_migrated_database(config, read)


def _row(status: AgentDevice) -> tuple[str, ...]:
    if status.device is None:
        return (status.agent, "", "none", "", "", "", str(status.waiting_events or ""))
    counts = (status.device.olm_sessions, status.device.outbound_sessions, status.device.to_device_waiting)
    return (status.agent, status.device.device_id, _keys(status.device), *map(str, counts), str(status.waiting_events))


def _keys(device: DeviceOverview) -> str:
    if device.is_reset_requested:
        return "reset requested"
    return "on the homeserver" if device.is_uploaded else "not uploaded"


def _state(encryption: EncryptionSettings) -> str:
    return f"E{describe_switch(encryption)[1:]}."


def _identities(settings: Settings) -> Identities:
    return Identities(settings.homeserver.domain, settings.appservice.bot)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
