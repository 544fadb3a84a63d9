"""A city with a fake media repository, and the requests for its files."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from PIL import Image

from daarion_appservice.city.types import RoomId
from tests.parts.city import citizen_token
from tests.parts.fake_media_repository import SERVER, FakeMediaRepository
from tests.parts.in_process_city import HttpResponse, InProcessCity, in_process_city
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
class MediaHarness:
    """A city with anonymous reading and a fake media repository."""

    city: InProcessCity
    repository: FakeMediaRepository
    _numbers: Iterator[int]

    async def upload(
        self,
        content: bytes = PNG,
        mimetype: str = "image/png",
        *,
        token: str | None = OKSANA,
        query: str = "?filename=a.png",
    ) -> HttpResponse:
        return await self.city.call(
            "POST", f"/city/media{query}", token=token, body=content, headers={"Content-Type": mimetype}
        )

    async def post(self, *, token: str = OKSANA, **message: Any) -> HttpResponse:
        return await self.city.call("POST", "/city/rooms/general/messages", message, token=token)

    async def post_file(self, content: bytes = PNG, mimetype: str = "image/png", **message: Any) -> dict[str, Any]:
        """Upload a file and post a message with it."""
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
        async with self.city.session.get(url, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers

    async def status(self, media_id: str, tail: str = "", *, token: str | None = None) -> int:
        return (await self.get(media_id, tail, token=token))[0]

    async def problem(self, media_id: str, tail: str = "") -> tuple[int, str, str | None]:
        """Return the status, the error code and ``Retry-After``."""
        path = f"/city/media/{SERVER}/{media_id}{tail}"
        answer = await self.city.call("GET", path)
        return answer.status, answer.content["code"], answer.headers.get("Retry-After")

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.city.city.settings.api.port}"

    def store_file(self, media_id: str, content: bytes = PNG, content_type: str = "image/png") -> str:
        """Store a file in the repository only; return its mxc URI."""
        self.repository.files[media_id] = (content, content_type)
        return f"mxc://{SERVER}/{media_id}"

    async def receive(self, event_type: str, content: Any, **more: Any) -> str:
        """Handle an event from Matrix; return its id."""
        event_id = f"$event{next(self._numbers)}"
        event = {
            "type": event_type,
            "room_id": "!general",
            "event_id": event_id,
            "sender": ALICE,
            "origin_server_ts": 1_700_000_000_000,
            "content": content,
        } | more
        async with self.city.city.database.transaction() as tx:
            await self.city.city.handlers.handle(tx, event)
        return event_id

    async def receive_file(self, media_id: str, content: bytes = PNG, content_type: str = "image/png") -> str:
        """Store a file and handle a Matrix message with it; return the event's id."""
        mxc = self.store_file(media_id, content, content_type)
        return await self.receive("m.room.message", {"msgtype": "m.file", "body": "a", "url": mxc})

    async def last_message(self) -> dict[str, Any]:
        message: dict[str, Any] = (await self.city.get("/city/rooms/general/messages"))[-1]
        return message


@asynccontextmanager
async def media_harness(database_url: str, **sections: dict[str, Any]) -> AsyncIterator[MediaHarness]:
    repository = FakeMediaRepository()
    async with (
        repository.serving(),
        in_process_city(database_url, homeserver={"address": repository.url}, **sections) as city,
    ):
        city.city.monitor.mark_up()
        async with city.city.database.transaction() as tx:
            await link(tx, GENERAL, "!general")
        yield MediaHarness(city, repository, count(1))
