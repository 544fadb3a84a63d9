"""Profiles of ghosts, and the number of requests of a second start."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from tests.parts.city import RunningCity, eventually
from tests.parts.http_proxy import HttpProxy
from tests.parts.ports import free_port
from tests.parts.synapse import BootSynapse

COUNT = 3

AGENTS = "\nagents:\n  - {{slug: daarwizz, display_name: DAARWIZZ, avatar: {picture}}}\n" + "".join(
    f"  - {{{{slug: a{number}, display_name: Agent {number}}}}}\n" for number in range(COUNT)
)


async def test_second_start_updates_only_differences(tmp_path: Path, sqlite_url: str, synapse: BootSynapse) -> None:
    picture = tmp_path / "daarwizz.png"
    picture.write_bytes(_png(b"\x10\x80\xff"))
    homeserver_port = free_port()
    proxy = HttpProxy(homeserver_port)
    await proxy.start()

    city = await RunningCity.make(
        tmp_path / "city",
        sqlite_url,
        synapse,
        homeserver={"port": homeserver_port},
        settings={"homeserver.address": proxy.url},
        agents=AGENTS.format(picture=picture),
    )
    try:
        await city.start()
        first = _changes(proxy)
        assert sum("/join" in path for path in first) >= (COUNT + 1) * 2
        # The picture of daarwizz, and what the service draws: the other agents, 3 rooms, the space, the bot and the observer.
        assert sum("/media/v3/upload" in path for path in first) == 1 + COUNT + 3 + 3
        profile = await _profile(city)
        assert profile["displayname"] == "DAARWIZZ"
        assert profile["avatar_url"].startswith("mxc://city.localhost/")

        await _restart(city, proxy)
        assert _changes(proxy) == ["/_matrix/client/v1/appservice/daarion/ping", *_bot_looks_in(proxy)]

        picture.write_bytes(_png(b"\xff\x80\x10"))
        city.config.write_text(city.config.read_text().replace(f"Agent {COUNT - 1}", "Останній"))
        await _restart(city, proxy)
        changed = [
            path for path in _changes(proxy) if "/profile/" in path or "/media/v3/upload" in path or "/register" in path
        ]
        assert sorted(path.rpartition("/")[2].partition("?")[0] for path in changed) == [
            "avatar_url",
            "avatar_url",
            "displayname",
            "upload",
            "upload",
        ]
        assert (await _profile(city))["avatar_url"] != profile["avatar_url"]
    finally:
        await city.close()
        await proxy.stop()


async def _restart(city: RunningCity, proxy: HttpProxy) -> None:
    await city.service.stop()
    proxy.passed.clear()
    city.service.start()
    await city.ready()


def _changes(proxy: HttpProxy) -> list[str]:
    """Everything that was asked for and is not a mere question."""
    return [
        passed.path for passed in proxy.passed if passed.method != "GET" and not passed.path.endswith("/keys/query")
    ]


def _bot_looks_in(proxy: HttpProxy) -> list[str]:
    """The bot's own joins of the space and the rooms, which make sure that it is still there."""
    return [path for path in _changes(proxy) if path.startswith("/_matrix/client/v3/join/")][:4]


async def _profile(city: RunningCity) -> dict[str, Any]:
    user = "@agent_daarwizz:city.localhost"

    async def looks_like_something() -> dict[str, Any] | None:
        status, profile = await city.call("GET", f"/_matrix/client/v3/profile/{user}", url=city.homeserver.url)
        assert status == 200, profile
        return profile if "avatar_url" in profile else None

    profile = await eventually(looks_like_something)
    assert profile is not None
    return profile


def _png(colour: bytes) -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + colour))
        + chunk(b"IEND", b"")
    )
