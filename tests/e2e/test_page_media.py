"""Images, audio and files from Matrix on the page of a room, with a real Synapse and a real browser."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any, Final

import nio
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Page, expect

from tests.parts.browser import Browser, start_browser, until_at_bottom
from tests.parts.city import RunningCity, citizen_token, shared_city
from tests.parts.matrix_user import MatrixUser

pytestmark = pytest.mark.asyncio(loop_scope="module")

OKSANA: Final = citizen_token("u_1", "Оксана")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCity]:
    async with shared_city(tmp_path_factory.mktemp("page_media")) as city:
        for number in range(40):
            await city.post("/city/rooms/general/messages", {"body": f"рядок {number}"}, token=OKSANA)
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(city: RunningCity) -> AsyncIterator[MatrixUser]:
    person = await MatrixUser.arrive(city.homeserver, "alice")
    yield person
    await person.leave()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(city: RunningCity) -> AsyncIterator[Page]:
    """The page of the room for an anonymous reader."""
    async with start_browser() as browser:
        reader: Browser = await browser.other_profile(locale="en-US", viewport={"width": 1280, "height": 720})
        yield (await reader.open(f"{city.api_url}/city/general")).page


@pytest_asyncio.fixture(loop_scope="module")
async def room(alice: MatrixUser) -> str:
    return await alice.join("#city_general:city.localhost")


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 80).convert("RGB").save(file, kind)
    return file.getvalue()


async def send_file(
    alice: MatrixUser, room: str, content: bytes, mimetype: str, name: str, msgtype: str, **info: Any
) -> None:
    """A message about a file, as a Matrix client sends it."""
    answer, _ = await alice.client.upload(
        io.BytesIO(content), content_type=mimetype, filename="file", filesize=len(content)
    )
    assert isinstance(answer, nio.UploadResponse), answer
    more = {"url": answer.content_uri, "info": {"mimetype": mimetype, "size": len(content), **info}}
    await alice.send_text(room, name, msgtype, more)


async def test_picture_arriving_at_bottom_keeps_following(page: Page, alice: MatrixUser, room: str) -> None:
    log = page.get_by_role("log")
    await expect(log.get_by_text("рядок 39")).to_be_visible()
    for number, size in enumerate([{}, {"w": 600, "h": 500}, {"w": 300, "h": 1200}, {}]):
        name = f"photo-{number}.png"
        await send_file(alice, room, picture(600, 500), "image/png", name, "m.image", **size)
        shown = log.get_by_role("button", name=name).locator("img")
        await expect(shown).to_have_js_property("complete", True)
        await until_at_bottom(page)
        await alice.send_text(room, f"after {number}")
        await expect(log.get_by_text(f"after {number}")).to_be_in_viewport()
        await expect(page.get_by_role("main").get_by_role("button", name="new")).to_have_count(0)


@pytest.mark.parametrize(
    ("mimetype", "msgtype", "name"),
    [
        ("image/svg+xml", "m.image", "drawing.svg"),
        ("image/heic", "m.image", "photo.heic"),
        ("image/png", "m.image", "damaged.png"),
        ("image/x-unknown", "m.image", "scan.xyz"),
        ("audio/ogg", "m.audio", "voice.ogg"),
        ("audio/x-unknown", "m.audio", "voice.xyz"),
        ("video/mp4", "m.video", "clip.mp4"),
        ("video/x-matroska", "m.video", "clip.mkv"),
        ("application/octet-stream", "m.image", "untyped.png"),
        ("application/octet-stream", "m.audio", "untyped.ogg"),
        ("application/octet-stream", "m.video", "untyped.mp4"),
    ],
)
async def test_unsupported_media_is_offered_for_download(
    page: Page, alice: MatrixUser, room: str, mimetype: str, msgtype: str, name: str
) -> None:
    await send_file(alice, room, b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 32, mimetype, name, msgtype)
    link = page.get_by_role("log").get_by_role("link", name=f"Download {name}")
    await expect(link).to_be_visible()
    await expect(link).to_contain_text("1.3 kB")
    assert await link.get_attribute("download") == name


async def test_picture_without_a_media_type_is_shown(page: Page, alice: MatrixUser, room: str) -> None:
    content = picture(60, 50)
    answer, _ = await alice.client.upload(
        io.BytesIO(content), content_type="image/png", filename="file", filesize=len(content)
    )
    assert isinstance(answer, nio.UploadResponse), answer
    await alice.send_text(room, "photo-untyped.png", "m.image", {"url": answer.content_uri})
    shown = page.get_by_role("log").get_by_role("button", name="photo-untyped.png").locator("img")
    await expect(shown).to_have_js_property("naturalWidth", 60)


async def test_filename_with_bidi_override_is_literal(page: Page, alice: MatrixUser, room: str) -> None:
    await send_file(alice, room, b"MZ" * 3, "application/octet-stream", "N\u202egpj.exe", "m.file")
    link = page.get_by_role("log").get_by_role("link", name="Download Ngpj.exe")
    await expect(link).to_contain_text("Ngpj.exe")
    await expect(link).to_contain_text("6 bytes")
    assert await link.get_attribute("download") == "Ngpj.exe"
