"""Tests of backups and restores that are refused or fail, and change nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from daarion_appservice.backup import archive, postgres_programs, sqlite_copy
from daarion_appservice.backup.restoring import restore_backup
from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.leader_lock import LeaderLock
from daarion_appservice.storage.sqlite_file import ServiceLock
from tests.parts.backups import (
    CONFIG,
    ON_SQLITE,
    backed_up,
    city_with_postgres_programs,
    empty_database,
    other_config,
)
from tests.parts.postgres import Postgres
from tests.parts.terminal import Terminal

ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def city(terminal: Terminal, request: pytest.FixtureRequest) -> Terminal:
    return city_with_postgres_programs(terminal, request)


@pytest.fixture
def empty_url(city: Terminal, request: pytest.FixtureRequest) -> Iterator[str]:
    with empty_database(city, request) as url:
        yield url


# --- what they keep -----------------------------------------------------------------------------------


@ON_SQLITE
def test_terminated_backup_leaves_no_copy(city: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the whole database each night would fill the disk."""
    copy = sqlite_copy.copy

    def terminated(source: Path, target: Path) -> None:
        copy(source, target)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sqlite_copy, "copy", terminated)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert city.type("backup", "copy.tar.gz").code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list(Path().glob("*copy.tar.gz*")) + list(Path().glob(".daarion*"))


