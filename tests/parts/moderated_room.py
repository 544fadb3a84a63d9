"""A room of a real city that a Matrix user looks after, with its page and its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import nio
from playwright.async_api import Page

from daarion_appservice.config import loading as config_file
from tests.parts.browser import Browser
from tests.parts.city import RunningCity, citizen_token, eventually
from tests.parts.matrix_user import MatrixUser

BOT, OBSERVER = "@city:city.localhost", "@city_observer:city.localhost"
POSTING_INTERVAL_S: Final = 0.5
"""Each message goes to Matrix: more of them would delay what the tests wait for, and exceed the limit of messages."""


@dataclass
class Room:
    """A room of its own for each test, that Olena looks after on Matrix; ``oksana`` is a citizen of its own, too."""

    city: RunningCity
    olena: MatrixUser
    slug: str
    matrix_room: str

    @property
    def oksana(self) -> str:
        return citizen_token(f"u_{self.slug}", "Оксана")

    @property
    def ghost(self) -> str:
        return f"@citizen_u_{self.slug}:city.localhost"

    async def posts(self, body: str, token: str | None = None) -> tuple[int, Any]:
        return await self.city.call("POST", f"{self.path}/messages", {"body": body}, token=token or self.oksana)

    async def joins(self, token: str | None = None) -> tuple[int, Any]:
        return await self.city.call("POST", f"{self.path}/join", token=token or self.oksana)

    @property
    def path(self) -> str:
        return f"/city/rooms/{self.slug}"

    async def is_refused(self, code: str, token: str | None = None) -> Any:
        """Wait until posting is; what comes before that is not what is looked at."""

        async def refused() -> Any:
            status, answer = await self.posts("may I?", token)
            return answer if (status, answer.get("code")) == (403, code) else None

        return await eventually(refused, interval_s=POSTING_INTERVAL_S)

    async def is_received(self, body: str, token: str | None = None) -> None:
        """Wait until posting is allowed, and the message stands on Matrix."""

        async def taken() -> bool:
            return (await self.posts(body, token))[0] == 201

        await eventually(taken, interval_s=POSTING_INTERVAL_S)
        await self.olena.wait_for(lambda: any(received_body == body for _, received_body in self.olena.messages))

    async def members(self) -> set[str]:
        """Who is there, by the homeserver."""
        answer = await self.olena.client.joined_members(self.matrix_room)
        assert isinstance(answer, nio.JoinedMembersResponse), answer
        return {member.user_id for member in answer.members}

    async def has(self, user: str, *, joined: bool = True) -> None:
        async def is_so() -> bool:
            return (user in await self.members()) is joined

        await eventually(is_so)

    async def sets(self, event_type: str, content: dict[str, Any]) -> None:
        answer = await self.olena.client.room_put_state(self.matrix_room, event_type, content)
        assert isinstance(answer, nio.RoomPutStateResponse), answer


async def looked_after_by_nobody(city: RunningCity, olena: MatrixUser, slug: str) -> Room:
    """Olena joins a room, with the power of any member."""

    async def is_linked() -> Any:
        return (await city.get(f"/city/rooms/{slug}"))["matrix_status"] == "linked"

    await eventually(is_linked)
    return Room(city, olena, slug, await olena.join(f"#city_{slug}:city.localhost"))


async def looked_after(city: RunningCity, olena: MatrixUser, slug: str) -> Room:
    """Olena gets all the power that the bot can give in a room."""
    room = await looked_after_by_nobody(city, olena, slug)
    await _call_as_bot(city, "PUT", room.matrix_room, "m.room.power_levels", {"users": {olena.client.user_id: 100}})

    async def has_observer() -> bool:
        return OBSERVER in (await state_as_bot(city, room.matrix_room, "m.room.power_levels"))["users"]

    # Matrix replaces levels as a whole: a test that sets its own must come after the bot's grant.
    await eventually(has_observer)
    return room


async def state_as_bot(city: RunningCity, matrix_room: str, event_type: str) -> dict[str, Any]:
    """Return the content of a state event in a room without people of Matrix."""
    return await _call_as_bot(city, "GET", matrix_room, event_type)


async def _call_as_bot(
    city: RunningCity, method: str, matrix_room: str, event_type: str, content: Any = None
) -> dict[str, Any]:
    as_token = config_file.load(city.config).appservice.as_token.get_secret_value()
    path = f"/_matrix/client/v3/rooms/{quote(matrix_room)}/state/{event_type}?user_id={quote(BOT)}"
    status, answer = await city.call(method, path, content, token=as_token, url=city.homeserver.url)
    assert status == 200, answer
    return dict(answer)


async def open_page(room: Room, browser: Browser, locale: str) -> Page:
    """Open the room as Oksana, in a language."""
    origin = room.city.api_url
    stored: Any = {
        "cookies": [],
        "origins": [{"origin": origin, "localStorage": [{"name": "city.session", "value": room.oksana}]}],
    }
    wide = {"width": 1280, "height": 800}
    profile = await browser.other_profile(locale=locale, viewport=wide, storage_state=stored, base_url=origin)
    return (await profile.open(f"{origin}/city/{room.slug}")).page


async def state_of(room: Room, event_type: str, key: str = "") -> dict[str, Any]:
    answer = await room.olena.client.room_get_state_event(room.matrix_room, event_type, key)
    assert isinstance(answer, nio.RoomGetStateEventResponse), answer
    return dict(answer.content)


async def pinned_in(room: Room) -> list[str]:
    return list((await state_of(room, "m.room.pinned_events"))["pinned"])
