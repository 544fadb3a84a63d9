"""Messages with files: their fields, types and inline images."""

from __future__ import annotations

from urllib.parse import quote

from tests.parts.fake_media_repository import SERVER
from tests.parts.gallery import HTML, Gallery, picture


async def test_image_message_has_documented_fields(gallery: Gallery) -> None:
    answer = await gallery.upload(picture("JPEG", 64, 48), "image/jpeg", query=f"?filename={quote('кіт мій.jpg')}")
    mxc = answer.content["mxc"]
    path = f"/city/media/{SERVER}/{mxc.rpartition('/')[2]}"
    shown = {
        "mxc": mxc,
        "url": path,
        "thumbnail_url": f"{path}/thumbnail?width=800&height=600&method=scale",
        "mimetype": "image/jpeg",
        "filename": "кіт мій.jpg",
        "size": len(gallery.keeper.files["file0"][0]),
        "width": 64,
        "height": 48,
        "duration_ms": None,
    }
    assert (answer.status, answer.content) == (201, shown)
    request = gallery.keeper.uploads[0]
    assert request.query == {"user_id": "@citizen_u_1:city.localhost", "filename": "кіт мій.jpg"}
    assert request.content_type == "image/jpeg"

    without = (await gallery.post(media=mxc)).content
    assert (without["body"], without["formatted_body"], without["msgtype"]) == ("кіт мій.jpg", None, "m.image")
    captioned = (await gallery.post(media=mxc, body="**Мурчик**", msgtype="m.notice")).content
    assert captioned["body"] == "**Мурчик**"
    assert captioned["formatted_body"] == "<strong>Мурчик</strong>"
    assert captioned["msgtype"] == "m.image"
    assert [message["media"] for message in await gallery.town.get("/city/rooms/general/messages")] == [shown, shown]


async def test_message_without_media_needs_body(gallery: Gallery) -> None:
    answer = await gallery.post()
    assert (answer.status, answer.content["code"]) == (422, "message_empty")


async def test_executable_types_are_stored_as_octet_stream(gallery: Gallery) -> None:
    for mimetype, content in (("text/html", HTML), ("image/svg+xml", b"<svg onload='x'/>"), ("text/javascript", b"x")):
        message = await gallery.posted(content, mimetype)
        assert (message["msgtype"], message["media"]["mimetype"]) == ("m.file", "application/octet-stream")
        assert gallery.keeper.uploads[-1].content_type == "application/octet-stream"


async def test_inline_images_have_city_urls(gallery: Gallery) -> None:
    html = f'<img data-mx-emoticon src="{gallery.keeps("smile")}" alt=":)" height="32"> mxc://{SERVER}/smile'
    content = {"msgtype": "m.text", "body": ":)", "format": "org.matrix.custom.html", "formatted_body": html}
    await gallery.comes("m.room.message", content)
    shown = (await gallery.last_message())["formatted_body"]
    assert f'<img src="/city/media/{SERVER}/smile" alt=":)" height="32"> mxc://' in shown
