"""Files between the city and Element, over a real Synapse."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import nio
import pytest
from PIL import Image

from tests.parts.city import RunningCity, StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.synapse import SERVER_NAME

GENERAL = f"#city_general:{SERVER_NAME}"
OKSANA = citizen_token("u_1", "Оксана")
TARAS = citizen_token("u_2", "Тарас")


def picture(kind: str, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 80).save(file, kind)
    return file.getvalue()


async def get(city: RunningCity, path: str, token: str | None = None) -> tuple[int, bytes, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with city.session.get(city.api_url + path, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def upload(
    city: RunningCity, content: bytes, mimetype: str, name: str, *, token: str = OKSANA
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": mimetype}
    url = f"{city.api_url}/city/media"
    async with city.session.post(url, params={"filename": name}, data=io.BytesIO(content), headers=headers) as answer:
        return answer.status, await answer.json()


async def matrix_upload(person: MatrixUser, content: bytes, mimetype: str, name: str) -> str:
    answer, _ = await person.client.upload(
        io.BytesIO(content), content_type=mimetype, filename=name, filesize=len(content)
    )
    assert isinstance(answer, nio.UploadResponse), answer
    return str(answer.content_uri)


async def shown(city: RunningCity, body: str) -> dict[str, Any]:
    """The message of the city that says so."""

    async def is_there() -> dict[str, Any] | None:
        messages = await city.get("/city/rooms/general/messages")
        return next((message for message in messages if message["body"] == body), None)

    message = await eventually(is_there)
    assert message is not None
    return message


def path_of(mxc: str) -> str:
    return "/city/media/" + mxc.removeprefix("mxc://")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_files_go_both_ways_and_no_more_are_fetched(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city(homeserver={"overrides": {"max_upload_size": "2M"}})
    alice = await arrive(city, "alice")
    room_id = await alice.join(GENERAL)

    # From the city to Element.
    png = picture("PNG", 900, 700)
    status, brought = await upload(city, png, "image/png", "кіт.png")
    assert (status, brought["size"], brought["width"], brought["height"]) == (201, len(png), 900, 700)
    assert [(await get(city, brought["url"], token))[0] for token in (None, TARAS)] == [404, 404]
    await city.post("/city/rooms/general/messages", {"media": brought["mxc"], "body": "Мурчик"}, token=OKSANA)
    event = await alice.wait_for_event(lambda event: event["content"].get("body") == "Мурчик")
    assert event["sender"] == f"@citizen_u_1:{SERVER_NAME}"
    content = event["content"]
    assert (content["msgtype"], content["filename"], content["url"]) == ("m.image", "кіт.png", brought["mxc"])
    assert content["info"] == {"mimetype": "image/png", "size": len(png), "w": 900, "h": 700}
    downloaded = await alice.client.download(content["url"])
    assert isinstance(downloaded, nio.DownloadResponse), downloaded
    assert (downloaded.body, downloaded.content_type, downloaded.filename) == (png, "image/png", "кіт.png")

    # From Element to the city.
    jpeg = picture("JPEG", 1200, 900)
    mxc = await matrix_upload(alice, jpeg, "image/jpeg", "фунікулер.jpg")
    assert (await get(city, path_of(mxc)))[0] == 404, "it is in no room yet"
    info = {"mimetype": "image/jpeg", "size": len(jpeg), "w": 1200, "h": 900}
    event_id = await alice.send_text(room_id, "фунікулер.jpg", "m.image", {"url": mxc, "info": info})
    message = await shown(city, "фунікулер.jpg")
    assert (message["msgtype"], message["media"]["width"], message["media"]["mxc"]) == ("m.image", 1200, mxc)
    status, given, headers = await get(city, message["media"]["url"])
    assert (status, given == jpeg, headers["Content-Type"]) == (200, True, "image/jpeg")
    assert headers["Content-Disposition"].endswith(
        "filename*=UTF-8''%D1%84%D1%83%D0%BD%D1%96%D0%BA%D1%83%D0%BB%D0%B5%D1%80.jpg"
    )
    for tail, size in (("?width=1&height=1&method=crop", (32, 32)), ("?width=400", (640, 480)), ("", (320, 240))):
        status, given, _ = await get(city, f"{message['media']['url']}/thumbnail{tail}")
        assert (status, Image.open(io.BytesIO(given)).size) == (200, size)
    status, given, _ = await get(city, message["media"]["thumbnail_url"])
    assert (status, Image.open(io.BytesIO(given)).size) == (200, (800, 600))

    # A picture of hers, and a page that calls itself a picture.
    face = await matrix_upload(alice, picture("PNG", 64, 64), "image/png", "face.png")
    await alice.client.set_avatar(face)
    page = b"<script>alert(1)</script>"
    page_mxc = await matrix_upload(alice, page, "image/png", "page.png")
    await alice.send_text(room_id, "page.png", "m.image", {"url": page_mxc})
    url = (await shown(city, "page.png"))["media"]["url"]
    status, given, headers = await get(city, url)
    assert (status, given, headers["Content-Type"]) == (200, page, "application/octet-stream")
    assert headers["Content-Disposition"] == "attachment; filename=\"page.png\"; filename*=UTF-8''page.png"
    assert (await get(city, f"{url}/thumbnail"))[0] == 404
    await alice.send_text(room_id, "це я")
    avatar_url = (await shown(city, "це я"))["author"]["avatar_url"]
    assert avatar_url == path_of(face)
    assert (await get(city, avatar_url))[0] == 200

    # What is deleted is gone, in either direction.
    await alice.client.room_redact(room_id, event_id)
    path = f"/city/rooms/general/messages/{(await shown(city, 'Мурчик'))['id']}"
    assert (await city.call("DELETE", path, token=OKSANA))[0] == 200
    for gone in (path_of(mxc), brought["url"]):

        async def is_gone(gone: str = gone) -> bool:
            return (await get(city, gone))[0] == 404

        await eventually(is_gone)

    # What Synapse does not take, and what is not there.
    status, problem = await upload(city, b"x" * 2_200_000, "text/plain", "large.txt")
    assert (status, problem["code"]) == (413, "media_too_large")
    await alice.send_text(room_id, "no such", "m.image", {"url": f"mxc://{SERVER_NAME}/nosuchfile", "info": info})
    assert (await get(city, (await shown(city, "no such"))["media"]["url"]))[0] == 404

    # Many at once, and a homeserver that goes away.
    several = [picture("PNG", 300, 200) for _ in range(6)]
    brought_in = await asyncio.gather(*(upload(city, each, "image/png", "a.png") for each in several))
    assert [status for status, _ in brought_in] == [201] * 6
    back = await asyncio.gather(*(get(city, each["url"], OKSANA) for _, each in brought_in))
    assert [content for _, content, _ in back] == several
    city.homeserver.kill()
    status, problem = await upload(city, png, "image/png", "a.png")
    assert (status, problem["code"]) == (503, "homeserver_unavailable")
    assert (await get(city, brought_in[0][1]["url"], OKSANA))[0] == 503
