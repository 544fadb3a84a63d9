"""Reconciles city rooms with their Matrix rooms: existence, alias, name and topic, directory, space, power levels.

    no Matrix room yet  ─► create it ─► is #city_<slug> taken? ─► adopt that room ─► linked
    has a Matrix room   ─► join it ─► was it upgraded? follow ─► does #city_<slug> lead to it? ─► linked
    linked              ─► members ─► name and topic ─► directory (read back) ─► child of the space ─► read-only or not

The database stores the values that the Matrix room has (``Told``), so only differences cause requests. ``matrix_error``
describes in a sentence what the city cannot repair: a room whose link is broken is ``failed``, and nothing is sent to
Matrix until it is linked again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson
import structlog

from ...city.events import MembershipChanged, RoomChanged
from ...city.identity import Identities
from ...city.member_log import MemberLog
from ...city.ports import Publish, publish_all
from ...city.read_only_levels import read_only, restored
from ...city.types import MatrixRoomId, MatrixStatus, Room
from ...errors import HomeserverRefused, RoomLinkBroken
from ...storage.database import Database
from ...storage.rooms import Told
from ..client.homeserver import Homeserver
from ..client.refusals import advice
from ..client.room_rules import RoomRules, read_rules, stored_json
from ..inbound.members import read_member
from .power_notices import PowerNotices, power_advice
from .upgrades import RoomUpgrades

_POWER_LEVELS: Final = "m.room.power_levels"
_OWN_STATE: Final = ("m.room.name", "m.room.topic", "m.space.parent", _POWER_LEVELS)
"""State events for which the bot needs the power level."""
_LET_IN: Final = "lift its ban, if it is banned, invite it there and give it power level 100"
_ENCRYPTED: Final = (
    "Somebody turned on encryption in the Matrix room: what is written there cannot be read here, and nothing is sent there. "
    "Encryption cannot be turned off again: archive this room and open a new one"
)

log = structlog.get_logger()


class MatrixRooms:
    """Creates, links and corrects the Matrix rooms of the city, and its space.

    Args:
        city_name: the name of the space.
        version: the room version of new rooms; an empty string for the homeserver's default.
        federate: ``m.federate`` of new rooms.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        members: MemberLog,
        upgrades: RoomUpgrades,
        publish: Publish,
        *,
        city_name: str,
        version: str,
        federate: bool,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._members = members
        self._upgrades = upgrades
        self._publish = publish
        self._power_notices = PowerNotices(homeserver, identities.bot)
        self._city_name = city_name
        self._version = version
        self._federate = federate
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._being_looked_up: set[str] = set()
        self._told_about_directory = False
        self.space: MatrixRoomId | None = None

    # --- the space ------------------------------------------------------------------------------------

    async def keep_space(self) -> MatrixRoomId:
        """Return the space #city, the parent of all rooms, and create it if there is none.

        The first call after the start asks the homeserver; later calls return the same room.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
            HomeserverRefused: the bot may not create or join the space, or the alias is an ordinary room's.
        """
        space = self.space or await self._homeserver.room_of_alias(self._identities.space_alias)
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
                as_user=self._identities.bot,
            )
            log.info("space_created", alias=self._identities.space_alias, room=space)
        elif self.space is None:
            await self._homeserver.join(self._identities.space_alias, as_user=self._identities.bot)
            await self._check_is_space(space)
        self.space = space
        return space

    async def _check_is_space(self, room: MatrixRoomId) -> None:
        created = await self._homeserver.state(room, "m.room.create", as_user=self._identities.bot) or {}
        if created.get("type") != "m.space":
            raise HomeserverRefused(
                409,
                "DAARION_NOT_A_SPACE",
                f"{self._identities.space_alias} is an ordinary room, and the city's space needs that alias: remove the alias "
                "from the room (in Element: room settings, local addresses)",
            )

    # --- rooms ----------------------------------------------------------------------------------------

    async def reconcile(self, room: Room) -> Room:
        """Reconcile a room with its Matrix room; return the stored room after that.

        A refusal by the homeserver is not raised, but stored in the room's ``matrix_error``.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        async with self._locks[room.slug]:
            room = await self._stored(room)
            try:
                room = await self._ensure_linked(room)
                rules = await read_rules(self._homeserver, _linked(room), as_user=self._identities.bot)
            except (HomeserverRefused, RoomLinkBroken) as error:
                return await self._mark(room, MatrixStatus.FAILED, self._explain(error))
            room = await self._learn(room, rules)
            if room.encrypted:
                return await self._mark(room, MatrixStatus.FAILED, _ENCRYPTED)
            wrong = await self._keep_in_order(room, rules)
            if (lack := self._lack(rules)) and room.matrix_error != wrong:
                # Before the status is stored: a room that has this error already got the notice.
                await self._power_notices.send(room, own=lack[0], needed=lack[1])
            return await self._mark(room, MatrixStatus.LINKED, wrong)

    async def _keep_in_order(self, room: Room, rules: RoomRules) -> str | None:
        """Apply all steps to a linked room; return the first failure as a sentence, or None."""
        wrong = self._lacks_power(rules)
        steps = (self._take_over_members, self._describe, self._list_in_directory, self._put_into_space)
        for step in (*steps, partial(self._close_or_open, rules)):
            # A failed step does not stop the others: in an adopted room where the bot is no admin some steps succeed.
            try:
                await step(room)
            except HomeserverRefused as refused:
                wrong = wrong or self._explain(refused, "give it power level 100 there")
        return wrong

    async def astray(self, rooms: list[Room]) -> list[Room]:
        """Return the rooms that the bot has left or whose alias leads elsewhere, which no event may have reported."""
        joined = await self._homeserver.joined_rooms(as_user=self._identities.bot)
        return [
            room
            for room in rooms
            if room.matrix_room_id not in joined
            or await self._look_up(room.slug, self._identities.room_alias(room.slug)) != room.matrix_room_id
        ]

    async def alias_exists(self, alias: str) -> bool:
        """Answer the homeserver's query for an unknown alias; create the Matrix room if the alias is a city room's."""
        slug = self._identities.room_slug(alias)
        if slug is None or slug in self._being_looked_up:
            # The city's own look-up of the alias causes this query: waiting for the room here would deadlock.
            return False
        async with self._database.reading() as tx:
            room = await tx.rooms.find(slug)
        if room is None or room.slug != slug or room.archived:
            return False
        return (await self.reconcile(room)).matrix_status is MatrixStatus.LINKED

    async def _ensure_linked(self, room: Room) -> Room:
        alias = self._identities.room_alias(room.slug)
        if room.matrix_room_id is not None and await self._come_back(room.matrix_room_id):
            room = await self._upgrades.follow(room)
            await self._keep_alias(room, alias)
            return room
        # A room is created without a look-up of its alias: the homeserver would send the look-up back as a query, and
        # while that is open, `alias_exists` answers no to all clients.
        there = None if room.matrix_room_id is None else await self._look_up(room.slug, alias)
        there = there or await self._create(room, alias)
        if other := await self._city_room_of(there, room):
            raise RoomLinkBroken(_alias_taken(alias, f"the city's room {other.slug} ({there})"))
        await self._homeserver.join(there, as_user=self._identities.bot)
        if there != room.matrix_room_id:
            log.info("room_linked", room=room.slug, alias=alias, matrix_room=there)
            rules = await read_rules(self._homeserver, there, as_user=self._identities.bot)
            async with self._database.transaction() as tx:
                # In the same transaction: no message counts as public before the history visibility is known.
                await tx.rooms.link(room.id, there, rules.visibility)
                await tx.rooms.governed(room.id, join_rule=rules.join_rule)
                # The restrictions belong to the former Matrix room.
                await tx.restrictions.forget_all(room.id)
                before = [member.user_id for member in await tx.members.of_room(room.id)]
                happened = await self._members.leave(tx, room.id, before)
            publish_all(self._publish, happened)
        return await self._stored(room)

    async def _come_back(self, matrix_room: MatrixRoomId) -> bool:
        """Join the bot to its room, which it may have been kicked from; return False if the room no longer exists."""
        try:
            await self._homeserver.join(matrix_room, as_user=self._identities.bot)
        except HomeserverRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _keep_alias(self, room: Room, alias: str) -> None:
        there = await self._look_up(room.slug, alias)
        if there == room.matrix_room_id:
            return
        if there is not None:
            other = await self._city_room_of(there, room)
            raise RoomLinkBroken(_alias_taken(alias, f"the city's room {other.slug} ({there})" if other else there))
        await self._homeserver.set_alias(alias, _linked(room), as_user=self._identities.bot)
        log.info("alias_set_again", room=room.slug, alias=alias)

    async def _city_room_of(self, matrix_room: MatrixRoomId, room: Room) -> Room | None:
        """Return the other city room that has this Matrix room."""
        async with self._database.reading() as tx:
            other = await tx.rooms.by_matrix_id(matrix_room)
        return None if other is None or other.id == room.id else other

    async def _look_up(self, slug: str, alias: str) -> MatrixRoomId | None:
        self._being_looked_up.add(slug)
        try:
            return await self._homeserver.room_of_alias(alias)
        finally:
            self._being_looked_up.discard(slug)

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
                as_user=self._identities.bot,
            )
        except HomeserverRefused as error:
            there = await self._look_up(room.slug, alias) if error.errcode == "M_ROOM_IN_USE" else None
            if there is None:
                raise
            return there

    async def _describe(self, room: Room) -> None:
        # Read the stored room again: a change from Matrix since the start of this pass must not be undone.
        room, told = await self._stored(room), await self._told(room)
        if told.name != room.name:
            await self._set_if_different(room, "m.room.name", {"name": room.name})
            told = await self._tell(room, replace(told, name=room.name))
        if told.topic != room.description:
            await self._set_if_different(room, "m.room.topic", {"topic": room.description})
            await self._tell(room, replace(told, topic=room.description))

    async def _set_if_different(self, room: Room, event_type: str, content: dict[str, Any]) -> None:
        matrix_room, bot = _linked(room), self._identities.bot
        there = await self._homeserver.state(matrix_room, event_type, as_user=bot) or {}
        if any(there.get(key, "") != value for key, value in content.items()):
            await self._homeserver.set_state(matrix_room, event_type, content, as_user=bot)

    async def _list_in_directory(self, room: Room) -> None:
        told, wanted = await self._told(room), not room.archived
        if told.in_directory is wanted:
            return
        matrix_room = _linked(room)
        # Synapse answers 200 even if `room_list_publication_rules` forbid it, so the directory is read back.
        if await self._homeserver.is_in_directory(matrix_room) is not wanted:
            try:
                await self._homeserver.set_in_directory(matrix_room, wanted, as_user=self._identities.bot)
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
                f'room_list_publication_rules:\n  - user_id: "{self._identities.bot}"\n    action: allow',
            )

    async def _put_into_space(self, room: Room) -> None:
        told, bot, matrix_room = await self._told(room), self._identities.bot, _linked(room)
        space = None if room.archived else self.space
        if told.in_space == space or self.space is None:
            return
        if space is None:
            await self._homeserver.set_state(self.space, "m.space.child", {}, matrix_room, as_user=bot)
        else:
            via = [self._identities.domain]
            child = {"via": via, "suggested": room.is_default}
            await self._homeserver.set_state(space, "m.space.child", child, matrix_room, as_user=bot)
            parent = {"via": via, "canonical": True}
            await self._homeserver.set_state(matrix_room, "m.space.parent", parent, space, as_user=bot)
        await self._take_former_out_of_space(room, self.space)
        await self._tell(room, replace(told, in_space=space))

    async def _take_former_out_of_space(self, room: Room, space: MatrixRoomId) -> None:
        async with self._database.reading() as tx:
            former = [matrix_room for matrix_room, of_room in await tx.rooms.former_ids() if of_room == room.id]
        for each in former:
            if await self._homeserver.state(space, "m.space.child", each, as_user=self._identities.bot):
                await self._homeserver.set_state(space, "m.space.child", {}, each, as_user=self._identities.bot)

    async def _close_or_open(self, rules: RoomRules, room: Room) -> None:
        """Make an archived room read-only on Matrix; restore the power levels of a room that is no longer archived."""
        told, content = await self._told(room), rules.powers.content
        if self._lacks_power(rules) or not (room.archived or told.archived):
            return
        if room.archived:
            if not told.archived:
                await self._tell(room, replace(told, archived=True))
            wanted = read_only(rules.powers, self._identities.bot)
        else:
            wanted = restored(content, orjson.loads(room.power_levels))
        if wanted != content:
            await self._homeserver.set_state(_linked(room), _POWER_LEVELS, wanted, as_user=self._identities.bot)
        if not room.archived:
            async with self._database.transaction() as tx:
                await tx.rooms.governed(room.id, power_levels=stored_json(wanted))
                await tx.rooms.set_told(room.id, replace(told, archived=False))

    def _lack(self, rules: RoomRules) -> tuple[float, float] | None:
        """Return the bot's power level and the one that it needs; None if it has enough."""
        needed = max(
            rules.powers.default("redact"), *(rules.powers.to_send(each, is_state=True) for each in _OWN_STATE)
        )
        own = rules.powers.of(self._identities.bot)
        return None if own >= needed else (own, needed)

    def _lacks_power(self, rules: RoomRules) -> str | None:
        lack = self._lack(rules)
        if lack is None:
            return None
        own, needed = lack
        return (
            f"{self._identities.bot} has power level {own:g} in the Matrix room and needs {needed:g}: "
            f"{power_advice(self._identities.bot, needed)}"
        )

    async def _take_over_members(self, room: Room) -> None:
        """Make the members of the Matrix room those of the city room, with joins and leaves that no event reported."""
        async with self._database.reading() as tx:
            moving = await tx.outbox.moving(room.id)
        joined = await self._homeserver.joined_members(_linked(room), as_user=self._identities.bot)
        now = [
            read_member(room.id, user, profile, name="display_name")
            for user, profile in joined.items()
            if self._identities.subject(user)
        ]
        async with self._database.transaction() as tx:
            happened = await self._members.take_over(tx, room.id, now, moving=moving)
            members = await tx.members.of_room(room.id)
        publish_all(self._publish, happened)
        # The command line may have stored them, without an event in this process.
        for member in members:
            if subject := self._identities.subject(member.user_id):
                self._publish(MembershipChanged(room.id, subject, joined=True))

    async def _learn(self, room: Room, rules: RoomRules) -> Room:
        """Store the state of the Matrix room that differs from the city room's; return the stored room."""
        told, power_levels = await self._told(room), stored_json(rules.powers.content)
        if told.archived:  # The Matrix room has the read-only levels; the city stores those from before.
            power_levels = room.power_levels
        visibility = rules.visibility
        async with self._database.reading() as tx:
            is_first = not await tx.rooms.is_visibility_known(room.id)
        known = (room.power_levels, room.join_rule, room.encrypted, room.history_visibility)
        if not is_first and (power_levels, rules.join_rule, rules.is_encrypted, visibility) == known:
            return room
        async with self._database.transaction() as tx:
            if is_first:
                await tx.rooms.first_visibility(room.id, visibility, since_ms=rules.visibility_since_ms)
            await tx.rooms.governed(
                room.id, power_levels=power_levels, join_rule=rules.join_rule, history_visibility=visibility
            )
            await tx.rooms.encrypted(room.id, is_on=rules.is_encrypted)
        return await self._stored(room)

    async def _stored(self, room: Room) -> Room:
        async with self._database.reading() as tx:
            stored = await tx.rooms.find(room.id)
        assert stored is not None
        return stored

    async def _mark(self, room: Room, status: MatrixStatus, error: str | None) -> Room:
        if (room.matrix_status, room.matrix_error) == (status, error):
            return room
        if error:
            log.warning("room_reconcile_failed", room=room.slug, status=status, error=error)
        elif room.matrix_error:
            log.info("room_reconciled", room=room.slug)
        async with self._database.transaction() as tx:
            await tx.rooms.mark(room.id, status, error)
        room = await self._stored(room)
        self._publish(RoomChanged(room))
        return room

    async def _told(self, room: Room) -> Told:
        async with self._database.reading() as tx:
            return await tx.rooms.told(room.id)

    async def _tell(self, room: Room, told: Told) -> Told:
        async with self._database.transaction() as tx:
            await tx.rooms.set_told(room.id, told)
        return told

    def _explain(self, error: HomeserverRefused | RoomLinkBroken, to_do: str = _LET_IN) -> str:
        if isinstance(error, HomeserverRefused) and (known := advice(error)):
            return f"{error.message}: {known}"
        if isinstance(error, HomeserverRefused) and error.status == 403:
            return f"{error.message} (Matrix refuses {self._identities.bot}: an admin of the room must {to_do})"
        return str(error)

    def _federation(self) -> dict[str, Any]:
        return {} if self._federate else {"m.federate": False}

    def _room_version(self) -> dict[str, Any]:
        return {"room_version": self._version} if self._version else {}


def _linked(room: Room) -> MatrixRoomId:
    assert room.matrix_room_id is not None
    return room.matrix_room_id


def _alias_taken(alias: str, there: str) -> str:
    return (
        f"The alias {alias} leads to another room, {there}: an admin of the homeserver must take it away there, and it is set "
        "again by itself"
    )


def _world_readable() -> dict[str, Any]:
    """Return the state event for ``world_readable``: the city shows its public rooms to every reader."""
    return {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "world_readable"}}
