"""Registration of ghosts, their profiles and their room memberships.

The table ``ghosts`` stores what the homeserver has of each ghost, and the table ``members`` stores its rooms, so that a
restart with a thousand agents sends no request for what is already done. When the homeserver does not know a ghost any
more (its database was recreated), the stored record is deleted and the ghost is registered again.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from ...city.avatars import DrawnAvatar, avatar_key
from ...city.event_fields import content_of, time_ms
from ...city.identity import Identities
from ...city.member_log import MemberLog
from ...city.online_members import OnlineMembers
from ...city.ports import Publish, publish_all
from ...city.restrictions import RestrictionKind
from ...city.types import MatrixRoomId, Member, Room, UserId
from ...errors import HomeserverRefused
from ...storage.database import Database
from ...storage.ghosts import DRAWN, Ghost
from ..avatars.drawn_avatars import DrawnAvatars
from ..client.homeserver import Homeserver
from ..client.membership_events import restriction_after
from ..client.refusals import ACCOUNT_TAKEN, is_transient, is_unregistered
from ..client.user_requests import CITY_DEVICE, ENCRYPTION_DEVICE_PREFIX
from .profiles import Profile, Profiles

REMOVED_BY_MODERATOR: Final = "DAARION_PUT_OUT"
"""The service's own errcode for joining a ghost to a room that a moderator kicked or banned it from."""
_FROM_FILE: Final = "sha256:"
"""The beginning of ``avatar_source`` of an avatar that was uploaded from a file: the hash of its content follows."""
_MAX_PICTURE_BYTES: Final = 10 * 1024 * 1024

log = structlog.get_logger()


