"""A city on a terminal, its backups, and an empty database to restore them to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daarion_appservice.city.types import Room, RoomId
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.matrix.client import registration_file
from tests.parts.postgres import Postgres
from tests.parts.terminal import Terminal

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""
CONFIG = Path("config.yaml")
ROOM = Room(RoomId("r_1"), "square", "Square", "", is_default=False, archived=False, created_at_ms=1)


def backed_up(city: Terminal, *options: str) -> Path:
    ended = city.type("backup", "copy.tar.gz", *options)
    assert (ended.code, ended.out.startswith("Wrote copy.tar.gz (")) == (0, True), ended
    return Path("copy.tar.gz")


def other_config(url: str) -> str:
    """Write a configuration that names another database."""
    other = Path("other.yaml")
    other.write_text(CONFIG.read_text())
    other.chmod(0o600)
    config_edit.set_values(other, {"database.url": url})
    return str(other)


def city_with_postgres_programs(terminal: Terminal, request: pytest.FixtureRequest) -> Terminal:
    """Add an agent, a room and a registration to the city; put ``pg_dump`` and ``psql`` of its server on PATH."""
    if not terminal.database_url.startswith("sqlite"):
        postgres: Postgres = request.getfixturevalue("postgres")
        terminal.monkeypatch.setenv("PATH", f"{postgres.binaries}{os.pathsep}{os.environ['PATH']}")
    registration_file.generate(config_file.load(CONFIG), CONFIG)
    terminal.run("agent", "add", "scribe")
    terminal.with_database(lambda tx: tx.rooms.add(ROOM, created_by=None))
    return terminal


@contextmanager
def empty_database(city: Terminal, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of an empty database of the same kind as the city's."""
    if city.database_url.startswith("sqlite"):
        yield f"sqlite:///{city.directory / 'elsewhere.db'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)
