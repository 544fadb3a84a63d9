"""``backup`` and ``restore`` on both databases: what they keep, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from daarion_appservice.backup import archive, postgres_programs, sqlite_copy
from daarion_appservice.backup.making import make_backup
from daarion_appservice.backup.restoring import restore_backup
from daarion_appservice.city.types import Room, RoomId
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.errors import ExitCode, StartError
from daarion_appservice.matrix.client import registration_file
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.leader_lock import LeaderLock
from daarion_appservice.storage.sqlite_file import ServiceLock
from tests.parts.postgres import Postgres
from tests.parts.terminal import Terminal

ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""

CONFIG = Path("config.yaml")
ROOM = Room(RoomId("r_1"), "square", "Square", "", is_default=False, archived=False, created_at_ms=1)


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of the PostgreSQL that the tests use."""
    if "postgres_url" in request.fixturenames or "postgresql" in request.node.name:
        postgres: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("PATH", f"{postgres.binaries}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def city(terminal: Terminal) -> Terminal:
    """A city with an agent, a room and a registration."""
    registration_file.generate(config_file.load(CONFIG), CONFIG)
    terminal.run("agent", "add", "scribe")
    terminal.with_database(lambda tx: tx.rooms.add(ROOM, created_by=None))
    return terminal


@pytest.fixture
def empty_url(city: Terminal, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the same kind as the city's."""
    if city.database_url.startswith("sqlite"):
        yield f"sqlite:///{city.directory / 'elsewhere.db'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


def backed_up(city: Terminal, *options: str) -> Path:
    ended = city.type("backup", "copy.tar.gz", *options)
    assert (ended.code, ended.out.startswith("Wrote copy.tar.gz (")) == (0, True), ended
    return Path("copy.tar.gz")


def names_in(path: Path) -> set[str]:
    with tarfile.open(path) as opened:
        return set(opened.getnames())


def other_config(url: str) -> str:
    """Write a configuration that names another database."""
    other = Path("other.yaml")
    other.write_text(CONFIG.read_text())
    other.chmod(0o600)
    config_edit.set_values(other, {"database.url": url})
    return str(other)


def at(city: Terminal, url: str) -> Terminal:
    return Terminal(city.directory, url, city.capsys, city.monkeypatch)


# --- what they keep -----------------------------------------------------------------------------------


def test_restored_city_has_all_but_later_changes(city: Terminal, empty_url: str) -> None:
    copy = backed_up(city)
    city.run("agent", "add", "late")
    ended = city.type("restore", str(copy), "-c", other_config(empty_url))
    assert (ended.code, ended.err) == (0, ""), ended
    restored = at(city, empty_url)
    assert [agent.slug for agent in restored.agents()] == ["scribe"]
    assert [agent.slug for agent in city.agents()] == ["late", "scribe"]


def test_restored_rooms_skip_known_numbers(city: Terminal, empty_url: str) -> None:
    numbers, _ = city.with_database(lambda tx: tx.rooms.next_seqs(ROOM.id, 7))
    copy = backed_up(city)
    assert city.type("restore", str(copy), "-c", other_config(empty_url)).code == 0
    (room,) = at(city, empty_url).rooms()
    assert room.last_seq == numbers[-1] + 1_000_000


def test_archive_is_private_and_complete(city: Terminal) -> None:
    copy = backed_up(city)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    database = "database.sqlite3" if city.database_url.startswith("sqlite") else "database.pgdump"
    assert names_in(copy) == {"manifest.json", database, "config.yaml", "registration.yaml"}
    assert not list(Path().glob(".daarion*"))
    assert names_in(backed_up_without_secrets(city)) == {"manifest.json", database}


def backed_up_without_secrets(city: Terminal) -> Path:
    ended = city.type("backup", "bare.tar.gz", "--no-secrets")
    assert ended.code == 0
    assert "encryption.pickle_key is not in it" in ended.err
    return Path("bare.tar.gz")


@ON_SQLITE
def test_restore_writes_missing_config_and_registration(city: Terminal) -> None:
    backed_up(city)
    before = {name: Path(name).read_bytes() for name in ("config.yaml", "registration.yaml")}
    for name in before:
        Path(name).rename(f"{name}.lost")
    ended = city.type("restore", "copy.tar.gz", "--force")
    assert ended.code == 0, ended
    for name, content in before.items():
        assert Path(name).read_bytes() == content
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600


@ON_SQLITE
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_files_restored_by_root_belong_to_the_service(city: Terminal, tmp_path: Path) -> None:
    copy = backed_up(city, "--no-secrets")
    place = tmp_path / "place"
    place.mkdir()
    os.chown(place, 12345, 12345)
    config = other_config(f"sqlite:///{place / 'city.db'}")
    assert city.type("restore", str(copy), "-c", config).code == 0
    assert {path.name: path.stat().st_uid for path in place.iterdir()} == {"city.db": 12345, "city.db.lock": 12345}


def test_forced_restore_replaces_later_state(city: Terminal) -> None:
    copy = backed_up(city)
    city.run("agent", "add", "late")
    assert "is not empty" in city.run_refused("restore", str(copy), code=ExitCode.DATABASE)
    assert [agent.slug for agent in city.agents()] == ["late", "scribe"]
    ended = city.type("restore", str(copy), "--force")
    assert ended.code == 0, ended
    assert [agent.slug for agent in city.agents()] == ["scribe"]
    if city.database_url.startswith("sqlite"):
        (former,) = Path().glob("city.db.replaced-*Z")
        assert [agent.slug for agent in at(city, f"sqlite:///{former.absolute()}").agents()] == ["late", "scribe"]


def test_backup_of_earlier_revision_is_migrated(city: Terminal, empty_url: str) -> None:
    earlier = other_config(empty_url)

    async def make() -> None:
        database = Database(empty_url)
        await migrate.upgrade(database, "0020")
        await database.close()

    asyncio.run(make())
    assert city.type("backup", "old.tar.gz", "-c", earlier).code == 0
    ended = city.type("restore", "old.tar.gz", "--force")
    assert f"Migrated it from revision 0020 to {migrate.head()}." in ended.out, ended
    assert city.agents() == []


def test_backup_under_writes_is_one_snapshot(city: Terminal, empty_url: str) -> None:
    """Two rows that only ever change together are equal in the copy."""

    async def write(seconds: float) -> int:
        database, count = Database(city.database_url), 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline:
            async with database.transaction() as tx:
                for slug in ("square", "park"):
                    await tx.connection.execute(
                        text("UPDATE rooms SET description = :count WHERE slug = :slug"),
                        {"count": str(count), "slug": slug},
                    )
            count += 1
        await database.close()
        return count

    async def both() -> int:
        writing = asyncio.create_task(write(2))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(make_backup, CONFIG, Path("copy.tar.gz"))
        return await writing

    park = replace(ROOM, id=RoomId("r_2"), slug="park")
    city.with_database(lambda tx: tx.rooms.add(park, created_by=None))
    assert asyncio.run(both()) > 10, "it was not written meanwhile"
    assert city.type("restore", "copy.tar.gz", "-c", other_config(empty_url)).code == 0
    descriptions = {room.description for room in at(city, empty_url).rooms()}
    assert len(descriptions) == 1
    assert descriptions != {""}


@ON_SQLITE
def test_json_names_file_and_content(city: Terminal) -> None:
    ended = city.type("backup", "--json")
    made = json.loads(ended.out)
    assert made["file"].startswith("daarion-")
    assert Path(made["file"]).stat().st_size == made["bytes"]
    assert (made["revision"], made["domain"]) == (migrate.head(), "city.localhost")
    restored = json.loads(city.type("restore", made["file"], "--force", "--json").out)
    assert restored["revision"] == migrate.head()
    assert set(restored["kept"]) == {"config.yaml", str(city.directory / "registration.yaml")}


@ON_SQLITE
def test_settings_of_environment_are_named_without_values(city: Terminal) -> None:
    city.monkeypatch.setenv(
        "DAARION_ENCRYPTION__PICKLE_KEY", config_file.load(CONFIG).encryption.pickle_key.get_secret_value()
    )
    ended = city.type("backup", "copy.tar.gz")
    assert "Not in it, since the environment sets them: DAARION_ENCRYPTION__PICKLE_KEY" in ended.err
    assert "encryption.pickle_key is not in it" in ended.err


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
def test_prepared_link_gets_no_secrets(city: Terminal, tmp_path: Path) -> None:
    """Whoever may write into the directory of the archive knows the names of its files beforehand."""
    theirs = tmp_path / "theirs"
    for name in (".copy.tar.gz.partial", "copy.tar.gz.partial"):
        Path(name).symlink_to(theirs)
    backed_up(city)
    assert not theirs.exists()


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


def test_log_of_former_database_stays_with_it(tmp_path: Path) -> None:
    """A service that was killed left a write-ahead log, which must not be applied to the restored database."""
    former, fresh, aside = (tmp_path / name for name in ("city.db", "fresh.db", "aside.db"))
    with closing(sqlite3.connect(former)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES ('former')")
        writer.commit()
        for name in ("city.db", "city.db-wal", "city.db-shm"):
            shutil.copyfile(tmp_path / name, tmp_path / f"killed-{name}")
    for name in ("city.db", "city.db-wal", "city.db-shm"):
        (tmp_path / f"killed-{name}").rename(tmp_path / name)
    with closing(sqlite3.connect(fresh)) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.commit()
    sqlite_copy.put_in_place(fresh, former, aside)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside.db", "city.db"]
    for file, rows in ((former, []), (aside, [("former",)])):
        with closing(sqlite3.connect(file)) as reader:
            assert reader.execute("SELECT x FROM t").fetchall() == rows


# --- what they refuse ---------------------------------------------------------------------------------


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
        for name in ("manifest.json", *archive.Kind, "config.yaml", "registration.yaml"):
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
