"""Tests of uploads, downloads and thumbnails, and of the translation of the homeserver's errors."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from daarion_appservice.city.media_links import MediaLinks
from daarion_appservice.city.types import RoomId, UserId
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.city import citizen_token, eventually
from tests.parts.fake_media_repository import SERVER, FakeMediaRepository, refused
from tests.parts.in_process_city import SERVICE_TOKEN, Answer, InProcessCity, in_process_city
from tests.parts.messaging import link
from tests.parts.ports import HOST

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
ALICE = "@alice:city.localhost"
GENERAL = RoomId("city_general")
HTML = b"<!doctype html><script>alert(1)</script>"


def picture(kind: str = "PNG", width: int = 40, height: int = 30) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 80).save(file, kind)
    return file.getvalue()


PNG = picture()


@dataclass
class Gallery:
    """An open city, and what keeps its files."""

    town: InProcessCity
    keeper: FakeMediaRepository
    _numbers: Iterator[int]

    async def upload(
        self,
        content: bytes = PNG,
        mimetype: str = "image/png",
        *,
        token: str | None = OKSANA,
        query: str = "?filename=a.png",
    ) -> Answer:
        return await self.town.call(
            "POST", f"/city/media{query}", token=token, body=content, headers={"Content-Type": mimetype}
        )

    async def post(self, *, token: str = OKSANA, **message: Any) -> Answer:
        return await self.town.call("POST", "/city/rooms/general/messages", message, token=token)

    async def posted(self, content: bytes = PNG, mimetype: str = "image/png", **message: Any) -> dict[str, Any]:
        """A message with a file that was brought in for it."""
        upload = await self.upload(content, mimetype)
        assert upload.status == 201, upload
        answer = await self.post(media=upload.content["mxc"], **message)
        assert answer.status == 201, answer
        posted: dict[str, Any] = answer.content
        return posted

    async def get(
        self, media_id: str, tail: str = "", *, token: str | None = None, server: str = SERVER, **headers: str
    ) -> tuple[int, bytes, Any]:
        url = f"{self.url}/city/media/{server}/{media_id}{tail}"
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        async with self.town.session.get(url, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers

    async def status(self, media_id: str, tail: str = "", *, token: str | None = None) -> int:
        return (await self.get(media_id, tail, token=token))[0]

    async def problem(self, media_id: str, tail: str = "") -> tuple[int, str, str | None]:
        """Status, code and when to come back."""
        path = f"/city/media/{SERVER}/{media_id}{tail}"
        answer = await self.town.call("GET", path)
        return answer.status, answer.content["code"], answer.headers.get("Retry-After")

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.town.city.settings.api.port}"

    def keeps(self, media_id: str, content: bytes = PNG, content_type: str = "image/png") -> str:
        """The homeserver has a file; nobody in the city has heard of it."""
        self.keeper.files[media_id] = (content, content_type)
        return f"mxc://{SERVER}/{media_id}"

    async def comes(self, event_type: str, content: Any, **more: Any) -> str:
        """An event from Matrix; returns its id."""
        event_id = f"$event{next(self._numbers)}"
        event = {
            "type": event_type,
            "room_id": "!general",
            "event_id": event_id,
            "sender": ALICE,
            "origin_server_ts": 1_700_000_000_000,
            "content": content,
        } | more
        async with self.town.city.database.transaction() as tx:
            await self.town.city.handlers.handle(tx, event)
        return event_id

    async def shows(self, media_id: str, content: bytes = PNG, content_type: str = "image/png") -> str:
        """Somebody on Matrix posts such a file; returns the event's id."""
        mxc = self.keeps(media_id, content, content_type)
        return await self.comes("m.room.message", {"msgtype": "m.file", "body": "a", "url": mxc})

    async def last_message(self) -> dict[str, Any]:
        message: dict[str, Any] = (await self.town.get("/city/rooms/general/messages"))[-1]
        return message


