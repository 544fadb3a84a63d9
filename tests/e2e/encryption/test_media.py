"""Encrypted files in both directions: what a person sends to an agent, and what the agent sends."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest

from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, EncryptedCity
from tests.parts.media_harness import picture

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def upload(city: EncryptedCity, content: bytes, name: str, mimetype: str) -> str:
    """Upload a file as the agent."""
    headers = {"Authorization": f"Bearer {await city.agent_token('daarwizz')}", "Content-Type": mimetype}
    url = f"{city.city.api_url}/city/media"
    async with city.city.session.post(
        url, params={"filename": name}, data=io.BytesIO(content), headers=headers
    ) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["mxc"])


async def post(city: EncryptedCity, room: str, content: dict[str, Any]) -> None:
    """Post a message of the agent in its chat."""
    chat = await city.chat(room)
    await city.city.post(f"/city/rooms/{chat}/messages", content, token=await city.agent_token("daarwizz"))


async def received_image(city: EncryptedCity, question: str) -> bytes:
    """Return the picture that the core received with a question."""

    async def request() -> Any:
        return next((each for each in city.core.requests if question in each.content["input"]), None)

    found = await eventually(request, 60)
    assert found is not None
    (attachment,) = found.content["context"]["attachments"]
    return base64.b64decode(attachment["data_url"].partition(",")[2])


async def test_picture_of_nio_reaches_the_agent(city: EncryptedCity) -> None:
    mia = await city.arrive(city.city, "mia")
    room = await mia.open_chat(DAARWIZZ)
    await city.ask(mia, room, "Глянеш?")
    png = picture("PNG", 64, 48)
    await mia.send_file(room, png, "кіт.png", "image/png", msgtype="m.image")
    assert await received_image(city, "кіт.png") == png
    message = next(each for each in await city.messages(room) if each.media is not None)
    assert message.media is not None
    assert (message.media.filename, message.media.size) == ("кіт.png", len(png))
    city.check_encrypted(room)


async def test_files_of_the_agent_are_read_by_nio(city: EncryptedCity) -> None:
    max_ = await city.arrive(city.city, "max")
    room = await max_.open_chat(DAARWIZZ)
    await city.ask(max_, room, "Маєш щось?")
    files = {"кіт.png": (picture("PNG", 80, 60), "image/png"), "нотатки.txt": ("так".encode() * 1000, "text/plain")}
    for name, (content, mimetype) in files.items():
        mxc = await upload(city, content, name, mimetype)
        await post(city, room, {"media": mxc, "body": f"Ось {name}"})
        event = await max_.wait_for_text(f"Ось {name}", room_id=room)
        assert (event["encrypted"], event["content"]["filename"]) == (True, name)
        assert "url" not in event["content"]
        assert event["content"]["file"]["url"] != mxc
        assert await max_.read_file(event) == content
    city.check_encrypted(room, texts=["Ось", "нотатки"])


async def test_files_of_js_sdk_and_agent_are_read(city: EncryptedCity) -> None:
    myron = await city.arrive_by_js_sdk(city.city, "myron", encryption=True)
    room = await myron.create_room(direct_with=DAARWIZZ, encrypted=True)
    await city.ask_by_js_sdk(myron, room, "Глянеш?")
    png = picture("PNG", 40, 40)
    file = await myron.upload_file(png)
    info = {"mimetype": "image/png", "size": len(png), "w": 40, "h": 40}
    content = {"msgtype": "m.image", "body": "пес.png", "file": file, "info": info}
    await myron.send(room, "m.room.message", content)
    assert await received_image(city, "пес.png") == png
    mxc = await upload(city, b"an answer", "a.txt", "text/plain")
    await post(city, room, {"media": mxc, "body": "Тримай"})
    event = await myron.wait_for({"content": {"body": "Тримай"}}, room_id=room)
    assert await myron.download_file(event["content"]["file"]) == b"an answer"
    assert await myron.shield(room, event["event_id"]) == {"colour": "NONE", "reason": None}


async def test_voice_message_and_broken_file_are_read(city: EncryptedCity) -> None:
    mark = await city.arrive(city.city, "mark")
    room = await mark.open_chat(DAARWIZZ)
    voice = {
        "org.matrix.msc3245.voice": {},
        "org.matrix.msc1767.audio": {"duration": 3000, "waveform": [0, 512, 1024]},
    }
    await mark.send_file(room, b"OggS" + bytes(500), "Voice.ogg", "audio/ogg", msgtype="m.audio", **voice)
    # Its key is that of another file.
    await mark.send_file(room, picture("PNG", 20, 20), "справжня.png", "image/png", msgtype="m.image")
    sent = await mark.wait_for_text("справжня.png")
    wrong = sent["content"]["file"] | {"hashes": {"sha256": base64.b64encode(bytes(32)).decode().rstrip("=")}}
    await mark.send_text(room, "підроблена.png", "m.image", {"file": wrong, "info": {"mimetype": "image/png"}})
    await city.ask(mark, room, "Що скажеш?")
    media = {each.media.filename: each.media for each in await city.messages(room) if each.media is not None}
    assert (media["Voice.ogg"].is_voice, media["Voice.ogg"].duration_ms) == (True, 3000)
    request = next(each for each in city.core.requests if "підроблена.png" in each.content["input"])
    assert request.content["context"]["attachments"][0]["data_url"] is None
