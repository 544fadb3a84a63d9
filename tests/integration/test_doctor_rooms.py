"""The doctor names what is wrong with rooms, ghosts, presence and deliveries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import MatrixRoomId, MatrixStatus, UserId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.config import editing as config_edit
from daarion_appservice.doctor import deliveries
from daarion_appservice.doctor.ghosts import judge_no_module
from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.doctor import expect_finding, write_config
from tests.parts.ports import HOST, free_port
from tests.parts.scripted_homeserver import HANG, Reply, ScriptedHomeserver, refused

GENERAL, WELCOME = "!general", "!welcome"
SCRIBE = UserId("@agent_scribe:city.localhost")
IN_BOTH = Reply(200, {"joined_rooms": [GENERAL, WELCOME]})


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving():
        yield homeserver


@pytest.fixture
async def config(tmp_path: Path, homeserver: ScriptedHomeserver, sqlite_url: str) -> Path:
    """The configuration of a city with two rooms, both linked."""
    values: dict[str, str | float | bool] = {
        "homeserver.address": homeserver.url,
        "database.url": sqlite_url,
        "matrix.port": free_port(),
    }
    database = Database(sqlite_url)
    rooms = Rooms(database, lambda _: None, now_ms, new_id)
    await rooms.open_missing([("general", "General", ""), ("welcome", "Welcome", "")])
    async with database.transaction() as tx:
        for room, matrix_room in zip(await tx.rooms.all(), (GENERAL, WELCOME), strict=True):
            await tx.matrix_rooms.link(room.id, MatrixRoomId(matrix_room))
            await tx.matrix_rooms.set_status(room.id, MatrixStatus.LINKED, None)
    await database.close()
    return write_config(tmp_path, values)


@pytest.fixture
def store(sqlite_url: str) -> Callable[[Callable[[Transaction], Awaitable[Any]]], Awaitable[None]]:
    """Runs a function in a transaction of the city's database."""

    async def run(work: Callable[[Transaction], Awaitable[Any]]) -> None:
        database = Database(sqlite_url)
        async with database.transaction() as tx:
            await work(tx)
        await database.close()

    return run


Store = Callable[[Callable[[Transaction], Awaitable[Any]]], Awaitable[None]]


# --- rooms --------------------------------------------------------------------------------------------


async def test_linked_rooms_pass(config: Path, homeserver: ScriptedHomeserver) -> None:
    await expect_finding("room_links", config, "pass", "2 rooms are linked")
    homeserver.next("joined_rooms", IN_BOTH)
    await expect_finding("bot_rooms", config, "pass")


async def test_broken_link_is_named_with_its_reason(config: Path, store: Store) -> None:
    async def break_links(tx: Transaction, count: int) -> None:
        for room in (await tx.rooms.all())[:count]:
            await tx.matrix_rooms.set_status(room.id, MatrixStatus.FAILED, "the alias is another room's")

    await store(lambda tx: break_links(tx, 1))
    await expect_finding("room_links", config, "warn", "general: the alias is another room's", "room list")
    await store(lambda tx: break_links(tx, 2))
    await expect_finding("room_links", config, "fail", "welcome: the alias is another room's")


async def test_room_with_slug_of_api_is_named(config: Path, store: Store) -> None:
    async def rename(tx: Transaction) -> None:
        await tx.connection.execute(tables.rooms.update().where(tables.rooms.c.slug == "welcome").values(slug="push"))

    await expect_finding("room_pages", config, "pass", "2 rooms")
    await store(rename)
    await expect_finding("room_pages", config, "warn", "push", "/city/city_welcome")


async def test_rooms_that_wait_for_their_link_warn(config: Path, store: Store) -> None:
    async def unlink(tx: Transaction) -> None:
        await tx.matrix_rooms.set_status((await tx.rooms.all())[0].id, MatrixStatus.PENDING, None)

    await store(unlink)
    await expect_finding("room_links", config, "warn", "1 of 2 rooms are not linked yet")


async def test_bot_outside_of_rooms_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("joined_rooms", Reply(200, {"joined_rooms": [GENERAL]}))
    await expect_finding("bot_rooms", config, "warn", "is not in welcome", "power level 100")
    await expect_finding("bot_rooms", config, "fail", "is in none of the city's rooms", '"deactivated": false')


async def test_bot_without_power_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("joined_rooms", IN_BOTH, IN_BOTH)
    await expect_finding("bot_power", config, "warn", "too little power in general; welcome", "/op @daarion_bot")


async def test_room_outside_of_directory_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("joined_rooms", IN_BOTH)
    homeserver.next("listed", Reply(200, {"visibility": "public"}), Reply(200, {"visibility": "private"}))
    advice = 'room_list_publication_rules: [{"user_id": "@daarion_bot:city.localhost", "action": "allow"}]'
    await expect_finding("room_directory", config, "warn", "public directory: welcome", advice)