@asynccontextmanager
async def gallery_on(database_url: str, **sections: dict[str, Any]) -> AsyncIterator[Gallery]:
    keeper = FakeMediaRepository()
    async with (
        keeper.serving(),
        in_process_city(database_url, homeserver={"address": keeper.url}, **sections) as town,
    ):
        town.city.monitor.found()
        async with town.city.database.transaction() as tx:
            await link(tx, GENERAL, "!general")
        yield Gallery(town, keeper, count(1))


@pytest.fixture
async def gallery(sqlite_url: str) -> AsyncIterator[Gallery]:
    async with gallery_on(sqlite_url) as gallery:
        yield gallery


# --- what may be fetched ----------------------------------------------------------------------------------


async def test_download_only_of_files_in_messages_or_avatars(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        for number in range(4):
            gallery.keeps(f"file{number}")
        assert {await gallery.status(f"file{number}") for number in range(4)} == {404}
        assert gallery.keeper.asked == [], "nobody was asked on a stranger's behalf"

        info = {"thumbnail_url": f"mxc://{SERVER}/file1"}
        image = {"msgtype": "m.image", "body": "a", "url": f"mxc://{SERVER}/file0", "info": info}
        html = f'<b>x</b><img src="mxc://{SERVER}/file2" alt="x">'
        text = {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html}
        event_id = await gallery.comes("m.room.message", image)
        await gallery.comes("m.room.message", text)
        member = {"membership": "join", "displayname": "Alice", "avatar_url": f"mxc://{SERVER}/file3"}
        await gallery.comes("m.room.member", member, state_key=ALICE)

        assert [await gallery.status(f"file{number}") for number in range(4)] == [200] * 4
        assert await gallery.status("file0", "/thumbnail") == 200

        await gallery.comes("m.room.redaction", {"redacts": event_id})
        assert [await gallery.status(f"file{number}") for number in range(4)] == [404, 404, 200, 200]
        assert await gallery.status("file0", "/thumbnail") == 404


async def test_former_avatar_of_author_stays_readable(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        for name in ("before", "after"):
            gallery.keeps(name)
            member = {"membership": "join", "avatar_url": f"mxc://{SERVER}/{name}"}
            await gallery.comes("m.room.member", member, state_key=ALICE)
            await gallery.comes("m.room.message", {"msgtype": "m.text", "body": name})
        await gallery.comes("m.room.member", {"membership": "leave"}, state_key=ALICE)

        messages = await gallery.town.get("/city/rooms/general/messages")
        urls = [message["author"]["avatar_url"] for message in messages]
        assert urls == [f"/city/media/{SERVER}/before", f"/city/media/{SERVER}/after"]
        assert [await gallery.status(name) for name in ("before", "after")] == [200, 200]


async def test_avatar_of_agent_is_readable_everywhere(gallery: Gallery) -> None:
    mxc = gallery.keeps("scribe")
    town, user = gallery.town, UserId("@agent_scribe:city.localhost")
    async with town.city.database.transaction() as tx:
        await tx.ghosts.put(Ghost(user, "Писар", avatar_mxc=mxc))
    token, picture_url = await town.agent_token("scribe"), f"/city/media/{SERVER}/scribe"

    assert (await town.call("POST", "/city/rooms/general/join", token=token)).status == 200
    said = await gallery.post(token=token, body="Записано")
    assert said.content["author"]["avatar_url"] == picture_url
    assert await gallery.status("scribe") == 200
    await town.call("POST", "/api/v1/agents/scribe/heartbeat", {}, token=token)
    (member,) = (await town.get("/city/rooms/general"))["online_members"]
    assert (member["id"], member["avatar_url"]) == ("scribe", picture_url)


async def test_file_of_deleted_message_readable_if_reused(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        first = await gallery.shows("cat")
        second = await gallery.shows("cat")
        await gallery.comes("m.room.redaction", {"redacts": first})
        assert await gallery.status("cat") == 200
        await gallery.comes("m.room.redaction", {"redacts": second})
        assert await gallery.status("cat") == 404


async def test_edit_removes_former_file(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        event_id = await gallery.shows("cat")
        new = {"msgtype": "m.image", "body": "dog", "url": gallery.keeps("dog")}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        await gallery.comes("m.room.message", new | {"m.new_content": new, "m.relates_to": relation})
        assert (await gallery.last_message())["media"]["mxc"] == f"mxc://{SERVER}/dog"
        assert [await gallery.status("cat"), await gallery.status("dog")] == [404, 200]


async def test_upload_is_private_until_posted(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        upload = (await gallery.upload()).content
        path = upload["mxc"].rpartition("/")[2]
        assert [await gallery.status(path, token=token) for token in (None, TARAS, SERVICE_TOKEN, OKSANA)] == [
            404,
            404,
            404,
            200,
        ]
        status, _, headers = await gallery.get(path, token=OKSANA)
        assert headers["Cache-Control"].startswith("private, ")

        refused = await gallery.post(token=TARAS, media=upload["mxc"], body="моє!")
        assert (refused.status, refused.content["code"]) == (404, "no_such_media")
        unknown = await gallery.post(media=gallery.keeps("elsewhere"))
        assert (unknown.status, unknown.content["code"]) == (404, "no_such_media")

        message = (await gallery.post(media=upload["mxc"])).content
        assert await gallery.status(path) == 200
        status, _, headers = await gallery.get(path, token=OKSANA)
        assert (status, headers["Cache-Control"].partition(",")[0]) == (200, "public")

        deleted = f"/city/rooms/general/messages/{message['id']}"
        assert (await gallery.town.call("DELETE", deleted, token=OKSANA)).status == 200
        assert [await gallery.status(path, token=token) for token in (None, TARAS, OKSANA)] == [404, 404, 200]


async def test_markdown_image_does_not_publish_foreign_file(gallery: Gallery) -> None:
    mxc = gallery.keeps("secret")
    await gallery.post(body=f'![x]({mxc}) <img src="{mxc}"> **{mxc}**')
    assert await gallery.status("secret") == 404


async def test_encrypted_file_is_not_downloadable(gallery: Gallery) -> None:
    mxc = gallery.keeps("sealed")
    await gallery.comes("m.room.message", {"msgtype": "m.image", "body": "a.png", "file": {"url": mxc, "v": "v2"}})
    message = await gallery.last_message()
    assert (message["body"], message["msgtype"], message["media"]) == ("a.png", "m.text", None)
    assert await gallery.status("sealed") == 404


async def test_invalid_server_name_is_404_without_request(gallery: Gallery) -> None:
    for server in ("..", ".", "%2e%2e", "..%2f..", "city.localhost%2f..", "a%20b", "a%00", "%ff", "a" * 3000):
        for tail in ("", "/thumbnail"):
            answer = await gallery.town.call("GET", f"/city/media/{server}/cat{tail}")
            assert answer.status in {404, 422}, (server, answer)
    assert gallery.keeper.asked == []


async def test_anonymous_download_refused_without_anonymous_read(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, api={"anonymous_read": False}) as gallery:
        await gallery.shows("cat")
        assert [await gallery.status("cat", tail) for tail in ("", "/thumbnail")] == [401, 401]
        status, content, headers = await gallery.get("cat", token=TARAS)
        assert (status, content) == (200, PNG)
        assert headers["Cache-Control"].startswith("private, ")


# --- what is posted ---------------------------------------------------------------------------------------


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


# --- what is taken ----------------------------------------------------------------------------------------


async def test_upload_over_limit_is_refused_unread(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, media={"max_upload_bytes": 1000}) as gallery:
        answer = await gallery.upload(b"x" * 1001, "text/plain")
        assert (answer.status, answer.content["code"]) == (413, "media_too_large")
        assert answer.content["detail"] == "the file has 1001 bytes; the limit is 1000"
        assert (await gallery.upload(b"x" * 1000, "text/plain")).status == 201


async def test_upload_over_homeserver_limit_is_413(gallery: Gallery) -> None:
    gallery.keeper.max_upload_bytes = 100
    answer = await gallery.upload(b"x" * 101, "text/plain")
    assert (answer.status, answer.content["detail"]) == (413, "the file has 101 bytes; the limit is 100")
    assert gallery.keeper.asked == []


async def test_upload_limit_without_homeserver_limit(gallery: Gallery) -> None:
    gallery.keeper.max_upload_bytes = None
    assert (await gallery.upload(b"x" * 3_000_000, "text/plain")).status == 201
    assert len(gallery.keeper.files["file0"][0]) == 3_000_000


async def test_upload_with_wrong_content_type_is_415(gallery: Gallery) -> None:
    for content, mimetype, status, code in (
        (HTML, "image/png", 415, "media_type_wrong"),
        (PNG, "image/jpeg", 415, "media_type_wrong"),
        (PNG, "text/html", 415, "media_type_wrong"),
        (b"--x", "multipart/form-data; boundary=x", 415, "media_type_wrong"),
        (b"", "image/png", 422, "media_empty"),
    ):
        answer = await gallery.upload(content, mimetype)
        assert (answer.status, answer.content["code"]) == (status, code), mimetype
    assert gallery.keeper.uploads == []


async def test_allowed_types_limit_uploads(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, media={"allowed_types": ["image/*"]}) as gallery:
        assert (await gallery.upload()).status == 201
        answer = await gallery.upload(b"%PDF-1.7", "application/pdf")
        assert (answer.status, answer.content["code"]) == (415, "media_type_not_allowed")


async def test_upload_needs_content_length_and_no_encoding(gallery: Gallery) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield PNG

    headers = {"Authorization": f"Bearer {OKSANA}", "Content-Type": "image/png"}
    url = f"{gallery.url}/city/media"
    async with gallery.town.session.post(url, data=pieces(), headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (411, "media_size_unknown")
    packed = await gallery.town.call(
        "POST", "/city/media", token=OKSANA, body=PNG, headers={"Content-Type": "image/png", "Content-Encoding": "gzip"}
    )
    assert packed.content["code"] in {"media_size_unknown", "bad_request"}
    assert gallery.keeper.asked == []


@pytest.mark.parametrize("token", [None, SERVICE_TOKEN])
async def test_upload_is_for_citizens_and_agents_only(gallery: Gallery, token: str | None) -> None:
    assert (await gallery.upload(token=token)).status == (403 if token else 401)
    assert gallery.keeper.asked == []


async def test_agent_upload_is_sent_as_its_ghost(gallery: Gallery) -> None:
    token = await gallery.town.agent_token("scribe")
    upload = await gallery.upload(token=token)
    assert gallery.keeper.uploads[0].query["user_id"] == "@agent_scribe:city.localhost"
    assert (await gallery.post(token=token, media=upload.content["mxc"])).status == 201


async def test_upload_aborted_by_client_is_discarded(gallery: Gallery) -> None:
    port = gallery.town.city.settings.api.port
    _, writer = await asyncio.open_connection(HOST, port)
    head = f"POST /city/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OKSANA}\r\nContent-Type: text/plain\r\n"
    writer.write(f"{head}Content-Length: 300000\r\n\r\n".encode() + b"x" * 200_000)
    await writer.drain()

    async def is_asked() -> bool:
        return bool(gallery.keeper.asked)

    await eventually(is_asked)
    writer.transport.abort()
    assert (await gallery.upload()).status == 201, "the city goes on"
    assert list(gallery.keeper.files) == ["file0"]
    assert gallery.keeper.files["file0"][0] == PNG


# --- what is given ----------------------------------------------------------------------------------------


async def test_download_has_security_headers(gallery: Gallery) -> None:
    await gallery.shows("cat", content_type="text/html")
    status, content, headers = await gallery.get("cat")
    assert (status, content, headers["Content-Type"]) == (200, PNG, "image/png")
    assert headers["Content-Disposition"].startswith("inline;")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Cache-Control"] == "public, max-age=600, immutable"


async def test_other_types_are_attachments(gallery: Gallery) -> None:
    for content, called, given in (
        (HTML, "image/png", "application/octet-stream"),
        (HTML, "text/html; charset=utf-8", "application/octet-stream"),
        (HTML, "image/svg+xml", "application/octet-stream"),
        (b"a,b", "text/csv", "text/csv; charset=utf-8"),
        (b"%PDF-1.7", "application/pdf", "application/pdf"),
    ):
        await gallery.shows("file", content, called)
        status, answered, headers = await gallery.get("file")
        assert (status, answered, headers["Content-Type"]) == (200, content, given)
        assert headers["Content-Disposition"].startswith("attachment;")


async def test_content_disposition_encodes_filename(gallery: Gallery) -> None:
    await gallery.shows("file")

    async def named(_request: web.Request) -> web.Response:
        disposition = "inline; filename*=utf-8''%D0%BA%D1%96%D1%82%22%0D%0AX%3A%20y.png"
        return web.Response(body=PNG, headers={"Content-Type": "image/png", "Content-Disposition": disposition})

    gallery.keeper.answer = named
    _, _, headers = await gallery.get("file")
    assert headers["Content-Disposition"] == (
        "inline; filename=\"____X: y.png\"; filename*=UTF-8''%D0%BA%D1%96%D1%82%22X%3A%20y.png"
    )
    assert "X" not in headers


async def test_download_is_revalidated_by_etag(gallery: Gallery) -> None:
    event_id = await gallery.shows("cat")
    _, _, headers = await gallery.get("cat")
    asked = len(gallery.keeper.asked)
    status, content, again = await gallery.get("cat", **{"If-None-Match": headers["ETag"]})
    assert (status, content, again["ETag"], again["Cache-Control"]) == (
        304,
        b"",
        headers["ETag"],
        headers["Cache-Control"],
    )
    status, _, _ = await gallery.get("cat", "/thumbnail", **{"If-None-Match": headers["ETag"]})
    assert status == 200, "another picture"
    assert len(gallery.keeper.asked) == asked + 1
    await gallery.comes("m.room.redaction", {"redacts": event_id})
    status, _, _ = await gallery.get("cat", **{"If-None-Match": headers["ETag"]})
    assert status == 404, "even to who has it already"


async def test_large_file_is_downloaded_completely(gallery: Gallery) -> None:
    content = PNG + bytes(range(256)) * 40_000
    await gallery.shows("large", content)
    status, given, headers = await gallery.get("large")
    assert (status, given == content, headers["Content-Length"]) == (200, True, str(len(content)))


async def test_download_over_limit_is_413(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, media={"max_download_bytes": 100_000}) as gallery:
        await gallery.shows("exact", PNG + b"x" * (100_000 - len(PNG)))
        await gallery.shows("large", PNG + b"x" * 100_001)
        assert await gallery.status("exact") == 200
        assert (await gallery.problem("large"))[:2] == (413, "media_too_large")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(PNG)
    while True:
        await response.write(b"x" * 60_000)


async def _cut_short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": "500000"})
    await response.prepare(request)
    await response.write(PNG + b"x" * 200_000)
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("answer", [_endless, _cut_short])
async def test_interrupted_download_aborts_connection(sqlite_url: str, answer: Any) -> None:
    async with gallery_on(sqlite_url, media={"max_download_bytes": 600_000}) as gallery:
        await gallery.shows("file")
        gallery.keeper.answer = answer
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await gallery.get("file")


async def test_homeserver_errors_of_download_are_translated(gallery: Gallery) -> None:
    await gallery.shows("cat")
    for answer, problem in (
        (refused(404, "M_NOT_FOUND"), (404, "no_such_media", None)),
        (refused(403, "M_FORBIDDEN"), (404, "no_such_media", None)),
        (refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=2500), (429, "too_many_requests", "3")),
        (refused(502, "M_UNKNOWN", "Failed to fetch remote media"), (503, "media_unavailable", "5")),
        (refused(504, "M_NOT_YET_UPLOADED"), (503, "media_unavailable", "5")),
        (refused(401, "M_UNKNOWN_TOKEN"), (503, "media_unavailable", "5")),
        (web.Response(status=502, text="<h1>nginx</h1>"), (503, "homeserver_away", "5")),
        (web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}), (503, "media_unavailable", "5")),
    ):
        gallery.keeper.answer = _saying(answer)
        assert await gallery.problem("cat") == problem


def _saying(answer: web.Response) -> Any:
    async def say(_request: web.Request) -> web.Response:
        return answer

    return say


async def test_missing_thumbnail_is_404(gallery: Gallery) -> None:
    await gallery.shows("cat")

    async def cannot(_request: web.Request) -> web.Response:
        return refused(400, "M_UNKNOWN", "Cannot find any thumbnails")

    gallery.keeper.answer = cannot
    assert (await gallery.problem("cat", "/thumbnail"))[:2] == (404, "no_thumbnail")


async def test_thumbnail_sizes_are_snapped(gallery: Gallery) -> None:
    await gallery.shows("cat")
    asked: list[dict[str, str]] = []

    async def thumbnail(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.Response(body=PNG, headers={"Content-Type": "image/png"})

    gallery.keeper.answer = thumbnail
    assert await gallery.status("cat", "/thumbnail?width=33&height=1&method=crop") == 200
    assert await gallery.status("cat", "/thumbnail") == 200
    assert asked == [
        {"width": "96", "height": "96", "method": "crop", "allow_redirect": "false"},
        {"width": "320", "height": "240", "method": "scale", "allow_redirect": "false"},
    ]
    for wrong in ("width=0", "width=x", "height=99999", "method=stretch"):
        assert (await gallery.problem("cat", f"/thumbnail?{wrong}"))[:2] == (422, "invalid")


async def test_homeserver_unavailable_has_retry_after(gallery: Gallery) -> None:
    await gallery.shows("cat")
    gallery.town.city.monitor.lost(HomeserverUnavailable("on purpose"))
    assert await gallery.problem("cat") == (503, "homeserver_away", "5")
    answer = await gallery.upload()
    assert (answer.status, answer.content["code"], answer.headers["Retry-After"]) == (503, "homeserver_away", "5")
    gallery.town.city.monitor.found()
    assert (await gallery.upload()).status == 201
    assert await gallery.status("cat") == 200


async def test_legacy_media_api_is_used_as_fallback(gallery: Gallery) -> None:
    gallery.keeper.is_old = True
    assert (await gallery.upload()).status == 201
    await gallery.shows("cat")
    assert await gallery.status("cat") == 200
    assert await gallery.status("cat", "/thumbnail") == 200
    assert gallery.keeper.asked[-2:] == [
        f"GET /_matrix/media/v3/download/{SERVER}/cat",
        f"GET /_matrix/media/v3/thumbnail/{SERVER}/cat",
    ]


async def test_homeserver_refusal_of_upload_is_403(gallery: Gallery) -> None:
    async def full(request: web.Request) -> web.Response:
        await request.read()
        return refused(400, "M_UNKNOWN", "Media upload limit exceeded")

    gallery.keeper.answer = full
    answer = await gallery.upload()
    assert (answer.status, answer.content["code"]) == (403, "media_refused")
    assert answer.content["detail"] == "the homeserver refuses the file: Media upload limit exceeded"


async def test_slow_client_does_not_block_others(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, media={"transfers": 4}) as gallery:
        await gallery.shows("cat")
        end = asyncio.Event()

        async def take_forever(_request: web.Request) -> web.Response:
            await end.wait()
            return web.Response(body=PNG, headers={"Content-Type": "image/png"})

        gallery.keeper.answer = take_forever
        waiting = [asyncio.create_task(gallery.status("cat", token=OKSANA)) for _ in range(8)]

        async def has_asked() -> bool:
            return bool(gallery.keeper.asked)

        await eventually(has_asked)
        gallery.keeper.answer = None
        assert await gallery.status("cat", token=TARAS) == 200
        assert len(gallery.keeper.asked) == 2, "Oksana has her share of the places, and no more"
        end.set()
        assert await asyncio.gather(*waiting) == [200] * 8


# --- links for who sends no token ------------------------------------------------------------------------


async def linked(gallery: Gallery, address: str) -> int:
    async with gallery.town.session.get(gallery.url + address) as answer:
        return answer.status


async def test_signed_link_of_a_message_needs_no_token(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, api={"anonymous_read": False}) as gallery:
        html = f'<img src="mxc://{SERVER}/inline" alt="x">'
        for name in ("inline", "face"):
            gallery.keeps(name)
        await gallery.comes(
            "m.room.member",
            {"membership": "join", "displayname": "Alice", "avatar_url": f"mxc://{SERVER}/face"},
            state_key=ALICE,
        )
        event = await gallery.shows("cat")
        await gallery.comes(
            "m.room.message",
            {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html},
        )
        *_, cat, text = await gallery.town.get("/city/rooms/general/messages", token=TARAS)
        inline = unescape(text["formatted_body"].split('src="')[1].split('"')[0])
        links = [cat["media"]["url"], inline, cat["author"]["avatar_url"]]
        assert [await linked(gallery, each) for each in links] == [200, 200, 200]
        assert await linked(gallery, cat["media"]["url"].replace("?", "/thumbnail?")) == 200

        query = cat["media"]["url"].partition("?")[2]
        for wrong in (
            f"/city/media/{SERVER}/cat",
            f"/city/media/{SERVER}/inline?{query}",
            f"/city/media/{SERVER}/cat?{query}x",
            f"/city/media/{SERVER}/cat?{query.replace('expires=', 'expires=1')}",
            f"/city/media/{SERVER}/cat?expires=99999999999&signature=%ff",
        ):
            assert await linked(gallery, wrong) == 401, wrong
        await gallery.comes("m.room.redaction", {"redacts": event})
        assert await linked(gallery, cat["media"]["url"]) == 401


async def test_public_files_have_unsigned_links(gallery: Gallery) -> None:
    await gallery.shows("cat")
    assert (await gallery.last_message())["media"]["url"] == f"/city/media/{SERVER}/cat"


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


# --- ranges ----------------------------------------------------------------------------------------------

LONG = bytes(range(256)) * 1200


@pytest.mark.parametrize("content", [b"0123456789" * 20, LONG], ids=["short", "long"])
@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("0-", 0, None),
        ("0-9", 0, 10),
        ("100-149", 100, 150),
        ("150-", 150, None),
        ("-7", -7, None),
        ("5-99999999", 5, None),
    ],
)
async def test_range_is_answered_206(gallery: Gallery, content: bytes, asked: str, begin: int, end: int | None) -> None:
    await gallery.shows("film", content, "application/octet-stream")
    status, part, headers = await gallery.get("film", Range=f"bytes={asked}")
    assert (status, part) == (206, content[begin:end])
    first = begin % len(content)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{len(content)}"
    assert headers["Content-Length"] == str(len(part))


async def test_range_after_the_end_is_answered_416(gallery: Gallery) -> None:
    await gallery.shows("film", LONG, "application/octet-stream")
    status, _, headers = await gallery.get("film", Range=f"bytes={len(LONG)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(LONG)}")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=x", "lines=1-2", "bytes=5-2", "bytes=-"])
async def test_multiple_ranges_return_whole_file(gallery: Gallery, asked: str) -> None:
    await gallery.shows("film", LONG, "application/octet-stream")
    status, whole, headers = await gallery.get("film", Range=asked)
    assert (status, whole) == (200, LONG)
    assert headers["Accept-Ranges"] == "bytes"


async def test_if_range_mismatch_returns_whole_file(gallery: Gallery) -> None:
    await gallery.shows("film", LONG, "application/octet-stream")
    _, _, headers = await gallery.get("film")
    wanted = {"Range": "bytes=1-2"}
    assert (await gallery.get("film", **wanted, **{"If-Range": headers["ETag"]}))[0] == 206
    assert (await gallery.get("film", **wanted, **{"If-Range": '"another"'}))[0] == 200
