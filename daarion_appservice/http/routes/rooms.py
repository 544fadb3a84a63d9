"""The routes ``/city/rooms``: listing, opening, changing and showing rooms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, cast

import orjson
from pydantic import Field

from ...city.history_visibility import may_subscribe
from ...city.identity import Identities
from ...city.moderation_rights import ALL_RIGHTS, Writers, writers_of
from ...city.online_members import OnlineMembers
from ...city.person_presence import PersonPresence
from ...city.ports import NowMs
from ...city.power_levels import RoomPowerLevels
from ...city.presence import Status
from ...city.restrictions import Restriction, RestrictionKind
from ...city.rooms import Rooms, RoomUpdate
from ...city.types import Author, AuthorKind, Member, Room, SubjectId, UserId, agent_subject, author_key
from ...errors import Forbidden, InvalidInput
from ...matrix.moderation.room_moderation import RoomModeration
from .. import schemas
from ..auth.principals import Access, Citizen, Principal, author_of, is_admin
from ..encoded_response import Encoded
from ..id_lists import MAX_CHARS
from ..media_urls import MediaUrls
from ..presence_views import presence_fields
from ..room_lists import RoomLists
from ..room_responses import CachedRoomResponses, RoomPageResponse
from ..room_views import room_view, seen_room_view
from ..routing import Body, Call, NoBody, NoContent, NoQuery, Query, ResponseSpec, endpoint
from .moderation import CHANGE_ERRORS

_LAST_MESSAGES: Final = 50
_MAX_ONLINE_MEMBERS: Final = 200
"""The number of online members listed with a room; ``members_online`` counts all of them."""
_MAX_IDS: Final = 100


class RoomListQuery(Query):
    sort: Literal["popular", "recent", "name"] = Field(
        "popular",
        description="`popular`: most messages first, messages of a week ago count half; `recent`: last event first; `name`: "
        "alphabetical.",
        examples=["popular"],
    )
    ids: str = Field(
        "",
        max_length=MAX_CHARS,
        description="Only these rooms: up to 100 ids or slugs, separated by commas.",
        examples=["general,podil"],
    )
    limit: int = Field(100, ge=1, le=500, description="The maximum number of rooms.", examples=[100])
    offset: int = Field(0, ge=0, le=1_000_000, description="The number of rooms to skip.", examples=[0])


class NewRoom(Body):
    """A room to create."""

    name: str = Field(min_length=1, max_length=255, description="The name.", examples=["Поділ"])
    description: str = Field(
        "",
        max_length=2000,
        description="The description; on Matrix the topic.",
        examples=["Новини й зустрічі на Подолі"],
    )
    slug: str | None = Field(
        None,
        max_length=64,
        description="The name in paths: `a-z`, `0-9`, `_` and `-`, and no other path below `/city/` (such as `feed`). Default: "
        "derived from the name by transliteration.",
        examples=["podil"],
    )


class RoomPatch(Body):
    """The changes of a room; a field that is missing or `null` does not change."""

    name: str | None = Field(
        None, min_length=1, max_length=255, description="The new name.", examples=["Поділ вечірній"]
    )
    description: str | None = Field(
        None, max_length=2000, description="The new description.", examples=["Куди піти ввечері"]
    )
    archived: bool | None = Field(
        None,
        description="`true` archives the room, `false` restores an archived room.",
        examples=[True],
    )
    avatar: str | None = Field(
        None,
        max_length=512,
        description="The `mxc://` URI of a picture that the client uploaded; an empty string removes the picture.",
        examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"],
    )
    writers: Writers | None = Field(
        None,
        description="Who may send messages: `everyone`, or `moderators` of the Matrix room (power level 50) and the agents "
        "whose room it is in the registry.",
        examples=["everyone"],
    )


@dataclass(frozen=True, slots=True)
class RoomRoutes:
    pages: CachedRoomResponses
    lists: RoomLists
    rooms: Rooms
    person_presence: PersonPresence
    online_members: OnlineMembers
    identities: Identities
    moderation: RoomModeration
    now_ms: NowMs

    @endpoint(
        "GET",
        "/city/rooms",
        access=Access.READERS,
        query=RoomListQuery,
        summary="List rooms",
        response=list[schemas.Room],
    )
    async def list_rooms(self, call: Call[NoBody, RoomListQuery]) -> Encoded:
        """Returns rooms that are not archived. Rooms that can neither be read nor joined from outside are listed only for clients
        who are, were or may become members, and for admins; former members see them as `GET /city/rooms/{room_id}` shows them.

        Each room has the newest message that the client may read, and for citizens what they have not read.
        """
        query = call.query
        if query.ids:
            return await self.lists.by_ids(call.principal, _ids(query.ids), sort=query.sort)
        return await self.lists.page(call.principal, sort=query.sort, limit=query.limit, offset=query.offset)

    @endpoint(
        "POST",
        "/city/rooms",
        access=Access.CITIZENS,
        body=NewRoom,
        status=201,
        summary="Create a room",
        response=schemas.Room,
        errors=("slug_taken", "name_required", "slug_required", "slug_invalid"),
    )
    async def create_room(self, call: Call[NewRoom, NoQuery]) -> schemas.Room:
        """The Matrix room is created within seconds (see `matrix_status`)."""
        creator = call.principal
        created_by = (
            Author(AuthorKind.CITIZEN, creator.id, creator.display_name) if isinstance(creator, Citizen) else None
        )
        room = await self.rooms.open(call.body.name, call.body.description, slug=call.body.slug, created_by=created_by)
        return self._view(room)

    @endpoint(
        "PATCH",
        "/city/rooms/{room_id}",
        access=Access.CITIZENS,
        body=RoomPatch,
        summary="Update, archive or restore a room",
        response=schemas.Room,
        errors=("no_such_room", "name_required", "avatar_unknown", "avatar_invalid", *CHANGE_ERRORS),
    )
    async def update_room(self, call: Call[RoomPatch, NoQuery]) -> schemas.Room:
        """Admins may change everything. Citizens may change name, description and picture, and who may write, as their power
        level in the Matrix room allows (`rights` of the room); others are 403 `power_too_low`. The Matrix room is updated within
        seconds.

        An archived room is read-only and not listed. On Matrix it leaves the directory and the space, and only users with the
        bot's power level may write. Restoring it undoes all of this.
        """
        body, room_id = call.body, call.path["room_id"]
        await self._check_may_change(call.principal, room_id, body)
        change = RoomUpdate(body.name, body.description, body.archived)
        # Before the picture and the writers, which are changed on the homeserver at once.
        change.check()
        if body.avatar is not None:
            await self._set_avatar(call.principal, room_id, body.avatar)
        if body.writers is not None:
            await self._set_writers(call.principal, room_id, body.writers)
        return self._view(await self.rooms.change(room_id, change))

    async def _check_may_change(self, principal: Principal, room_id: str, body: RoomPatch) -> None:
        """Raise Forbidden or NotFound if the principal may not make one of the changes."""
        if is_admin(principal):
            return
        if body.archived is not None:
            raise Forbidden("not_allowed", "only admins may archive and restore rooms")
        # A change of nothing requires the right to edit the room, too.
        has_own_right = body.writers is not None or body.avatar is not None
        if not has_own_right or body.name is not None or body.description is not None:
            await self.moderation.check(_citizen(principal), room_id, lambda rights: rights.edit_room)

    async def _set_writers(self, principal: Principal, room_id: str, writers: Writers) -> None:
        if not isinstance(principal, Citizen):
            raise Forbidden("not_allowed", "only a citizen may change who writes in a room, not the admin token")
        await self.moderation.set_writers(_citizen(principal), room_id, writers, is_admin=principal.is_admin)

    async def _set_avatar(self, principal: Principal, room_id: str, mxc: str) -> None:
        if not isinstance(principal, Citizen):
            raise Forbidden("not_allowed", "only a citizen may change the picture of a room, not the admin token")
        await self.moderation.set_avatar(_citizen(principal), room_id, mxc or None, is_admin=principal.is_admin)

    @endpoint(
        "DELETE",
        "/city/rooms/{room_id}",
        access=Access.ADMINS,
        status=204,
        summary="Delete a room",
        response=NoContent,
        other_statuses={202: "The room has many messages: it is archived, and being deleted."},
        errors=("no_such_room",),
    )
    async def delete_room(self, call: Call[NoBody, NoQuery]) -> ResponseSpec:
        """Deletes the room with its messages, for ever; to keep them, archive it. A room with many messages is archived first
        and deleted in portions, newest first, within seconds or minutes, also after a restart. Meanwhile it can be read, and a
        change of it is 409 `room_being_deleted`.

        Within seconds the Matrix room loses its alias and its entries in directory and space, and all ghosts and the bot leave
        it; if the city created it, it is read-only for the people who stay. A room in the configuration is created again, empty,
        at the next start.
        """
        is_removed = await self.rooms.remove(call.path["room_id"])
        return ResponseSpec(None, status=204 if is_removed else 202)

    @endpoint(
        "GET",
        "/city/rooms/{room_id}",
        access=Access.READERS,
        summary="Get a room with its latest messages and members",
        response=schemas.RoomDetails,
        errors=("no_such_room",),
    )
    async def get_room(self, call: Call[NoBody, NoQuery]) -> Encoded:
        """The response contains only messages that the client may read. A room that the client may not know of is 404.

        A private room that the client has left, or that was public once, is shown with the messages that the client may read,
        under its slug, without its current name, description, picture, activity and members. Invited clients see the name, the
        description and the picture.
        """
        page = await self.pages.room(call.path["room_id"], call.principal, limit=_LAST_MESSAGES)
        room, readable = page.room, page.readable
        may_read = may_subscribe(room, readable)
        online = self._online(room, call.principal)[:_MAX_ONLINE_MEMBERS] if may_read else []
        users = [self.identities.user(each) for subject in online for each in self._subjects(subject)]
        members = await self.pages.members(room.id, users)
        now_ms = self.now_ms()
        details: dict[str, Any] = {
            **self._seen_view(page, call.principal),
            "may_read": may_read,
            "rights": await self._rights(call.principal, room),
            "writers": writers_of(RoomPowerLevels(orjson.loads(room.power_levels))),
            "removal": _removal(await self.pages.restriction(room, call.principal)),
            "has_older": page.older_before is not None,
            "online_members": [self._member(subject, members, now_ms) for subject in online],
        }
        if (unread := await self.lists.state(call.principal, room.id)) is not None:
            details.update(unread)
        return Encoded.with_member(details, "messages", page.messages)

    def _online(self, room: Room, principal: Principal) -> list[SubjectId]:
        """Return the members who are online; of a chat that was opened on Matrix, the agent and the reader."""
        author = author_of(principal)
        if room.agent is None or author is None:
            return sorted(self.online_members.online_members(room.id))
        pair = (agent_subject(room.agent), self.identities.accounts.canonical_subject(author.subject))
        return [each for each in pair if self.person_presence.state(each).status is not Status.OFFLINE]

    async def _rights(self, principal: Principal, room: Room) -> schemas.RoomRights | None:
        author = author_of(principal)
        if author is None:
            return None
        rights = (
            ALL_RIGHTS if is_admin(principal) and not room.is_of_two else await self.moderation.rights(room, author)
        )
        return cast("schemas.RoomRights", asdict(rights))

    def _view(self, room: Room) -> schemas.Room:
        return room_view(room, self.online_members.members_online(room.id), self.identities)

    def _seen_view(self, page: RoomPageResponse, reader: Principal) -> schemas.Room:
        online = self.online_members.members_online(page.room.id)
        return seen_room_view(page.room, online, self.identities, page.readable, is_admin=is_admin(reader))

    def _subjects(self, person: SubjectId) -> tuple[SubjectId, ...]:
        return self.identities.accounts.subjects_of(person)

    def _member(self, person: SubjectId, members: dict[UserId, Member], now_ms: int) -> schemas.OnlineMember:
        """Return a person; ``members`` are the members by their Matrix users, of which a linked person may have two."""
        users = [self.identities.user(subject) for subject in self._subjects(person)]
        member = next((members[user] for user in users if user in members), None)
        kind, member_id = author_key(person)
        name = (member and member.display_name) or member_id
        shown = self.identities.accounts.with_profile(
            Author(kind, member_id, name, member.avatar_url if member else None)
        )
        return {
            "kind": kind,
            "id": member_id,
            "display_name": shown.display_name,
            "matrix_user_id": users[0],
            "avatar_url": MediaUrls(self.identities.media_links).url(shown.avatar_url),
            **presence_fields(self.person_presence.state(person), now_ms),
        }


def _citizen(principal: Principal) -> Author:
    author = author_of(principal)
    assert author is not None, "the route's access allows citizens and admins only"
    return author


def _removal(restriction: Restriction | None) -> schemas.RoomRemoval | None:
    match restriction:
        case Restriction(RestrictionKind.KICKED, reason):
            return {"kind": "kicked", "reason": reason}
        case Restriction(RestrictionKind.BANNED, reason):
            return {"kind": "banned", "reason": reason}
    return None


def _ids(text: str) -> list[str]:
    ids = text.split(",")
    if len(ids) > _MAX_IDS:
        raise InvalidInput("invalid", f"ids: must be up to {_MAX_IDS} ids", status=422)
    return ids