async def test_switched_off_room_search_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("joined_rooms", IN_BOTH)
    homeserver.next("listed", *[Reply(200, {"visibility": "public"})] * 4)
    homeserver.next("search", Reply(200, {"chunk": []}), Reply(200, {"chunk": []}))
    await expect_finding("room_search", config, "warn", "“General”", "enable_room_list_search: true")


async def test_room_search_passes(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("joined_rooms", IN_BOTH)
    homeserver.next("listed", *[Reply(200, {"visibility": "public"})] * 4)
    homeserver.next("search", Reply(200, {"chunk": []}), Reply(200, {"chunk": [{"room_id": GENERAL}]}))
    await expect_finding("room_search", config, "pass")
    searched = [each.content["filter"]["generic_search_term"] for each in homeserver.all("search")]
    assert searched == ["#city_general:city.localhost", "General"]


# --- ghosts and presence ------------------------------------------------------------------------------


async def test_missing_device_of_ghost_is_named(config: Path, homeserver: ScriptedHomeserver, store: Store) -> None:
    await store(lambda tx: tx.ghosts.put(Ghost(SCRIBE, has_device=True)))
    homeserver.next("devices", Reply(200, {"devices": [{"device_id": "CITY"}]}))
    await expect_finding("ghost_devices", config, "pass")
    await expect_finding("ghost_devices", config, "warn", SCRIBE, "message retry")


async def test_presence_that_is_switched_off_is_named(config: Path, homeserver: ScriptedHomeserver) -> None:
    homeserver.next("presence_of", *[Reply(200, {"presence": "offline"})] * 5)
    await expect_finding("presence", config, "fail", "presence is switched off", "presence: {enabled: true}")
    homeserver.next("presence_of", Reply(200, {"presence": "offline"}), Reply(200, {"presence": "unavailable"}))
    await expect_finding("presence", config, "pass")
    assert homeserver.all("presence")[-1].content == {"presence": "offline"}


@pytest.mark.parametrize(
    ("timeout_ms", "status", "named"),
    [(None, "skip", "not measured"), (12_000, "warn", "sync_online_timeout"), (40_000, "pass", "About 40 seconds")],
)
async def test_presence_timeout_is_judged(
    config: Path, homeserver: ScriptedHomeserver, store: Store, timeout_ms: int | None, status: str, named: str
) -> None:
    if timeout_ms is not None:
        # The scripted homeserver is aiohttp's.
        await store(lambda tx: tx.key_values.put_presence_timeout_ms(homeserver.software, timeout_ms))
    homeserver.next("presence_of", Reply(200, {"presence": "unavailable"}))
    await expect_finding("presence_timeout", config, status, named)


@pytest.mark.parametrize(("agents", "status"), [(5, "pass"), (300, "warn")])
def test_missing_module_is_judged(agents: int, status: str) -> None:
    assert judge_no_module(agents).status.value == status


# --- pings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "named"),
    [
        (502, "M_BAD_STATUS", "HTTP 403 Forbidden", "another hs_token"),
        (502, "M_BAD_STATUS", "HTTP 404 Not Found", "Another service answers"),
        (502, "M_CONNECTION_FAILED", "Connection was refused by other side: 111", "appservice.address"),
        (502, "M_CONNECTION_FAILED", "[('SSL routines', '', 'wrong version number')]", "begin with http://"),
        (502, "M_CONNECTION_FAILED", "certificate verify failed", "does not trust the TLS certificate"),
        (400, "M_URL_NOT_SET", "no url", "has no url"),
        (403, "M_FORBIDDEN", "Mismatching application service ID in path", "another id"),
    ],
)
async def test_failed_ping_is_named(
    config: Path, homeserver: ScriptedHomeserver, status: int, code: str, message: str, named: str
) -> None:
    homeserver.next("ping", refused(status, code, message))
    await expect_finding("ping", config, "fail", named)


async def test_dropped_packets_are_named(
    config: Path, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_PING_TIMEOUT_S", 0.1)
    homeserver.next("ping", HANG)
    await expect_finding("ping", config, "fail", "firewall", "/healthz")


async def test_busy_homeserver_warns_after_repeated_pings(
    config: Path, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_PAUSE_S", 0.01)
    homeserver.next("ping", *[refused(500, "M_UNKNOWN", "busy")] * 4)
    await expect_finding("ping", config, "warn", "too busy")
    await expect_finding("ping", config, "pass")


async def test_event_without_running_service_is_not_probed(config: Path) -> None:
    await expect_finding("probe_event", config, "skip", "does not run")


# --- agents core --------------------------------------------------------------------------------------


async def test_agents_core_that_is_away_is_named(config: Path) -> None:
    await expect_finding("agents_core", config, "skip")
    config_edit.set_values(config, {"agents_core.url": f"http://{HOST}:{free_port()}"})
    await expect_finding("agents_core", config, "fail", "cannot be reached", "agents_core.url right")
