"""The city's rooms on the homeserver, kept as they should be: there, named, in the directory, in the space.

    no Matrix room yet ─► create it ─► is #city_<slug> taken? ─► take that room over ─► linked
    linked             ─► name and topic ─► directory (checked, not believed) ─► child of the space ─► members

What the Matrix room was last told is remembered with the room, so only what differs is touched.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Any

import structlog

from ..city.events import MembershipChanged
from ..city.ports import Publish, publish_all
from ..city.types import MatrixRoomId, MatrixStatus, Member, Room
from ..errors import HomeserverRefused
from ..storage.database import Database
from ..storage.rooms import Told
from .events import storable
from .homeserver import Homeserver
from .namespace import Namespace
from .room_members import RoomMembers

log = structlog.get_logger()


class MatrixRooms:
    """``city_name`` is what the space is called; ``version`` an empty string for the homeserver's default."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        namespace: Namespace,
        members: RoomMembers,
        publish: Publish,
        *,
        city_name: str,
        version: str,
        federate: bool,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._namespace = namespace
        self._members = members
        self._publish = publish
        self._city_name = city_name
        self._version = version
        self._federate = federate
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._being_looked_up: set[str] = set()
        self._verified: set[MatrixRoomId] = set()
        self._told_about_directory = False
        self.space: MatrixRoomId | None = None

    # --- the space ------------------------------------------------------------------------------------

    async def keep_space(self) -> MatrixRoomId:
        """Have the space #city that all rooms are children of; once per start the homeserver is asked, not our memory."""
        space = self.space or await self._homeserver.room_of_alias(self._namespace.space_alias)
        if space is None:
            space = await self._homeserver.create_room(
                {
                    "preset": "public_chat",
                    "visibility": "public",
                    "room_alias_name": "city",
                    "name": self._city_name,
                    "creation_content": {"type": "m.space"} | self._federation(),
                    "power_level_content_override": {"events_default": 100},
                    "initial_state": [_world_readable()],
                    **self._room_version(),
                },
                as_user=self._namespace.bot,
            )
            log.info("space_created", alias=self._namespace.space_alias, room=space)
        elif self.space is None:
            await self._homeserver.join(self._namespace.space_alias, as_user=self._namespace.bot)
            await self._check_is_space(space)
        self.space = space
        return space

    async def _check_is_space(self, room: MatrixRoomId) -> None:
        created = await self._homeserver.state(room, "m.room.create", as_user=self._namespace.bot) or {}
        if created.get("type") != "m.space":
            raise HomeserverRefused(
                409,
                "DAARION_NOT_A_SPACE",
                f"{self._namespace.space_alias} is an ordinary room, and the city's space needs that alias: remove the alias "
                "from the room (in Element: room settings, local addresses)",
            )

    # --- rooms ----------------------------------------------------------------------------------------

    async def keep(self, room: Room) -> Room:
        """Have the Matrix side of a room as it should be; returns the room as it stands then.

        A refusal by the homeserver is not raised: the room says what is wrong with it (``matrix_error``).
        """
        async with self._locks[room.slug]:
            room = await self._stored(room)
            try:
                room = await self._ensure_linked(room)
            except HomeserverRefused as error:
                return await self._mark(room, MatrixStatus.FAILED, self._explain(error))
            wrong = None
            for step in (self._take_over_members, self._describe, self._list_in_directory, self._put_into_space):
                # Each for itself: in a room that was taken over and where the bot is no admin some still succeed.
                try:
                    await step(room)
                except HomeserverRefused as refused:
                    wrong = wrong or self._explain(refused)
            return await self._mark(room, MatrixStatus.LINKED, wrong)

    async def alias_exists(self, alias: str) -> bool:
        """Asked by the homeserver for a name that it does not know: a room of ours is made for it there and then."""
        slug = self._namespace.room_slug(alias)
        if slug is None or slug in self._being_looked_up:
            # Our own look-up comes back to us as a question; it must hear no, or nobody would ever answer.
            return False
        async with self._database.reading() as tx:
            room = await tx.rooms.find(slug)
        if room is None or room.slug != slug or room.archived:
            return False
        return (await self.keep(room)).matrix_status is MatrixStatus.LINKED

    async def _ensure_linked(self, room: Room) -> Room:
        if room.matrix_room_id in self._verified:
            return room
        alias = self._namespace.room_alias(room.slug)
        # A new room is made without asking for its alias first: the question would come back to us, and while it is open
        # whoever wants to join must hear no (see alias_exists).
        there = None if room.matrix_room_id is None else await self._look_up(room.slug, alias)
        if there is None and room.matrix_room_id is not None and await self._still_in(room.matrix_room_id):
            await self._homeserver.set_alias(alias, room.matrix_room_id, as_user=self._namespace.bot)
            there = room.matrix_room_id
        there = there or await self._create(room, alias)
        await self._homeserver.join(there, as_user=self._namespace.bot)
        if there != room.matrix_room_id:
            log.info("room_linked", room=room.slug, alias=alias, matrix_room=there)
            async with self._database.transaction() as tx:
                await tx.rooms.link(room.id, there)
                before = [member.user_id for member in await tx.members.of_room(room.id)]
                happened = await self._members.leave(tx, room.id, before)
            publish_all(self._publish, happened)
        self._verified.add(there)
        return await self._stored(room)

    async def _look_up(self, slug: str, alias: str) -> MatrixRoomId | None:
        self._being_looked_up.add(slug)
        try:
            return await self._homeserver.room_of_alias(alias)
        finally:
            self._being_looked_up.discard(slug)

    async def _still_in(self, matrix_room: MatrixRoomId) -> bool:
        try:
            await self._homeserver.joined_members(matrix_room, as_user=self._namespace.bot)
        except HomeserverRefused:
            return False
        return True

    async def _create(self, room: Room, alias: str) -> MatrixRoomId:
        try:
            return await self._homeserver.create_room(
                {
                    "preset": "public_chat",
                    "visibility": "public",
                    "room_alias_name": alias[1:].partition(":")[0],
                    "name": room.name,
                    "topic": room.description,
                    "initial_state": [_world_readable()],
                    "creation_content": self._federation(),
                    **self._room_version(),
                },
                as_user=self._namespace.bot,
            )
        except HomeserverRefused as error:
            there = await self._look_up(room.slug, alias) if error.errcode == "M_ROOM_IN_USE" else None
            if there is None:
                raise
            return there

    async def _describe(self, room: Room) -> None:
        told = await self._told(room)
        if told.name != room.name:
            await self._set_if_different(room, "m.room.name", {"name": room.name})
            told = await self._tell(room, replace(told, name=room.name))
        if told.topic != room.description:
            await self._set_if_different(room, "m.room.topic", {"topic": room.description})
            await self._tell(room, replace(told, topic=room.description))

    async def _set_if_different(self, room: Room, event_type: str, content: dict[str, Any]) -> None:
        matrix_room, bot = _linked(room), self._namespace.bot
        there = await self._homeserver.state(matrix_room, event_type, as_user=bot) or {}
        if any(there.get(key, "") != value for key, value in content.items()):
            await self._homeserver.set_state(matrix_room, event_type, content, as_user=bot)

    async def _list_in_directory(self, room: Room) -> None:
        told, wanted = await self._told(room), not room.archived
        if told.in_directory is wanted:
            return
        matrix_room = _linked(room)
        # A homeserver whose rules forbid it answers 200 all the same, so what counts is what it says when asked.
        if await self._homeserver.is_in_directory(matrix_room) is not wanted:
            try:
                await self._homeserver.set_in_directory(matrix_room, wanted, as_user=self._namespace.bot)
            except HomeserverRefused as error:
                log.debug("directory_refused", room=room.slug, error=str(error))
        is_listed = await self._homeserver.is_in_directory(matrix_room)
        await self._tell(room, replace(told, in_directory=is_listed))
        if wanted and not is_listed and not self._told_about_directory:
            self._told_about_directory = True
            log.warning(
                "not_in_directory",
                room=room.slug,
                help="Synapse keeps the city's rooms out of its public directory. To list them, add to homeserver.yaml:\n"
                f'room_list_publication_rules:\n  - user_id: "{self._namespace.bot}"\n    action: allow',
            )

    async def _put_into_space(self, room: Room) -> None:
        told, space, bot = await self._told(room), self.space, self._namespace.bot
        if space is None or told.in_space == space:
            return
        via = [self._namespace.domain]
        matrix_room = _linked(room)
        await self._homeserver.set_state(
            space, "m.space.child", {"via": via, "suggested": room.is_default}, matrix_room, as_user=bot
        )
        await self._homeserver.set_state(
            matrix_room, "m.space.parent", {"via": via, "canonical": True}, space, as_user=bot
        )
        await self._tell(room, replace(told, in_space=space))

    async def _take_over_members(self, room: Room) -> None:
        """Whoever is in the Matrix room is a member; what was missed while nobody listened is made up for here."""
        joined = await self._homeserver.joined_members(_linked(room), as_user=self._namespace.bot)
        now = {
            user: Member(room.id, user, _text(profile, "display_name"), _text(profile, "avatar_url"))
            for user, profile in joined.items()
            if self._namespace.subject(user)
        }
        async with self._database.transaction() as tx:
            before = {member.user_id: member for member in await tx.members.of_room(room.id)}
            happened = await self._members.join(
                tx, room.id, [member for user, member in now.items() if before.get(user) != member]
            )
            happened += await self._members.leave(tx, room.id, [user for user in before if user not in now])
        publish_all(self._publish, happened)
        # The command line may have written them down, and nobody in this process knows of it.
        for user in now.keys() & before.keys():
            if subject := self._namespace.subject(user):
                self._publish(MembershipChanged(room.id, subject, joined=True))

    async def _stored(self, room: Room) -> Room:
        async with self._database.reading() as tx:
            stored = await tx.rooms.find(room.id)
        assert stored is not None
        return stored

    async def _mark(self, room: Room, status: MatrixStatus, error: str | None) -> Room:
        if (room.matrix_status, room.matrix_error) != (status, error):
            if error:
                log.warning("room_not_right", room=room.slug, status=status, error=error)
            async with self._database.transaction() as tx:
                await tx.rooms.mark(room.id, status, error)
        return replace(room, matrix_status=status, matrix_error=error)

    async def _told(self, room: Room) -> Told:
        async with self._database.reading() as tx:
            return await tx.rooms.told(room.id)

    async def _tell(self, room: Room, told: Told) -> Told:
        async with self._database.transaction() as tx:
            await tx.rooms.set_told(room.id, told)
        return told

    def _explain(self, error: HomeserverRefused) -> str:
        if error.status == 403:
            return (
                f"{error.message} (Matrix refuses {self._namespace.bot}: an admin of the room must invite it there and "
                "give it power level 100)"
            )
        return str(error)

    def _federation(self) -> dict[str, Any]:
        return {} if self._federate else {"m.federate": False}

    def _room_version(self) -> dict[str, Any]:
        return {"room_version": self._version} if self._version else {}


def _linked(room: Room) -> MatrixRoomId:
    assert room.matrix_room_id is not None
    return room.matrix_room_id


def _world_readable() -> dict[str, Any]:
    """The city shows its public rooms to everybody; on Matrix they say so."""
    return {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "world_readable"}}


def _text(profile: dict[str, Any], key: str) -> str | None:
    value = profile.get(key)
    return storable(value) if isinstance(value, str) else None