@ON_POSTGRES
def test_terminated_restore_ends_psql(city: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """psql alone would replace the tables later, and nobody would raise the sequence numbers."""
    copy, finished = backed_up(city), tmp_path / "finished"
    psql = tmp_path / "psql"
    psql.write_text(f"#!/bin/sh\nkill -TERM $PPID\nsleep 10\ntouch {finished}\n")
    psql.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert city.type("restore", str(copy), "--force").code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not finished.exists()
    assert [agent.slug for agent in city.agents()] == ["scribe"]


@ON_SQLITE
def test_crash_of_a_restore_leaves_a_database(city: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = backed_up(city)
    city.run("agent", "add", "late")
    replace_file = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if target.name == "city.db":
            raise KeyboardInterrupt
        return replace_file(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash)
        patched.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            restore_backup(copy, CONFIG, force=True)
    assert [agent.slug for agent in city.agents()] == ["late", "scribe"]
    assert not list(Path().glob(".city.db*"))


def test_restore_beside_running_service_is_refused(city: Terminal) -> None:
    copy = backed_up(city)

    async def beside_leader() -> None:
        database = Database(city.database_url)
        lock = LeaderLock(database)
        await lock.acquire()
        try:
            await asyncio.to_thread(restore_backup, copy, CONFIG, force=True)
        finally:
            await lock.release()
            await database.close()

    if city.database_url.startswith("sqlite"):
        lock = ServiceLock(city.directory / "city.db")
        lock.acquire()
        refusal = city.run_refused("restore", str(copy), "--force", code=ExitCode.DATABASE)
        lock.release()
    else:
        with pytest.raises(StartError) as refused:
            asyncio.run(beside_leader())
        refusal = refused.value.what
        assert refused.value.exit_code == ExitCode.DATABASE
    assert "daarion-appservice runs on" in refusal


@ON_SQLITE
@pytest.mark.parametrize("damage", ["cut", "changed", "text"])
def test_damaged_archive_changes_nothing(city: Terminal, damage: str) -> None:
    copy = backed_up(city)
    content = bytearray(copy.read_bytes())
    match damage:
        case "cut":
            copy.write_bytes(content[: len(content) // 2])
        case "changed":
            content[len(content) // 2] ^= 0xFF
            copy.write_bytes(content)
        case "text":
            copy.write_text("no archive")
    city.run("agent", "add", "late")
    refusal = city.run_refused("restore", str(copy), "--force")
    assert len(refusal.splitlines()) == 2, "what is wrong, and what to do"
    assert [agent.slug for agent in city.agents()] == ["late", "scribe"]


@ON_SQLITE
def test_changed_member_is_found_by_its_checksum(city: Terminal, tmp_path: Path) -> None:
    copy, unpacked = backed_up(city), tmp_path / "unpacked"
    with tarfile.open(copy) as opened:
        opened.extractall(unpacked, filter="data")
    (unpacked / "config.yaml").write_text("other: 1\n")
    with tarfile.open(copy, "w:gz") as changed:
        for name in ("manifest.json", *archive.DatabaseKind, "config.yaml", "registration.yaml"):
            if (unpacked / name).exists():
                changed.add(unpacked / name, name)
    assert "config.yaml has another checksum" in city.run_refused("restore", str(copy), "--force")


@ON_SQLITE
def test_backup_of_newer_version_is_refused(city: Terminal) -> None:
    async def newer(tx: Transaction) -> None:
        await tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    city.with_database(newer)
    backed_up(city)
    refusal = city.run_refused("restore", "copy.tar.gz", "--force", code=ExitCode.DATABASE)
    assert "newer daarion-appservice" in refusal


def test_backup_of_other_kind_is_refused(city: Terminal, request: pytest.FixtureRequest) -> None:
    copy = backed_up(city)
    is_sqlite = city.database_url.startswith("sqlite")
    url = "postgresql://nobody@127.0.0.1:1/none" if is_sqlite else "sqlite:///elsewhere.db"
    refusal = city.run_refused("restore", str(copy), "-c", other_config(url), code=ExitCode.CONFIG)
    assert f"The backup is of {'SQLite' if is_sqlite else 'PostgreSQL'}" in refusal
    assert not Path("elsewhere.db").exists()


def test_backup_needs_a_new_name_and_a_database(city: Terminal, empty_url: str) -> None:
    copy = backed_up(city)
    assert "exists already" in city.run_refused("backup", str(copy))
    assert "There is no directory" in city.run_refused("backup", "missing/copy.tar.gz")
    city.run_refused("backup", "empty.tar.gz", "-c", other_config(empty_url), code=ExitCode.DATABASE)
    assert not Path("empty.tar.gz").exists()


@ON_SQLITE
def test_unusable_path_is_named_without_traceback(city: Terminal) -> None:
    copy, too_long = backed_up(city), "x" * 300
    assert "cannot be written: File name too long" in city.run_refused("backup", too_long)
    assert "cannot be read: File name too long" in city.run_refused(
        "restore", str(copy), "-c", f"{too_long}/a/config.yaml"
    )


@ON_SQLITE
def test_failed_restore_leaves_no_new_files(city: Terminal) -> None:
    backed_up(city)
    CONFIG.unlink()
    Path("registration.yaml").unlink()
    city.run_refused("restore", "copy.tar.gz", code=ExitCode.DATABASE)
    assert not CONFIG.exists()
    assert not Path("registration.yaml").exists()


@ON_POSTGRES
def test_database_of_another_program_is_never_replaced(city: Terminal, postgres: Postgres, empty_url: str) -> None:
    copy = backed_up(city)
    name = empty_url.rpartition("/")[2]
    postgres.execute("CREATE TABLE others (id int)", name)
    refusal = city.run_refused("restore", str(copy), "--force", "-c", other_config(empty_url), code=ExitCode.DATABASE)
    assert "tables of another program" in refusal
    assert postgres.execute("SELECT count(*) FROM others", name) == "0"


@ON_POSTGRES
def test_failed_restore_of_postgres_changes_nothing(city: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = backed_up(city)
    city.run("agent", "add", "late")
    # A statement in the middle of the script fails.
    run = postgres_programs._run

    def spoil(url: object, program: str, *arguments: str) -> None:
        if program == "psql":
            script = Path(arguments[-1].partition("=")[2])
            script.write_bytes(script.read_bytes() + b"\nSELECT 1 / 0;\n")
        run(url, program, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(postgres_programs, "_run", spoil)
    assert "division by zero" in city.run_refused("restore", str(copy), "--force", code=ExitCode.DATABASE)
    assert [agent.slug for agent in city.agents()] == ["late", "scribe"]


@ON_POSTGRES
def test_missing_pg_dump_is_named(city: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt install postgresql-client" in city.run_refused("backup", "copy.tar.gz")
