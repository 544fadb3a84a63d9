"""Signed and unsigned links of files, for clients without a token."""

from __future__ import annotations

from html import unescape
from urllib.parse import parse_qsl

from daarion_appservice.city.media_links import MediaLinks
from tests.parts.fake_media_repository import SERVER
from tests.parts.media_harness import ALICE, TARAS, MediaHarness, media_harness


async def linked(harness: MediaHarness, address: str) -> int:
    async with harness.city.session.get(harness.url + address) as answer:
        return answer.status


async def test_signed_link_of_a_message_needs_no_token(sqlite_url: str) -> None:
    async with media_harness(sqlite_url, api={"anonymous_read": False}) as harness:
        html = f'<img src="mxc://{SERVER}/inline" alt="x">'
        for name in ("inline", "face"):
            harness.store_file(name)
        await harness.receive(
            "m.room.member",
            {"membership": "join", "displayname": "Alice", "avatar_url": f"mxc://{SERVER}/face"},
            state_key=ALICE,
        )
        event = await harness.receive_file("cat")
        await harness.receive(
            "m.room.message",
            {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html},
        )
        *_, cat, text = await harness.city.get("/city/rooms/general/messages", token=TARAS)
        inline = unescape(text["formatted_body"].split('src="')[1].split('"')[0])
        links = [cat["media"]["url"], inline, cat["author"]["avatar_url"]]
        assert [await linked(harness, each) for each in links] == [200, 200, 200]
        assert await linked(harness, cat["media"]["url"].replace("?", "/thumbnail?")) == 200

        query = cat["media"]["url"].partition("?")[2]
        for wrong in (
            f"/city/media/{SERVER}/cat",
            f"/city/media/{SERVER}/inline?{query}",
            f"/city/media/{SERVER}/cat?{query}x",
            f"/city/media/{SERVER}/cat?{query.replace('expires=', 'expires=1')}",
            f"/city/media/{SERVER}/cat?expires=99999999999&signature=%ff",
        ):
            assert await linked(harness, wrong) == 401, wrong
        await harness.receive("m.room.redaction", {"redacts": event})
        assert await linked(harness, cat["media"]["url"]) == 401


async def test_public_files_have_unsigned_links(harness: MediaHarness) -> None:
    await harness.receive_file("cat")
    assert (await harness.last_message())["media"]["url"] == f"/city/media/{SERVER}/cat"


def test_signed_link_ends_after_12_to_24_hours() -> None:
    hour_ms, now_ms = 3_600_000, [0]
    links = MediaLinks("secret", lambda: now_ms[0], all_are_private=False)
    assert links.query("mxc://a/b", is_private=False) == ""
    for made_at in (0, 7, 11.9):
        now_ms[0] = int(made_at * hour_ms)
        query = dict(parse_qsl(links.query("mxc://a/b", is_private=True)))
        now_ms[0] += 12 * hour_ms
        assert links.is_good("mxc://a/b", query["expires"], query["signature"])
        now_ms[0] += 12 * hour_ms
        assert not links.is_good("mxc://a/b", query["expires"], query["signature"])
