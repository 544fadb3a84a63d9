"""Key bundles that wait for the invitation of their chat."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from daarion_appservice.city.types import AgentSlug, MatrixRoomId, Room, RoomId, UserId
from daarion_appservice.encryption.key_bundles import BundleReference
from daarion_appservice.matrix.encryption.key_bundles import KeyBundles

ALICE, MALLORY, SCRIBE = "@alice:city", "@mallory:city", UserId("@agent_scribe:city")
FILE = {
    "v": "v2",
    "url": "mxc://city/bundle",
    "key": {"kty": "oct", "alg": "A256CTR", "k": "A" * 43},
    "iv": "A" * 22,
    "hashes": {"sha256": "A" * 43},
}


class Downloads:
    """A media repository that records what is downloaded, and has nothing."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def __call__(self, url: str, _max_bytes: int) -> bytes | None:
        self.urls.append(url)
        await asyncio.sleep(0)
        return None


def key_bundles(download: Downloads) -> KeyBundles:
    nothing = cast("Any", None)
    return KeyBundles(nothing, nothing, nothing, nothing, download, lambda: 0, on_new_sessions=lambda: None)


def bundle(sender: str, room: str, file: str = "bundle") -> BundleReference:
    return BundleReference(UserId(sender), MatrixRoomId(room), FILE | {"url": f"mxc://city/{file}"})


def chat(inviter: str, room: str) -> Room:
    agent = AgentSlug("scribe")
    return Room(RoomId("r"), "r", inviter, "", False, False, 0, agent=agent, matrix_room_id=MatrixRoomId(room))


async def test_a_flood_of_bundles_displaces_no_other() -> None:
    download = Downloads()
    bundles = key_bundles(download)
    bundles.add(SCRIBE, bundle(ALICE, "!alice"))
    for number in range(200):
        bundles.add(SCRIBE, bundle(MALLORY, f"!{number}"))

    await bundles.import_for(chat(ALICE, "!alice"))

    assert download.urls == ["mxc://city/bundle"]


async def test_only_the_newest_bundle_of_a_room_is_read() -> None:
    download = Downloads()
    bundles = key_bundles(download)
    for number in range(20):
        bundles.add(SCRIBE, bundle(ALICE, "!alice", f"{number}"))

    await bundles.import_for(chat(ALICE, "!alice"))

    assert download.urls == ["mxc://city/19"]


async def test_bundles_are_imported_once_by_two_tasks() -> None:
    download = Downloads()
    bundles = key_bundles(download)
    for sender in (ALICE, ALICE, MALLORY):
        bundles.add(SCRIBE, bundle(sender, "!alice", sender[1:4]))

    await asyncio.gather(*(bundles.import_for(chat(ALICE, "!alice")) for _ in range(3)))

    assert download.urls == ["mxc://city/ali"]
