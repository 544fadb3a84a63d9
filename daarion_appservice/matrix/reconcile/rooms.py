"""Reconciles city rooms with their Matrix rooms.

    link (room_links) ─► rules (reconciled_rooms) ─► members (matrix_members) ─► name, topic, directory (room_metadata)
                                                ─► child of the space (space) ─► read-only or not (read_only_rooms)
                                                ─► admins (room_admins), avatar (room_appearance)

The database stores the values that were applied to the Matrix room, so only differences cause requests.
``matrix_error`` describes in a sentence what the city cannot repair: a room whose link is broken is ``failed``, and
nothing is sent to Matrix until it is linked again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from ...city.avatars import room_avatar
from ...city.identity import Identities
from ...city.power_levels import RoomPowerLevels
from ...city.types import MatrixStatus, Room, UserId
from ...errors import HomeserverRefused, RoomLinkBroken
from ..client.homeserver import Homeserver
from ..client.refusals import advice
from ..client.room_rules import RoomRules, pinned_json, read_rules
from .matrix_members import MatrixMembers
from .power_notices import PowerNotices, missing_power, power_advice
from .read_only_rooms import ReadOnlyRooms
from .reconciled_rooms import ReconciledRooms, matrix_room_of
from .room_admins import RoomAdmins
from .room_appearance import RoomAppearance
from .room_creators import RoomCreators
from .room_links import RoomLinks
from .room_metadata import RoomMetadata
from .space import CitySpace

_UNBAN_AND_INVITE: Final = "lift its ban, if it is banned, invite it there and give it power level 100"
_GIVE_POWER: Final = "give it power level 100 there"
_ENCRYPTED: Final = (
    "The Matrix room is encrypted: its new messages cannot be read here, and nothing is sent to it. Encryption cannot be "
    "turned off: archive this room and open a new one"
)


@dataclass(frozen=True, slots=True)
class MatrixRooms:
    """Runs the steps that make a Matrix room match its city room."""

    homeserver: Homeserver
    identities: Identities
    members: MatrixMembers
    store: ReconciledRooms
    links: RoomLinks
    metadata: RoomMetadata
    space: CitySpace
    read_only_rooms: ReadOnlyRooms
    power_notices: PowerNotices
    admins: RoomAdmins
    creators: RoomCreators
    appearance: RoomAppearance
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """One lock by slug: an alias query and a pass of the reconciler may check the same room."""

    async def reconcile(self, room: Room) -> Room:
        """Reconcile a room with its Matrix room; return the stored room after that.

        A refusal by the homeserver is not raised, but stored in the room's ``matrix_error``.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        bot = self.identities.bot
        async with self.locks[room.slug]:
            room = await self.store.get(room)
            try:
                room = await self.links.ensure(room)
                rules = await read_rules(self.homeserver, matrix_room_of(room), as_user=bot)
            except (HomeserverRefused, RoomLinkBroken) as error:
                return await self.store.set_status(room, MatrixStatus.FAILED, explain(error, bot, _UNBAN_AND_INVITE))
            room = await self.store.set_rules(room, rules)
            if room.encrypted:
                return await self.store.set_status(room, MatrixStatus.FAILED, _ENCRYPTED)
            missing = missing_power(rules.powers, bot)
            failure = await self._run_steps(room, rules)
            if missing is not None:
                failure = power_advice(bot, missing)
                if room.matrix_error != failure:
                    # Before the status is stored: a room that has this error already got the notice.
                    await self.power_notices.send(room, missing)
            return await self.store.set_status(room, MatrixStatus.LINKED, failure)

    async def _run_steps(self, room: Room, rules: RoomRules) -> str | None:
        """Apply all steps to a linked room; return the first failure as a sentence, or None."""
        failure = None
        try:
            rules = replace(rules, powers=await self._grant_levels(room, rules.powers))
        except HomeserverRefused as refused:
            failure = explain(refused, self.identities.bot, _GIVE_POWER)
        steps: list[Callable[[Room], Awaitable[None]]] = [
            self.members.update,
            self._take_over_pins,
            self.metadata.update_name_and_topic,
            self.metadata.update_directory,
            self.space.update_child,
            partial(self.read_only_rooms.update, rules=rules),
            partial(self._update_avatar, powers=rules.powers),
            partial(self._update_service_members, powers=rules.powers),
        ]
        for step in steps:
            # A failed step does not stop the others: in an adopted room where the bot is not an admin some steps succeed.
            try:
                await step(room)
            except HomeserverRefused as refused:
                failure = failure or explain(refused, self.identities.bot, _GIVE_POWER)
        return failure

    async def _grant_levels(self, room: Room, powers: RoomPowerLevels) -> RoomPowerLevels:
        """Grant the levels of admins and observer, and once that of the creator."""
        creator = await self.creators.without_level(room.id)
        powers = await self.admins.grant(matrix_room_of(room), powers, with_observer=True, more=creator)
        await self.creators.note_level(room.id)
        return powers

    async def _update_avatar(self, room: Room, powers: RoomPowerLevels) -> None:
        mxc = await self.appearance.update_avatar(matrix_room_of(room), room_avatar(room.slug), powers)
        await self.store.set_avatar(room, mxc)

    async def _update_service_members(self, room: Room, powers: RoomPowerLevels) -> None:
        await self.appearance.update_service_members(matrix_room_of(room), powers)

    async def alias_exists(self, alias: str) -> bool:
        """Answer the homeserver's query for an unknown alias; create the Matrix room if the alias is a city room's."""
        slug = self.identities.room_slug(alias)
        if slug is None:
            return False
        async with self.store.database.read_only() as tx:
            room = await tx.rooms.find(slug)
        if room is None or room.slug != slug or room.archived:
            return False
        if slug in self.links.slugs_being_resolved:
            # The city's own look-up may cause this query: waiting for the reconciliation would deadlock. A client may
            # also cause it, so the alias is set if the room is known.
            return await self.links.restore_alias(room)
        return (await self.reconcile(room)).matrix_status is MatrixStatus.LINKED

    async def _take_over_pins(self, room: Room) -> None:
        """Read the pinned events of a Matrix room that was linked, whose earlier state events were never delivered."""
        if room.pinned_events is None:
            bot = self.identities.bot
            content = await self.homeserver.state(matrix_room_of(room), "m.room.pinned_events", as_user=bot)
            await self.store.set_pinned_events(room, pinned_json(content or {}))


def explain(error: HomeserverRefused | RoomLinkBroken, bot: UserId, request: str) -> str:
    """Return a sentence for ``matrix_error`` that says what failed and who can fix it.

    Args:
        error: the refusal.
        bot: the bot's user id.
        request: what an admin of the room must do if the homeserver answered 403.
    """
    if isinstance(error, HomeserverRefused) and (known := advice(error)):
        return f"{error.message}: {known}"
    if isinstance(error, HomeserverRefused) and error.status == 403:
        return f"{error.message} (Matrix refuses {bot}: an admin of the room must {request})"
    return str(error)
