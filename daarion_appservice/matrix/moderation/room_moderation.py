"""Moderation of rooms from the city: kicks, bans, pinned messages, the picture, and who may write.

A change is a request to the homeserver at once, not an entry of the outbox: the moderator learns whether it took effect. The
city then receives its event like that of any other moderator, and stores the change.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ...city.agents import AgentDirectory
from ...city.events import RoomChanged, RoomCheckRequested
from ...city.identity import MAX_USER_ID_BYTES, Identities, is_citizen_id, is_user_id
from ...city.message_lookup import find_message
from ...city.moderation_rights import (
    MAX_WRITING_AGENTS,
    ModerationRights,
    Writers,
    may_remove,
    with_writers,
    writers_of,
)
from ...city.pictures import find_picture
from ...city.ports import Publish, publish_all
from ...city.power_levels import RoomPowerLevels
from ...city.restrictions import RestrictionKind
from ...city.text_sanitizing import one_line
from ...city.types import (
    AgentSlug,
    Author,
    EventId,
    Media,
    Message,
    Room,
    RoomId,
    SubjectId,
    UserId,
    is_agent,
    is_person,
)
from ...errors import Conflict, NotFound
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.room_rules import MAX_PINS, change_levels, pinned_ids
from ..outbound.former_rooms import FormerRooms
from .acting_moderator import ActingModerator, Moderators, power_too_low, translate_moderation_errors

MAX_REASON_CHARS: Final = 500
_RIGHTS_BYTES: Final = 256
"""The estimated size of one person's rights in the cache."""
_PINS: Final = "m.room.pinned_events"
_AVATAR: Final = "m.room.avatar"


