"""A city that has started once: a copy of its files saves most of the CPU time of a first start.

A service that starts for the first time registers ghosts, creates rooms and uploads avatars and keys: 4 s of a processor, half
of it Synapse's. A city from the template starts as after a restart, in 1 s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
        """Replace an SQLite database that no process uses."""
        shutil.copy(self.database, database_url.removeprefix("sqlite:///"))


def is_suitable(database_url: str, settings: Iterable[str], homeserver: Iterable[str]) -> bool:
    """Return whether a city with these keys of settings and of options of its homeserver may start from the template."""
    return (
        database_url.startswith("sqlite:///")
        and not any(name.startswith(_SETTINGS_OF_STORED_STATE) for name in settings)
        and set(homeserver) <= {"port"}
    )
