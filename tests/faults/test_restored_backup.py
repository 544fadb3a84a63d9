"""A city that was restored from a backup beside a newer homeserver."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from daarion_appservice.config import editing as config_edit
from tests.parts.city import StartCity
from tests.parts.frames import next_frame
from tests.parts.matrix_user import Arrive
from tests.parts.postgres import Postgres
from tests.parts.two_way_messages import (
    CITIZEN,
    Messages,
    both_sides_received,
    numbered_messages,
    post_as_citizen,
    send_as_person,
)

ALICE = "@alice:city.localhost"


@pytest.fixture
def empty_url(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty database of the same kind, and PostgreSQL's programs on the PATH."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'restored.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    monkeypatch.setenv("PATH", f"{postgres.binaries}{os.pathsep}{os.environ['PATH']}")
    return postgres.url(postgres.create_database())


async def test_restored_city_catches_up_with_homeserver(
    start_city: StartCity, arrive: Arrive, empty_url: str, tmp_path: Path
) -> None:
    city = await start_city()
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {ALICE: [], CITIZEN: []}
    await send_as_person(alice, general, ["before"], sent[ALICE])
    writing = asyncio.create_task(post_as_citizen(city, numbered_messages(20, "meanwhile"), sent[CITIZEN]))
    archive = tmp_path / "copy.tar.gz"
    made = await city.command("backup", str(archive))
    assert made.code == 0, made
    await writing
    await send_as_person(alice, general, numbered_messages(3, "after"), sent[ALICE])
    await both_sides_received(city, alice, general, sent)
    newest = (await city.get("/city/rooms/general/messages"))[-1]["seq"]
    await city.service.stop()

    place = tmp_path / "elsewhere"
    place.mkdir()
    config = place / "config.yaml"
    config.write_text(city.config.read_text())
    config.chmod(0o600)
    config_edit.set_values(config, {"database.url": empty_url})
    restored = replace(city, directory=place, database_url=empty_url)
    restored.session = city.session
    restored.service = restored.another_service("restored")
    done = await restored.command("restore", str(archive))
    assert done.code == 0, done
    assert (place / "registration.yaml").read_bytes() == (city.directory / "registration.yaml").read_bytes()
    try:
        await restored.start()
        await both_sides_received(restored, alice, general, sent, is_restored=True)
        await post_as_citizen(restored, ["after the restore"], sent[CITIZEN])
        await send_as_person(alice, general, ["to the restored city"], sent[ALICE])
        await both_sides_received(restored, alice, general, sent, is_restored=True)
        socket_path = f"{restored.api_url}/ws/city/rooms/general?since={newest}"
        async with restored.session.ws_connect(socket_path) as socket:
            assert await _first_of(socket, "city.room.resync", "city.room.message") == "city.room.resync"
    finally:
        restored.service.kill()


async def _first_of(socket: aiohttp.ClientWebSocketResponse, *events: str) -> str:
    while (event := (await next_frame(socket))["event"]) not in events:
        pass
    return str(event)
