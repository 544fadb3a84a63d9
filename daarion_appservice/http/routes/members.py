"""The routes ``/city/rooms/{room_id}/…`` for joining and leaving a room, typing notices and read marks."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ...city.membership import Membership
from ...city.online_members import OnlineMembers
from ...city.types import Room
from ...city.typing_and_receipts import TypingAndReceipts
from ...realtime.room_typing import LASTS_S
from .. import schemas
from ..auth.authors import ActorDirectory
from ..auth.principals import Access
from ..routing import Body, Call, NoBody, NoContent, NoQuery, endpoint
from ..views import JSON

_ROOM: Final = "/city/rooms/{room_id}"
_PUT_OUT: Final = ("kicked", "banned")


class TypingState(Body):
    typing: bool = Field(True, description="Whether one is typing.", examples=[True])


class ReadMark(Body):
    message_id: str = Field(
        max_length=64, description="The id of the last message that was read.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"]
    )


class MemberRoutes:
    def __init__(
        self,
        membership: Membership,
        typing_and_receipts: TypingAndReceipts,
        authors: ActorDirectory,
        online_members: OnlineMembers,
    ) -> None:
        self._membership = membership
        self._typing_and_receipts = typing_and_receipts
        self._authors = authors
        self._online_members = online_members

    @endpoint(
        "POST",
        _ROOM + "/join",
        who=Access.INHABITANTS,
        summary="Come into a room",
        answer=schemas.Joined,
        errors=("no_such_room", "room_archived", "banned", "invite_only"),
    )
    async def join(self, call: Call[NoBody, NoQuery]) -> JSON:
        """One is a member at once, and on Matrix as soon as the homeserver can be told; to be one already is fine.
        Whoever was put out comes back by this."""
        room = await self._membership.join(await self._authors.seen(call.principal), call.path["room_id"])
        return self._view(room, joined=True)

    @endpoint(
        "POST",
        _ROOM + "/leave",
        who=Access.INHABITANTS,
        summary="Leave a room",
        answer=schemas.Joined,
        errors=("no_such_room", "agent_lives_here"),
    )
    async def leave(self, call: Call[NoBody, NoQuery]) -> JSON:
        """Not to be a member is fine. An agent cannot leave the rooms where the registry says that it lives."""
        room = await self._membership.leave(await self._authors.seen(call.principal), call.path["room_id"])
        return self._view(room, joined=False)

    @endpoint(
        "PUT",
        _ROOM + "/typing",
        who=Access.INHABITANTS,
        body=TypingState,
        summary="Say that one is typing",
        answer=schemas.Typing,
        errors=("no_such_room", *_PUT_OUT, "invite_only", "muted"),
    )
    async def type(self, call: Call[TypingState, NoQuery]) -> JSON:
        """It must be said again within ``expires_in_ms``; ``false``, or a message, ends it."""
        author = self._authors.of(call.principal)
        await self._typing_and_receipts.types(author, call.path["room_id"], typing=call.body.typing)
        return {"typing": call.body.typing, "expires_in_ms": int(LASTS_S * 1000) if call.body.typing else 0}

    @endpoint(
        "PUT",
        _ROOM + "/read",
        who=Access.INHABITANTS,
        body=ReadMark,
        status=204,
        summary="Say how far one has read",
        answer=NoContent,
        errors=("no_such_room", "no_such_message", *_PUT_OUT),
    )
    async def read(self, call: Call[ReadMark, NoQuery]) -> None:
        """People on Matrix see it, if one is a member. It never goes back; what is said while the homeserver is away is lost."""
        await self._typing_and_receipts.reads(
            self._authors.of(call.principal), call.path["room_id"], call.body.message_id
        )

    def _view(self, room: Room, *, joined: bool) -> JSON:
        return {"room_id": room.id, "joined": joined, "members_online": self._online_members.members_online(room.id)}