@dataclass(frozen=True, slots=True)
class RoomModeration:
    """Changes rooms for their moderators.

    All methods raise what `Moderators.moderator` raises, and Forbidden (``power_too_low``) without the right.
    """

    database: Database
    homeserver: Homeserver
    identities: Identities
    agents: AgentDirectory
    moderators: Moderators
    former_rooms: FormerRooms
    publish: Publish
    locks: defaultdict[RoomId, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """One lock by room: a change of its state is read, changed and written."""

    async def check(
        self, author: Author, room_id: str, right: Callable[[ModerationRights], bool], *, is_admin: bool = False
    ) -> ActingModerator:
        """Return the author as a moderator with a right, on the homeserver's current power levels."""
        moderator = await self.moderators.moderator(author, room_id, is_admin=is_admin)
        if not right(moderator.rights):
            raise power_too_low(moderator.room)
        return moderator

    async def rights(self, room: Room, author: Author) -> ModerationRights:
        """Return the rights of an author by the power levels that the city stores, cached until the database changes."""

        async def read() -> ModerationRights:
            async with self.database.read_only() as tx:
                return await self.moderators.permissions.moderation_rights(tx, room, author)

        key = ("moderation rights", room.id, author.subject)
        return await self.database.read_cache.get(key, read, lambda _: _RIGHTS_BYTES)

    # --- members --------------------------------------------------------------------------------------

    async def kick(self, author: Author, room_id: str, subject: str, *, reason: str, is_admin: bool) -> None:
        """Remove a person from a room: the ghost, and the linked Matrix account.

        Args:
            author: the moderator.
            room_id: id or slug of the room.
            subject: the subject of the person to remove, an agent or a Matrix user included.
            reason: the reason, which the person and other members see; may be empty.
            is_admin: whether the author is an admin of the city.

        Raises:
            NotFound: there is no such room, or no person with this subject.
            Conflict: the person is not a member of the room.
            Forbidden: the moderator's power level does not exceed that of the person.
        """
        moderator = await self.check(author, room_id, lambda rights: rights.kick, is_admin=is_admin)
        users = await self._present(moderator, self._users(subject))
        if not users:
            raise Conflict("not_a_member", f"{subject} is not a member of the room {moderator.room.slug}")
        self._check_levels(moderator, users)
        room, reason = moderator.matrix_room, one_line(reason, MAX_REASON_CHARS)
        await moderator.act_on(
            users, lambda user, as_user: self.homeserver.kick(room, user, reason=reason, as_user=as_user)
        )

    async def ban(self, author: Author, room_id: str, subject: str, *, reason: str, is_admin: bool) -> None:
        """Ban a person from a room: the ghost and the linked Matrix account. The arguments are those of `kick`."""
        moderator = await self.check(author, room_id, lambda rights: rights.ban, is_admin=is_admin)
        users = self._users(subject)
        self._check_levels(moderator, users)
        room, reason = moderator.matrix_room, one_line(reason, MAX_REASON_CHARS)
        await moderator.act_on(
            users, lambda user, as_user: self.homeserver.ban(room, user, reason=reason, as_user=as_user)
        )

    async def unban(self, author: Author, room_id: str, subject: str, *, is_admin: bool) -> None:
        """Lift the bans of a person, of the ghost and of the linked Matrix account; without a ban nothing changes."""
        moderator = await self.check(author, room_id, lambda rights: rights.ban, is_admin=is_admin)
        users = self._users(subject)
        async with self.database.read_only() as tx:
            restrictions = await tx.restrictions.of_room(moderator.room.id)
        banned = [user for user in users if user in restrictions and restrictions[user].kind is RestrictionKind.BANNED]
        self._check_levels(moderator, banned)
        room = moderator.matrix_room
        await moderator.act_on(banned, lambda user, as_user: self.homeserver.unban(room, user, as_user=as_user))

    # --- state ----------------------------------------------------------------------------------------

    async def set_writers(self, author: Author, room_id: str, writers: Writers, *, is_admin: bool) -> None:
        """Set who may send messages in a room; an equal value changes nothing."""
        moderator = await self.check(author, room_id, lambda rights: rights.set_writers, is_admin=is_admin)
        agents = await self._writing_agents(moderator.room)

        def change(powers: RoomPowerLevels) -> dict[str, Any]:
            if writers_of(powers) is writers:
                return dict(powers.content)
            return with_writers(powers, writers, agents, is_agent=self.identities.is_agent)

        async with self.locks[moderator.room.id]:
            await moderator.act(
                lambda user: change_levels(
                    self.homeserver, moderator.matrix_room, moderator.powers, change, as_user=user
                )
            )

    async def _writing_agents(self, room: Room) -> list[UserId]:
        """Return the ghosts of a room's agents; of more than get a level, those who wrote last come first."""
        slugs = self.agents.of_room(room)
        if len(slugs) > MAX_WRITING_AGENTS:
            async with self.database.read_only() as tx:
                slugs = await tx.agent_messages.writers_first(room.id, slugs)
        return [self.identities.agent(slug) for slug in slugs]

    async def set_avatar(self, author: Author, room_id: str, mxc: str | None, *, is_admin: bool) -> None:
        """Set the picture of a room; an equal value changes nothing.

        Args:
            author: the moderator.
            room_id: id or slug of the room.
            mxc: the ``mxc://`` URI of a picture that the moderator uploaded; None removes the picture, and Matrix clients then
                show the house that the service draws.
            is_admin: whether the author is an admin of the city.

        Raises:
            InvalidInput: the moderator uploaded no such picture.
        """
        moderator = await self.check(author, room_id, lambda rights: rights.set_avatar, is_admin=is_admin)
        room = moderator.room
        if mxc == room.avatar_url:
            return
        content: dict[str, Any] = {}
        if mxc is not None:
            async with self.database.read_only() as tx:
                content = _avatar_content(await find_picture(tx, author, mxc))
        await moderator.act(
            lambda user: self.homeserver.set_state(moderator.matrix_room, _AVATAR, content, as_user=user)
        )
        # At once, so that the response has the picture; its event then changes nothing.
        async with self.database.transaction() as tx:
            await tx.rooms.set_avatar(room.id, mxc)
        publish_all(self.publish, [RoomChanged(replace(room, avatar_url=mxc)), RoomCheckRequested(room.id)])

    async def pin(self, author: Author, room_id: str, message_id: str, *, is_admin: bool) -> None:
        """Pin a message; a message that is pinned remains where it is.

        Raises:
            NotFound: the room has no such message that the author may read.
            Conflict: the message is deleted, not on Matrix yet or from before an upgrade of the Matrix room, or the room has
                `MAX_PINS` pinned messages.
        """
        moderator = await self.check(author, room_id, lambda rights: rights.pin, is_admin=is_admin)
        message = await self._message(moderator.room, message_id, author)
        if message.deleted:
            raise Conflict("message_deleted", "the message is deleted and cannot be pinned")
        if message.matrix_event_id is None:
            raise Conflict("message_not_sent", "the message is not on Matrix yet; try again")
        with translate_moderation_errors():
            former = await self.former_rooms.former_room_of(moderator.room, message.matrix_event_id)
        if former is not None:
            raise Conflict(
                "message_in_former_room",
                "the message is in the Matrix room from before the upgrade: Matrix clients find no pinned message there",
            )
        await self._change_pins(moderator, add=message.matrix_event_id)

    async def unpin(self, author: Author, room_id: str, message_id: str, *, is_admin: bool) -> None:
        """Unpin a message; a message that is not pinned changes nothing. Raises NotFound as `pin` does."""
        moderator = await self.check(author, room_id, lambda rights: rights.pin, is_admin=is_admin)
        message = await self._message(moderator.room, message_id, author)
        if message.matrix_event_id is not None:
            await self._change_pins(moderator, remove=message.matrix_event_id)

    async def _change_pins(
        self, moderator: ActingModerator, *, add: EventId | None = None, remove: EventId | None = None
    ) -> None:
        room, bot = moderator.matrix_room, self.identities.bot
        async with self.locks[moderator.room.id]:
            with translate_moderation_errors():
                before = pinned_ids(await self.homeserver.state(room, _PINS, as_user=bot) or {})
            after = [each for each in before if each != remove]
            if add is not None and add not in before:
                after.append(add)
            if len(after) > max(MAX_PINS, len(before)):
                raise Conflict("too_many_pins", f"a room has at most {MAX_PINS} pinned messages: unpin one first")
            if after != before:
                await moderator.act(
                    lambda user: self.homeserver.set_state(room, _PINS, {"pinned": after}, as_user=user)
                )

    async def _message(self, room: Room, message_id: str, author: Author) -> Message:
        async with self.database.read_only() as tx:
            readable = await self.moderators.permissions.readable_ranges(tx, room, author)
            return await find_message(tx, room, message_id, readable)

    # --- users ----------------------------------------------------------------------------------------

    def _users(self, subject: str) -> tuple[UserId, ...]:
        """Return the Matrix users of a person. Raises NotFound for an invalid subject."""
        subjects = self.identities.accounts.subjects_of(self._subject(subject))
        return tuple(map(self.identities.user, subjects))

    def _subject(self, subject: str) -> SubjectId:
        named = SubjectId(subject)
        if is_agent(named):
            is_known = self.agents.get(AgentSlug(subject.removeprefix("agent:"))) is not None
        elif is_person(named):
            # The subject of a ghost's user id is its citizen or agent; service users have none.
            found = self.identities.subject(UserId(subject)) if is_user_id(subject) else None
            is_known, named = found is not None, found or named
        else:
            is_known = is_citizen_id(subject) and len(self.identities.user(named)) <= MAX_USER_ID_BYTES
        if not is_known:
            raise NotFound("no_such_person", f"there is no person with the id {subject!r}")
        return named

    async def _present(self, moderator: ActingModerator, users: tuple[UserId, ...]) -> list[UserId]:
        async with self.database.read_only() as tx:
            return [user for user in users if await tx.members.get(moderator.room.id, user) is not None]

    def _check_levels(self, moderator: ActingModerator, users: Collection[UserId]) -> None:
        if not all(may_remove(moderator.level, moderator.powers.of(user)) for user in users):
            raise power_too_low(moderator.room)


def _avatar_content(picture: Media) -> dict[str, Any]:
    """Return the content of ``m.room.avatar`` with the known fields of ``ImageInfo``."""
    info = {"mimetype": picture.mimetype, "size": picture.size, "w": picture.width, "h": picture.height}
    return {"url": picture.mxc, "info": {name: value for name, value in info.items() if value is not None}}
