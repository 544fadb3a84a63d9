"""The routes ``/city/rooms/{room_id}/…`` for joining and leaving a room, typing notices, read marks and notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.history_visibility import may_see_activity
from ...city.membership import Membership
from ...city.notification_modes import NotificationModes
from ...city.online_members import OnlineMembers
from ...city.types import Room
from ...city.typing_and_receipts import TypingAndReceipts
from ...city.unread import NotificationMode
from ...realtime.room_typing import NOTICE_LIFETIME_S
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.principals import Access, Principal
from ..room_responses import CachedRoomResponses
from ..routing import Body, Call, NoBody, NoContent, NoQuery, endpoint

_ROOM: Final = "/city/rooms/{room_id}"
_REMOVED: Final = ("kicked", "banned")


class TypingNotification(Body):
    """A typing notification."""

    typing: bool = Field(True, description="Whether the client is typing.", examples=[True])


class ReadReceipt(Body):
    """A read receipt."""

    message_id: str = Field(
        max_length=64, description="The id of the last message that was read.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"]
    )


class NotificationChoice(Body):
    """Which messages of a room notify the citizen."""

    mode: NotificationMode = Field(
        description="`all`, `mentions` (mentions, `@room` and replies) or `none`.", examples=["mentions"]
    )


@dataclass(frozen=True, slots=True)
class MemberRoutes:
    membership: Membership
    typing_and_receipts: TypingAndReceipts
    notification_modes: NotificationModes
    authors: ActorDirectory
    online_members: OnlineMembers
    pages: CachedRoomResponses

    @endpoint(
        "POST",
        _ROOM + "/join",
        access=Access.ACTORS,
        summary="Join a room",
        response=schemas.Membership,
        errors=("no_such_room", "room_archived", "room_being_deleted", "banned", "invite_only"),
    )
    async def join_room(self, call: Call[NoBody, NoQuery]) -> schemas.Membership:
        """The client is a member at once; its ghost joins on Matrix as soon as the homeserver is available, before any later
        message. Joining again changes nothing, except that a new display name takes effect. A kick ends with the next join.

        Joining is optional: posting a message joins its author. If Matrix refuses the join, the membership ends with the event
        `city.room.leave`.
        """
        room = await self.membership.join(await self.authors.with_avatar(call.principal), call.path["room_id"])
        return await self._view(room, call.principal, joined=True)

    @endpoint(
        "POST",
        _ROOM + "/leave",
        access=Access.ACTORS,
        summary="Leave a room",
        response=schemas.Membership,
        errors=("no_such_room", "room_being_deleted", "room_assigned_to_agent"),
    )
    async def leave_room(self, call: Call[NoBody, NoQuery]) -> schemas.Membership:
        """Leaving a room without being a member changes nothing. An agent cannot leave the rooms that the registry assigns to
        it.
        """
        room = await self.membership.leave(await self.authors.with_avatar(call.principal), call.path["room_id"])
        return await self._view(room, call.principal, joined=False)

    @endpoint(
        "PUT",
        _ROOM + "/typing",
        access=Access.ACTORS,
        body=TypingNotification,
        summary="Set the typing notification",
        response=schemas.TypingResult,
        errors=("no_such_room", "room_being_deleted", *_REMOVED, "invite_only", "muted"),
    )
    async def set_typing(self, call: Call[TypingNotification, NoQuery]) -> schemas.TypingResult:
        """The notification ends after `expires_in_ms` unless it is sent again, with `false`, or with a message. Matrix users see
        it if the client is a member of the room.
        """
        author = self.authors.of(call.principal)
        await self.typing_and_receipts.set_typing(author, call.path["room_id"], typing=call.body.typing)
        return {"typing": call.body.typing, "expires_in_ms": int(NOTICE_LIFETIME_S * 1000) if call.body.typing else 0}

    @endpoint(
        "PUT",
        _ROOM + "/read",
        access=Access.ACTORS,
        body=ReadReceipt,
        status=204,
        summary="Send a read receipt",
        response=NoContent,
        errors=("no_such_room", "no_such_message", "room_being_deleted", *_REMOVED),
    )
    async def send_read_receipt(self, call: Call[ReadReceipt, NoQuery]) -> None:
        """Moves the read mark of a citizen forward, on all devices, also in a room without being a member: a message of the main
        timeline marks everything before it as read, a message of a thread the thread's mentions before it.

        If the client is a member, the room's readers see the receipt (`GET …/receipts`, `city.room.read`), and it is sent to
        Matrix as the client's ghost if the message is on Matrix, for the message's thread or the main timeline. It never moves
        backwards; receipts sent meanwhile are combined, and those sent while the homeserver is unavailable do not reach Matrix.
        """
        await self.typing_and_receipts.mark_read(
            self.authors.of(call.principal), call.path["room_id"], call.body.message_id
        )

    @endpoint(
        "PUT",
        _ROOM + "/notifications",
        access=Access.CITIZENS_ONLY,
        body=NotificationChoice,
        summary="Choose which messages of a room notify",
        response=schemas.NotificationSetting,
        errors=("no_such_room", "room_being_deleted"),
    )
    async def set_notifications(self, call: Call[NotificationChoice, NoQuery]) -> schemas.NotificationSetting:
        """The choice holds on all devices of the citizen."""
        citizen, mode = self.authors.of(call.principal), call.body.mode
        room = await self.notification_modes.set_mode(citizen, call.path["room_id"], mode)
        return {"room_id": room.id, "mode": mode}

    async def _view(self, room: Room, reader: Principal, *, joined: bool) -> schemas.Membership:
        is_shown = may_see_activity(room, await self.pages.readable_ranges(room, reader))
        online = self.online_members.members_online(room.id) if is_shown else 0
        return {"room_id": room.id, "joined": joined, "members_online": online}
