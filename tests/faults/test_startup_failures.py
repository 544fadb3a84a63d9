"""A start with a wrong configuration or an unusable machine ends with an exit code, an advice, and no traceback."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from daarion_appservice.config import editing as config_edit
from daarion_appservice.errors import ExitCode
from tests.parts.failed_start import assert_output, configured, serving, start
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import SERVER_NAME

# --- the configuration --------------------------------------------------------------------------------


async def test_missing_config_names_generate_command(tmp_path: Path) -> None:
    config = tmp_path / "city.yaml"
    ended = await start(config)
    assert_output(
        ended,
        ExitCode.CONFIG,
        f"There is no configuration at {config}",
        f"`daarion-appservice config generate -c {config}`",
    )


async def test_unknown_key_is_shown_with_line_and_suggestion(tmp_path: Path) -> None:
    config = configured(tmp_path, {})
    config.write_text(config.read_text() + "databse:\n  url: sqlite:///city.db\n")
    ended = await start(config)
    line = len(config.read_text().splitlines()) - 1
    assert_output(
        ended,
        ExitCode.CONFIG,
        f"{config}:{line}: databse is not a key; did you mean database?",
        "config check",
    )


async def test_missing_tokens_name_generate_command(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config_edit.generate(config)
    config_edit.set_values(config, {"homeserver.domain": SERVER_NAME})
    ended = await start(config)
    assert_output(ended, ExitCode.REGISTRATION, "appservice.as_token is not set", "registration generate")


# --- this machine -------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", ["api", pytest.param("matrix", marks=pytest.mark.soak)])
async def test_port_in_use_is_named_with_its_key(tmp_path: Path, listener: str) -> None:
    async with serving({}) as taken:
        config = configured(tmp_path, {f"{listener}.port": taken})
        ended = await start(config)
    assert_output(
        ended,
        ExitCode.PORT,
        f"The {listener} listener cannot have {HOST}:{taken}: another program uses the port.",
        f"{listener}.port",
    )


async def test_newer_database_is_refused_unchanged(tmp_path: Path) -> None:
    database = tmp_path / "city.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999_of_the_future')")
        before = list(connection.iterdump())
    connection.close()
    ended = await start(configured(tmp_path, {"database.url": f"sqlite:///{database}"}))
    assert_output(ended, ExitCode.DATABASE, "newer daarion-appservice: its revision is 9999_of_the_future", "Install")
    assert "backup" in ended.stderr
    with sqlite3.connect(database) as connection:
        assert list(connection.iterdump()) == before
    connection.close()


@pytest.mark.parametrize(
    "place",
    [
        "missing",
        pytest.param("below a file", marks=pytest.mark.soak),
        pytest.param("not writable", marks=pytest.mark.soak),
    ],
)
async def test_read_only_database_names_required_permission(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    directory = {
        "missing": tmp_path / "missing",
        "below a file": tmp_path / "file",
        # Permissions do not stop root, but nobody can make a file there.
        "not writable": Path("/proc/self" if os.geteuid() == 0 else "/"),
    }[place]
    ended = await start(configured(tmp_path, {"database.url": f"sqlite:///{directory / 'city.db'}"}))
    assert_output(
        ended,
        ExitCode.DATABASE,
        f"The database sqlite:///{directory / 'city.db'} cannot be used",
        "its directory exists and that this user may write to it",
    )


async def test_unreachable_postgresql_named_without_password(tmp_path: Path) -> None:
    port = free_port()
    ended = await start(configured(tmp_path, {"database.url": f"postgresql://city:very-secret@{HOST}:{port}/city"}))
    assert_output(ended, ExitCode.DATABASE, f"{HOST}:{port}/city cannot be used", "Check that PostgreSQL runs there")
    assert "very-secret" not in ended.stderr
