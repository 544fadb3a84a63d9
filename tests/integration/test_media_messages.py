"""Messages with files: their fields, types and inline images."""

from __future__ import annotations

from urllib.parse import quote

from tests.parts.fake_media_repository import SERVER
from tests.parts.media_harness import HTML, MediaHarness, picture


async def test_image_message_has_documented_fields(harness: MediaHarness) -> None:
    answer = await harness.upload(picture("JPEG", 64, 48), "image/jpeg", query=f"?filename={quote('кіт мій.jpg')}")
    mxc = answer.content["mxc"]
    path = f"/city/media/{SERVER}/{mxc.rpartition('/')[2]}"
    shown = {
        "mxc": mxc,
        "url": path,
        "thumbnail_url": f"{path}/thumbnail?width=800&height=600&method=scale",
        "mimetype": "image/jpeg",
        "filename": "кіт мій.jpg",
        "size": len(harness.repository.files["file0"][0]),
        "width": 64,
        "height": 48,
        "duration_ms": None,
        "voice": False,
        "waveform": [],
        "sticker": False,
    }
    assert (answer.status, answer.content) == (201, shown)
    request = harness.repository.uploads[0]
    assert request.query == {"user_id": "@citizen_u_1:city.localhost", "filename": "кіт мій.jpg"}
    assert request.content_type == "image/jpeg"

    without = (await harness.post(media=mxc)).content
    assert (without["body"], without["formatted_body"], without["msgtype"]) == ("кіт мій.jpg", None, "m.image")
    captioned = (await harness.post(media=mxc, body="**Мурчик**", msgtype="m.notice")).content
    assert captioned["body"] == "**Мурчик**"
    assert captioned["formatted_body"] == "<strong>Мурчик</strong>"
    assert captioned["msgtype"] == "m.image"
    assert [message["media"] for message in await harness.city.get("/city/rooms/general/messages")] == [shown, shown]


async def test_message_without_media_needs_body(harness: MediaHarness) -> None:
    answer = await harness.post()
    assert (answer.status, answer.content["code"]) == (422, "message_empty")


async def test_executable_types_are_stored_as_octet_stream(harness: MediaHarness) -> None:
    for mimetype, content in (("text/html", HTML), ("image/svg+xml", b"<svg onload='x'/>"), ("text/javascript", b"x")):
        message = await harness.post_file(content, mimetype)
        assert (message["msgtype"], message["media"]["mimetype"]) == ("m.file", "application/octet-stream")
        assert harness.repository.uploads[-1].content_type == "application/octet-stream"


async def test_inline_images_have_city_urls(harness: MediaHarness) -> None:
    html = f'<img data-mx-emoticon src="{harness.store_file("smile")}" alt=":)" height="32"> mxc://{SERVER}/smile'
    content = {"msgtype": "m.text", "body": ":)", "format": "org.matrix.custom.html", "formatted_body": html}
    await harness.receive("m.room.message", content)
    shown = (await harness.last_message())["formatted_body"]
    assert f'<img src="/city/media/{SERVER}/smile" alt=":)" data-mx-emoticon="" height="32"> mxc://' in shown
