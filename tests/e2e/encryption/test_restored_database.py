"""Encrypted chats after the city's database was restored from an older copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from tests.parts.agents_core import answer_to
from tests.parts.encrypted_city import DAARWIZZ, EncryptedCity
from tests.parts.postgres import Postgres

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize(
        "module_database_url",
        ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)],
        indirect=True,
        scope="module",
    ),
]

COPY = "copy_of_city"


class Backup:
    """A copy of the city's database, made and restored while the service is down."""

    def __init__(self, url: str, directory: Path, postgres: Postgres | None) -> None:
        self._name = url.rpartition("/")[2]
        self._file = Path(url.removeprefix("sqlite:///"))
        self._directory = directory
        self._postgres = postgres

    def make(self) -> None:
        if self._postgres is not None:
            self._postgres.execute(f"CREATE DATABASE {COPY} TEMPLATE {self._name} STRATEGY FILE_COPY")
            return
        for file in self._files(self._file.parent):
            shutil.copy(file, self._directory)

    def restore(self) -> None:
        if self._postgres is not None:
            self._postgres.drop_database(self._name)
            self._postgres.execute(f"ALTER DATABASE {COPY} RENAME TO {self._name}")
            return
        for file in self._files(self._file.parent):
            file.unlink()
        for file in self._files(self._directory):
            shutil.copy(file, self._file.parent)

    def _files(self, directory: Path) -> list[Path]:
        """Return the database in a directory, with its journal."""
        return list(directory.glob(f"{self._file.name}*"))


@pytest_asyncio.fixture(loop_scope="module")
async def city(own_city: EncryptedCity) -> EncryptedCity:
    """The module's own city."""
    return own_city


@pytest.fixture
def backup(module_database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Backup:
    is_postgres = module_database_url.startswith("postgresql")
    return Backup(module_database_url, tmp_path, request.getfixturevalue("postgres") if is_postgres else None)


async def test_restored_database_reads_and_answers(city: EncryptedCity, backup: Backup) -> None:
    pavlo = await city.arrive(city.city, "pavlo")
    osyp = await city.arrive_by_js_sdk(city.city, "osyp", encryption=True)
    room = await pavlo.open_chat(DAARWIZZ)
    js_room = await osyp.create_room(direct_with=DAARWIZZ, encrypted=True)
    await city.ask(pavlo, room, "до копії")
    await city.ask_by_js_sdk(osyp, js_room, "до копії")
    await city.city.service.stop()
    backup.make()
    await city.start()
    for number in range(2):
        await city.ask(pavlo, room, f"після копії {number}")
        await city.ask_by_js_sdk(osyp, js_room, f"після копії {number}")
    city.city.service.kill()
    backup.restore()
    await city.start()

    questions = [f"відновлено {number}" for number in range(3)]
    for question in questions:
        await city.ask(pavlo, room, question)
        await city.ask_by_js_sdk(osyp, js_room, question)
    # A session that the copy does not know, and a person of whom it knows nothing.
    await osyp.discard_session(js_room)
    await city.ask_by_js_sdk(osyp, js_room, "новий сеанс")
    petro = await city.arrive(city.city, "petro")
    await city.ask(petro, await petro.open_chat(DAARWIZZ), "хто тут?")
    texts = pavlo.texts(room, DAARWIZZ)
    assert [texts.count(answer_to(question)) for question in questions] == [1, 1, 1]
    for each in (room, js_room):
        city.check_encrypted(each, texts=questions)
    identity = await osyp.identity(DAARWIZZ)
    assert not identity["needs_approval"]
    assert list(identity["devices"].values()) == [True]
