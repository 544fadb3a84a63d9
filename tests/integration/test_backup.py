"""Tests of ``backup`` and ``restore`` on both databases: what they keep."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from daarion_appservice.backup import sqlite_copy
from daarion_appservice.backup.making import make_backup
from daarion_appservice.city.types import RoomId
from daarion_appservice.config import loading as config_file
from daarion_appservice.errors import ExitCode
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.backups import (
    CONFIG,
    ON_SQLITE,
    ROOM,
    backed_up,
    city_with_postgres_programs,
    empty_database,
    other_config,
)
from tests.parts.terminal import Terminal
from tests.parts.waiting import WAIT_S


@pytest.fixture
def city(terminal: Terminal, request: pytest.FixtureRequest) -> Terminal:
    return city_with_postgres_programs(terminal, request)


@pytest.fixture
def empty_url(city: Terminal, request: pytest.FixtureRequest) -> Iterator[str]:
    with empty_database(city, request) as url:
        yield url


def names_in(path: Path) -> set[str]:
    with tarfile.open(path) as opened:
        return set(opened.getnames())


def at(city: Terminal, url: str) -> Terminal:
    return Terminal(city.directory, url, city.capsys, city.monkeypatch)


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
def test_restore_writes_missing_config_files(city: Terminal) -> None:
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

    count = 0

    async def write(has_written: asyncio.Event, is_copied: asyncio.Event) -> None:
        nonlocal count
        database = Database(city.database_url)
        while not is_copied.is_set():
            count += 1
            async with database.transaction() as tx:
                for slug in ("square", "park"):
                    await tx.connection.execute(
                        text("UPDATE rooms SET description = :count WHERE slug = :slug"),
                        {"count": str(count), "slug": slug},
                    )
            has_written.set()
        await database.close()

    async def both() -> int:
        """Return how many times the rows were written while they were copied."""
        has_written, is_copied = asyncio.Event(), asyncio.Event()
        writing = asyncio.create_task(write(has_written, is_copied))
        async with asyncio.timeout(WAIT_S):
            await has_written.wait()
        before = count
        await asyncio.to_thread(make_backup, CONFIG, Path("copy.tar.gz"))
        is_copied.set()
        await writing
        return count - before

    park = replace(ROOM, id=RoomId("r_2"), slug="park")
    city.with_database(lambda tx: tx.rooms.add(park, created_by=None))
    assert asyncio.run(both()) > 2, "it was not written meanwhile"
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
def test_environment_settings_are_named_without_values(city: Terminal) -> None:
    city.monkeypatch.setenv(
        "DAARION_ENCRYPTION__PICKLE_KEY", config_file.load(CONFIG).encryption.pickle_key.get_secret_value()
    )
    ended = city.type("backup", "copy.tar.gz")
    assert "Not in it, since the environment sets them: DAARION_ENCRYPTION__PICKLE_KEY" in ended.err
    assert "encryption.pickle_key is not in it" in ended.err


@ON_SQLITE
def test_prepared_link_gets_no_secrets(city: Terminal, tmp_path: Path) -> None:
    """Whoever may write into the directory of the archive knows the names of its files beforehand."""
    theirs = tmp_path / "theirs"
    for name in (".copy.tar.gz.partial", "copy.tar.gz.partial"):
        Path(name).symlink_to(theirs)
    backed_up(city)
    assert not theirs.exists()


@ON_SQLITE
def test_restore_keeps_link_to_database(city: Terminal, tmp_path: Path) -> None:
    copy, volume = backed_up(city, "--no-secrets"), tmp_path / "volume"
    volume.mkdir()
    link, file = tmp_path / "linked.db", volume / "real.db"
    file.touch()
    link.symlink_to(file)
    ended = city.type("restore", str(copy), "-c", other_config(f"sqlite:///{link}"))
    assert ended.code == 0, ended
    assert link.is_symlink()
    assert {path.name for path in volume.glob("*.lock")} == {"real.db.lock"}, (
        "the lock of every service with this database"
    )
    assert sqlite_copy.has_tables(file)
    assert [agent.slug for agent in at(city, f"sqlite:///{link}").agents()] == ["scribe"]


@ON_SQLITE
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_restore_follows_no_link_of_other_user(city: Terminal, tmp_path: Path) -> None:
    """Root must not write where the service's user could not."""
    copy, theirs = backed_up(city, "--no-secrets"), tmp_path / "theirs"
    theirs.mkdir()
    link = theirs / "city.db"
    link.symlink_to(tmp_path / "cron.d")
    os.chown(theirs, 12345, 12345)
    os.lchown(link, 12345, 12345)
    config = other_config(f"sqlite:///{link}")
    ended = city.type("restore", str(copy), "--force", "-c", config)
    assert (ended.code, "symbolic link of another user" in ended.err) == (ExitCode.DATABASE, True), ended
    assert not list(tmp_path.glob("*cron.d*"))
    os.chown(tmp_path, 12345, 12345)
    assert city.type("restore", str(copy), "--force", "-c", config).code == 0


@ON_SQLITE
def test_restore_refuses_links_that_form_a_loop(city: Terminal, tmp_path: Path) -> None:
    copy, link, other = backed_up(city, "--no-secrets"), tmp_path / "one.db", tmp_path / "other.db"
    link.symlink_to(other)
    other.symlink_to(link)
    ended = city.type("restore", str(copy), "-c", other_config(f"sqlite:///{link}"))
    assert (ended.code, "leads to itself" in ended.err) == (ExitCode.DATABASE, True), ended


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
