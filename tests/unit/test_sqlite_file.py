"""The file of a SQLite database."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from daarion_appservice.storage.sqlite_file import ServiceLock, create_private, make_private


@pytest.mark.parametrize("is_link", [False, True])
def test_new_database_is_private_behind_a_link_too(tmp_path: Path, is_link: bool) -> None:
    database = real = tmp_path / "real.db"
    if is_link:
        database = tmp_path / "linked.db"
        database.symlink_to(real)
    create_private(database)
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_directory_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(mode)
    create_private(tmp_path / "data")
    make_private(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == mode


def test_log_behind_a_link_loses_permissions_of_others(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    database, real = tmp_path / "city.db", tmp_path / "volume" / "real.db"
    database.symlink_to(real)
    files = [real, real.with_name("real.db-wal"), real.with_name("real.db-shm")]
    for file in files:
        file.touch()
        file.chmod(0o664)
    make_private(database)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o660] * 3


def test_directory_gets_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ServiceLock(tmp_path / "data").acquire()
    assert [each.name for each in tmp_path.iterdir()] == ["data"]