class Ghosts:
    """The ghosts of the city: which are registered, with which profile, and in which rooms."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        members: MemberLog,
        online_members: OnlineMembers,
        publish: Publish,
        drawn_avatars: DrawnAvatars,
        profiles: Profiles,
        *,
        on_registered: Callable[[UserId], Awaitable[None]] | None = None,
    ) -> None:
        """``on_registered`` prepares a ghost that was registered, before it has a profile and is seen in rooms."""
        self._homeserver = homeserver
        self._drawn_avatars = drawn_avatars
        self.profiles = profiles
        self._members = members
        self._online_members = online_members
        self._database = database
        self._on_registered = on_registered
        self._identities = identities
        self._publish = publish
        self._stored: dict[UserId, Ghost] = {}
        self._locks: defaultdict[UserId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._devices_refused = False
        self._profiles_refused = False

    async def load(self) -> None:
        """Load the stored records of all ghosts from the database."""
        async with self._database.read_only() as tx:
            self._stored = {ghost.user_id: ghost for ghost in await tx.ghosts.all()}
        await self._drawn_avatars.load()

    def is_known(self, user: UserId) -> bool:
        """Return whether ``user`` is recorded as registered."""
        return user in self._stored

    def known(self) -> list[UserId]:
        """Return all users that are recorded as registered."""
        return list(self._stored)

    def display_name(self, user: UserId) -> str | None:
        """Return the display name in the ghost's profile."""
        ghost = self._stored.get(user)
        return ghost.display_name if ghost else None

    def has_device(self, user: UserId) -> bool:
        """Return whether the ghost's device is recorded as created."""
        ghost = self._stored.get(user)
        return ghost is not None and ghost.has_device

    def status_text(self, user: UserId) -> str | None:
        """Return the status text in the ghost's profile."""
        ghost = self._stored.get(user)
        return ghost.status_text if ghost else None

    async def set_status_text(self, user: UserId, text: str | None) -> None:
        """Store the status text that the ghost's profile has now."""
        async with self._locks[user]:
            if ghost := self._stored.get(user):
                await self._store(replace(ghost, status_text=text))

    def role_field(self, user: UserId) -> str | None:
        """Return the role field of the agent's profile, as JSON."""
        ghost = self._stored.get(user)
        return ghost.role_field if ghost else None

    async def set_role_field(self, user: UserId, text: str | None) -> None:
        """Store the role field that the agent's profile has now, as JSON."""
        async with self._locks[user]:
            if ghost := self._stored.get(user):
                await self._store(replace(ghost, role_field=text))

    def avatars_from_files(self) -> set[str]:
        """Return the ``mxc://`` URIs of the avatars that were uploaded from files."""
        return {ghost.avatar_mxc for ghost in self._stored.values() if ghost.avatar_mxc and _is_from_file(ghost)}

    async def forget_avatars(self, lost: Collection[str]) -> None:
        """Forget avatars that the homeserver has lost, so that ``ensure`` uploads their files again."""
        for ghost in list(self._stored.values()):
            if ghost.avatar_mxc in lost and _is_from_file(ghost):
                async with self._locks[ghost.user_id]:
                    await self._store(replace(self._stored[ghost.user_id], avatar_source=None, avatar_mxc=None))

    async def ensure(self, user: UserId, profile: Profile) -> None:
        """Register ``user`` and set its profile; send no request if both are already done.

        Raises:
            HomeserverUnavailable: the homeserver did not respond.
            HomeserverRefused: the homeserver refused, or the user id is the account of a person.
        """
        async with self._locks[user]:
            ghost = self._stored.get(user)
            if ghost is None:
                await self._register(user)
                ghost = await self._store(Ghost(user))
                await self._prepare(user)
            try:
                await self._update_profile(ghost, profile)
            except HomeserverRefused as error:
                if not is_unregistered(error):
                    raise
                await self.forget(user)
                await self._register(user)
                ghost = await self._store(Ghost(user))
                await self._prepare(user)
                await self._update_profile(ghost, profile)

    async def _prepare(self, user: UserId) -> None:
        if self._on_registered is not None:
            await self._on_registered(user)

    async def ensure_registered(self, user: UserId) -> None:
        """Register ``user`` without setting its profile. Raises HomeserverRefused if the id is a person's account."""
        async with self._locks[user]:
            if user not in self._stored:
                await self._register(user)

    async def _register(self, user: UserId) -> None:
        if await self._homeserver.register(user):
            return
        # A person may have registered this id before the namespace existed, and Synapse lets the service act as that
        # user. No client signs in as a ghost, so that a device other than CITY_DEVICE marks the account of a person.
        devices = await self._homeserver.devices(user)
        other_devices = [
            device for device in devices if device != CITY_DEVICE and not device.startswith(ENCRYPTION_DEVICE_PREFIX)
        ]
        if other_devices:
            setting = ", or set appservice.bot to another name" if user == self._identities.bot else ""
            raise HomeserverRefused(
                409,
                ACCOUNT_TAKEN,
                f"{user} is the account of a person, who is signed in with {len(other_devices)} session(s), and the city does "
                f"not take it over: deactivate that account or sign it out everywhere{setting}",
            )

    async def ensure_device(self, user: UserId) -> None:
        """Create a ghost's device, if the homeserver allows it; Synapse then stores transaction ids for a day."""
        async with self._locks[user]:
            ghost = self._stored.get(user)
            if ghost is None or ghost.has_device or self._devices_refused:
                return
            try:
                await self._homeserver.make_device(user)
            except HomeserverRefused as error:
                if is_unregistered(error) or is_transient(error):
                    raise
                self._devices_refused = True
                log.warning(
                    "no_devices",
                    error=str(error),
                    help="this Synapse does not let application services create devices (1.141 and later do): a "
                    "message may be duplicated if Synapse crashes within a second of its sending",
                )
                return
            await self._store(replace(ghost, has_device=True))

    def is_in(self, user: UserId, room: Room) -> bool:
        """Return whether a ghost is a member of a room, according to the city's records."""
        subject = self._identities.subject(user)
        return subject is not None and self._online_members.is_member(room.id, subject)

    async def ensure_joined(self, user: UserId, room: Room, *, invite: bool = False, force: bool = False) -> None:
        """Join a ghost to a city room.

        Args:
            invite: let the bot invite the ghost if the room requires it; only for ghosts that belong to the room.
            force: send the join even if the ghost is recorded as a member.

        Raises:
            HomeserverRefused: the homeserver refused, or a moderator kicked or banned the ghost (errcode
                ``REMOVED_BY_MODERATOR``).
        """
        assert room.matrix_room_id is not None
        if self.is_in(user, room) and not force:
            return
        await self._check_not_removed(user, room)
        if invite:
            await self._join_or_check_removal(user, room, room.matrix_room_id)
        else:
            await self._homeserver.join(room.matrix_room_id, as_user=user)
        ghost = self._stored.get(user, Ghost(user))
        async with self._database.transaction() as tx:
            member = Member(room.id, user, ghost.display_name, ghost.own_avatar)
            city_events = await self._members.join(tx, room.id, [member])
        publish_all(self._publish, city_events)

    async def join(self, user: UserId, room: MatrixRoomId) -> None:
        """Join a user of the service to a Matrix room; the bot invites it if the room requires an invitation."""
        try:
            await self._homeserver.join(room, as_user=user)
        except HomeserverRefused as error:
            if error.status != 403 or is_unregistered(error):
                raise
            await self._homeserver.invite(room, user, as_user=self._identities.bot)
            await self._homeserver.join(room, as_user=user)

    async def is_newcomer(self, user: UserId, room: MatrixRoomId) -> bool:
        """Return whether a ghost never joined a Matrix room: a member of the city room has not joined its upgraded one yet."""
        event = await self._homeserver.state_event(room, "m.room.member", user, as_user=self._identities.bot)
        return event is None or content_of(event).get("membership") == "invite"

    async def is_removed(self, user: UserId, room: Room) -> bool:
        """Return whether a refused request of a ghost would be refused again.

        This is so if the ghost is joined and lacks the permission, or if a moderator kicked or banned it. The latter is
        stored as a restriction, as the membership event would be: that event may be on its way, or may never arrive.
        """
        assert room.matrix_room_id is not None
        try:
            event = await self._homeserver.state_event(
                room.matrix_room_id, "m.room.member", user, as_user=self._identities.bot
            )
        except HomeserverRefused:
            return False
        if event is None:
            return False
        if content_of(event).get("membership") == "join":
            return True
        async with self._database.transaction() as tx:
            await tx.rooms.lock(room.id)
            restriction = restriction_after(event, user, await tx.restrictions.get(room.id, user))
            if restriction is None or restriction.kind is RestrictionKind.INVITED:
                return False
            if restriction.kind is RestrictionKind.KICKED and await tx.outbox.pending_moves(room.id, [user]):
                return True  # The kick is stored already, and the ghost's inhabitant has asked to join again since.
            await tx.restrictions.put(room.id, user, restriction, now_ms=time_ms(event))
            city_events = await self._members.record_removal(tx, room.id, user)
        publish_all(self._publish, city_events)
        return True

    async def _join_or_check_removal(self, user: UserId, room: Room, matrix_room: MatrixRoomId) -> None:
        try:
            await self.join(user, matrix_room)
        except HomeserverRefused as error:
            if error.status == 403 and not is_unregistered(error):
                # Without a stored restriction, an unknown ban would cause endless retries.
                await self.is_removed(user, room)
            raise

    async def _check_not_removed(self, user: UserId, room: Room) -> None:
        async with self._database.read_only() as tx:
            restriction = await tx.restrictions.get(room.id, user)
        if restriction is not None and restriction.kind is not RestrictionKind.INVITED:
            raise HomeserverRefused(
                403, REMOVED_BY_MODERATOR, f"{user} was put out of the room {room.slug} ({restriction.kind})"
            )

    async def not_joined(self, user: UserId, room: Room) -> None:
        """Record that a ghost is not a member of a room, contrary to the city's records."""
        async with self._database.transaction() as tx:
            city_events = await self._members.leave(tx, room.id, [user])
        publish_all(self._publish, city_events)

    async def forget(self, user: UserId) -> None:
        """Delete the record of a ghost that the homeserver does not know."""
        self._stored.pop(user, None)
        async with self._database.transaction() as tx:
            await tx.ghosts.delete(user)

    async def _update_profile(self, ghost: Ghost, profile: Profile) -> None:
        if ghost.display_name != profile.display_name:
            await self._log_if_forbidden(self._homeserver.set_display_name(ghost.user_id, profile.display_name))
            ghost = await self._store(replace(ghost, display_name=profile.display_name))
        if profile.avatar is not None:
            await self._update_avatar(ghost, profile.avatar, profile.drawn)

    async def _log_if_forbidden(self, change: Awaitable[None]) -> None:
        """Await a profile change; if the homeserver forbids users to change names and avatars, log this once."""
        try:
            await change
        except HomeserverRefused as error:
            if error.status != 403 or is_unregistered(error):
                raise
            if not self._profiles_refused:
                self._profiles_refused = True
                log.warning(
                    "profiles_refused",
                    error=str(error),
                    help="Synapse refuses display names and avatars: see enable_set_displayname and "
                    "enable_set_avatar_url in homeserver.yaml. Ghosts have neither until then",
                )

    async def _update_avatar(self, ghost: Ghost, avatar: str, drawn: DrawnAvatar | None) -> None:
        source, picture = await asyncio.to_thread(_read_picture, avatar) if avatar else (None, None)
        if source is not None:
            if ghost.avatar_source != source:
                await self._set_avatar(ghost, source, await self._uploaded(ghost.user_id, avatar, picture))
        elif avatar and ghost.own_avatar is not None:
            return  # The file cannot be read now: the avatar that was uploaded from it stays.
        elif drawn is not None:
            await self._set_drawn_avatar(ghost, drawn)
        elif ghost.avatar_source is not None:
            await self._set_avatar(ghost, None, None)

    async def _uploaded(self, user: UserId, avatar: str, picture: bytes | None) -> str:
        if picture is None:
            return avatar
        mimetype = mimetypes.guess_type(avatar)[0] or "application/octet-stream"
        return await self._homeserver.upload(user, picture, mimetype)

    async def _set_drawn_avatar(self, ghost: Ghost, drawn: DrawnAvatar) -> None:
        mxc = await self._drawn_avatars.address(drawn, current=ghost.avatar_mxc)
        source = DRAWN + avatar_key(drawn)
        if mxc is not None and (ghost.avatar_source, ghost.avatar_mxc) != (source, mxc):
            await self._set_avatar(ghost, source, mxc)
        elif mxc is None and ghost.own_avatar is not None:
            await self._set_avatar(ghost, None, None)

    async def _set_avatar(self, ghost: Ghost, source: str | None, mxc: str | None) -> None:
        await self._log_if_forbidden(self._homeserver.set_avatar(ghost.user_id, mxc or ""))
        await self._store(replace(ghost, avatar_source=source, avatar_mxc=mxc))

    async def _store(self, ghost: Ghost) -> Ghost:
        async with self._database.transaction() as tx:
            await tx.ghosts.put(ghost)
        self._stored[ghost.user_id] = ghost
        return ghost


def _is_from_file(ghost: Ghost) -> bool:
    return (ghost.avatar_source or "").startswith(_FROM_FILE)


def _read_picture(avatar: str) -> tuple[str | None, bytes | None]:
    """Return a value that identifies the picture's content, and the bytes of the picture if it has to be uploaded."""
    if avatar.startswith("mxc://"):
        return avatar, None
    path = Path(avatar)
    try:
        if path.stat().st_size > _MAX_PICTURE_BYTES:
            log.warning("avatar_too_large", file=avatar, help="10 MiB at most; the agent keeps the drawn avatar")
            return None, None
        picture = path.read_bytes()
    except OSError as error:
        log.warning("avatar_unreadable", file=avatar, error=str(error), help="the agent keeps the drawn avatar")
        return None, None
    return f"{_FROM_FILE}{hashlib.sha256(picture).hexdigest()}", picture
