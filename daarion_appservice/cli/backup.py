"""The commands ``backup`` and ``restore``.

They import the service only when they run it, so that ``--help`` does not wait for the imports.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, warn

if TYPE_CHECKING:
    from ..backup.restoring import RestoredBackup

_MB = 1_000_000


def backup(
    target: Annotated[
        Path,
        typer.Argument(metavar="[TARGET]", help="A new file, or a directory for a file whose name is the time."),
    ] = Path(),
    secrets: Annotated[
        bool,
        typer.Option(
            "--secrets/--no-secrets",
            help="Whether to include config.yaml and registration.yaml, with the tokens and encryption.pickle_key.",
        ),
    ] = True,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Back up the database, configuration and registration into one file, while the service runs or not.

    On PostgreSQL it needs pg_dump. Files that people sent are in Synapse's media store, not here.
    """
    from ..backup.making import make_backup  # noqa: PLC0415

    with _ended_by_sigterm():
        made = make_backup(config, target, with_secrets=secrets)
    if as_json:
        print_json({"file": str(made.path), "bytes": made.size, **made.manifest.model_dump(mode="json")})
    else:
        print_line(f"Wrote {made.path} ({made.size / _MB:.1f} MB, revision {made.manifest.revision}).", "green")
        if secrets:
            print_line("It contains every secret of the city: keep it where nobody else can read it.")
    if made.missing_secrets:
        warn(f"Not in it, since the environment sets them: {', '.join(made.missing_secrets)}")
    if not made.has_pickle_key:
        warn("encryption.pickle_key is not in it: keep a copy, or agents lose their identities and encrypted chats")


def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a database that is not empty. A SQLite file is renamed.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Restore a backup into the database of config.yaml, which is written from the backup if it does not exist.

    The service must not run. On PostgreSQL the database must exist, and pg_restore and psql are needed.
    """
    from ..backup.restoring import restore_backup  # noqa: PLC0415

    with _ended_by_sigterm():
        restored = restore_backup(archive, config, force=force)
    if as_json:
        print_json(_fields(restored))
    else:
        _print(restored)
    _warn(restored)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit inside the block: copies of the database and programs of PostgreSQL end with the command."""
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _fields(restored: RestoredBackup) -> dict[str, object]:
    return {
        "database": restored.database,
        "revision": restored.revision,
        "written": [str(path) for path in restored.written],
        "kept": [str(path) for path in restored.kept],
        "former_database": str(restored.aside) if restored.aside else None,
        "backup": restored.manifest.model_dump(mode="json"),
    }


def _print(restored: RestoredBackup) -> None:
    manifest = restored.manifest
    print_line(f"Restored {restored.database} to its state of {manifest.created_at}.", "green")
    if manifest.revision != restored.revision:
        print_line(f"Migrated it from revision {manifest.revision} to {restored.revision}.")
    for path in restored.written:
        print_line(f"Wrote {path}.")
    for path in restored.kept:
        print_line(f"{path} was there already, and is unchanged.")
    if restored.aside is not None:
        print_line(f"The former database is {restored.aside}.")
    print_line("Start the service: it reads from Synapse what happened in the rooms since then.")


def _warn(restored: RestoredBackup) -> None:
    from ..matrix.encryption.stored_keys import StoredKeys  # noqa: PLC0415

    if restored.manifest.environment:
        warn(f"The backup was made with settings in the environment: {', '.join(restored.manifest.environment)}")
    if restored.keys in {StoredKeys.NO_KEY, StoredKeys.OTHER_KEY}:
        warn("encryption.pickle_key is not the key of the restored database: set the former one before the start")
