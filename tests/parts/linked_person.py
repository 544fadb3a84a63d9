"""A room of the city with a Matrix user whom a citizen may be linked with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from daarion_appservice.city.presence import PresenceState, RemotePresence, Status
from daarion_appservice.city.types import MatrixRoomId, SubjectId
from tests.parts.in_process_city import in_process_city
from tests.parts.private_room import ALICE, GENERAL, MATRIX_ROOM, OKSANA, PrivateRoom
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver

ROOM = "/city/rooms/general"
FACE = "mxc://city.localhost/alice"


@dataclass
class Town(PrivateRoom):
    """A room with Alice, whom Oksana's citizen may be linked with."""

    homeserver: ScriptedHomeserver | None = None

    async def link(self, token: str = OKSANA, user: str = ALICE) -> None:
        assert self.homeserver is not None
        self.homeserver.next("openid", Reply(200, {"sub": user}))
        self.homeserver.next("profile_of", Reply(200, {"displayname": "Alice", "avatar_url": FACE}))
        nonce = (await self.city.call("POST", "/city/sign-in/nonce")).content["nonce"]
        proof = {"access_token": f"token {nonce}", "matrix_server_name": "city.localhost", "nonce": nonce}
        answer = await self.city.call("PUT", "/city/me/matrix", proof, token=token)
        assert answer.status == 200, answer

    async def unlink(self) -> None:
        assert (await self.city.call("DELETE", "/city/me/matrix", token=OKSANA)).status == 204

    async def post(self, body: str, token: str = OKSANA) -> Any:
        answer = await self.city.call("POST", f"{ROOM}/messages", {"body": body}, token=token)
        assert answer.status == 201, answer
        return answer.content

    async def join(self) -> None:
        assert (await self.city.call("POST", f"{ROOM}/join", token=OKSANA)).status == 200

    async def messages(self) -> list[Any]:
        return list(await self.city.get(f"{ROOM}/messages"))

    async def call(self, method: str, path: str, content: Any = ..., token: str = OKSANA) -> tuple[int, Any]:
        answer = await self.city.call(method, f"{ROOM}/messages/{path}", content, token=token)
        return answer.status, answer.content

    async def beat(self, status: str = "online") -> Any:
        answer = await self.city.call("POST", "/api/v1/presence/heartbeat", {"status": status}, token=OKSANA)
        return answer.content

    async def set_on_matrix(self, status: Status) -> None:
        presence = self.city.city.presence
        await presence.set_remote([RemotePresence(SubjectId(ALICE), PresenceState(status), "homeserver")])

    async def online(self) -> list[tuple[str, str]]:
        members = (await self.city.get(ROOM))["online_members"]
        return [(each["id"], each["display_name"]) for each in members]


@asynccontextmanager
async def open_town(database_url: str) -> AsyncIterator[Town]:
    """Start a city with a scripted homeserver that links its room General."""
    homeserver = ScriptedHomeserver()
    async with homeserver.serving(), in_process_city(database_url, homeserver={"address": homeserver.url}) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(MATRIX_ROOM))
        yield Town(city, homeserver=homeserver)
