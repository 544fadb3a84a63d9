"""A city that has started once: a copy of its files saves most of the CPU time of a first start.

A service that starts for the first time registers ghosts, creates rooms and uploads avatars and keys: 4 s of a processor, half
of it Synapse's. A city from the template starts as after a restart, in 1 s.

The template has an SQLite file; a city on PostgreSQL gets its rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.pool import NullPool

from daarion_appservice.storage import tables

_SETTINGS_OF_STORED_STATE = (
    "city.",
    "encryption.",
    "database.",
    "homeserver.domain",
    "appservice.id",
    "appservice.hs_token",
)
"""Settings on which a first start depends: a city with one of them does not start from the template."""


@dataclass(frozen=True)
class CityTemplate:
    """The stored state of a stopped city.

    Args:
        homeserver: the directory of Synapse.
        database: the SQLite file of the service.
        secrets: the tokens and the pickle key in its configuration, by dotted key.
    """

    homeserver: Path
    database: Path
    secrets: dict[str, str]

    def restore_database(self, database_url: str) -> None:
        """Replace an SQLite file that no process uses, or fill a PostgreSQL database that has empty tables."""
        if database_url.startswith("sqlite:///"):
            shutil.copy(self.database, database_url.removeprefix("sqlite:///"))
        else:
            _copy_rows(self.database, database_url)


def is_suitable(settings: Iterable[str], homeserver: Iterable[str]) -> bool:
    """Return whether a city with these keys of settings and of options of its homeserver may start from the template."""
    return not any(name.startswith(_SETTINGS_OF_STORED_STATE) for name in settings) and set(homeserver) <= {"port"}


def _copy_rows(file: Path, database_url: str) -> None:
    """Copy the rows of all tables, and set the sequences of generated keys to the last one."""
    source = create_engine(f"sqlite:///{file}", poolclass=NullPool)
    target = create_engine(database_url.replace("postgresql:", "postgresql+psycopg2:"), poolclass=NullPool)
    with source.connect() as reading, target.begin() as writing:
        # A replica's session checks no foreign keys: the order of the tables does not matter.
        writing.execute(text("SET LOCAL session_replication_role = replica"))
        for table in tables.metadata.sorted_tables:
            if not (rows := [dict(row) for row in reading.execute(select(table)).mappings()]):
                continue
            writing.execute(insert(table), rows)
            if (key := table.autoincrement_column) is not None:
                sequence = func.pg_get_serial_sequence(table.name, key.name)
                writing.execute(select(func.setval(sequence, select(func.max(key)).scalar_subquery())))
