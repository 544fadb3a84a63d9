"""The second part of an erasure: the homeserver's data.

    pictures of rooms    ─► replaced by the houses that the city draws
    events of the data subject ─► redacted, by their ghost or by the bot
    the ghost   ─► leaves, loses name and avatar, is deactivated with ``erase``
    Matrix user ─► removed from the city's rooms; agents leave the direct chats
                   what the user does from the end of the first part on is a new person's, and stays

What is refused for good is noted as a remainder. Every request is repeatable: a redacted event is not redacted again, and a
deactivated ghost stays one.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Final

from ..city.data_subjects import DataSubject
from ..city.event_fields import content_of, event_id_of, sender_of, text, time_ms, type_of
from ..city.identity import Identities
from ..city.types import EventId, MatrixRoomId, UserId, user_subject
from ..errors import HomeserverRefused
from ..matrix.client.homeserver import Homeserver
from ..matrix.client.refusals import is_transient, is_unregistered
from ..storage.database import Database
from ..storage.personal_data.erasures import PendingRedaction, Plan, Remains, StoredErasure

_PAGE: Final = 100
_REASON: Final = "account erased"
_ELSEWHERE: Final = frozenset({400, 404})
"""Statuses of redactions of events that are unknown, or in another room."""
_AVATAR: Final = "m.room.avatar"
_KEPT_TYPES: Final = frozenset({"m.room.redaction", "m.room.create"})
"""Events without personal data. A redaction of a redaction has no effect."""


class HomeserverDataErasure:
    """Erases the homeserver's data of data subjects.

    All methods raise HomeserverUnavailable, and HomeserverRefused if the refusal is transient.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities

    async def run(self, erasure: StoredErasure, data_subject: DataSubject) -> None:
        """Erase everything on Matrix. Can be repeated."""
        # Before the redactions: a redacted event has no picture, and the city would not receive its removal.
        await self._remove_pictures(erasure, data_subject)
        joined = {ghost: await self._joined_rooms(ghost) for ghost in data_subject.ghosts}
        await self.redact_stored(erasure.id, {ghost for ghost, rooms in joined.items() if rooms})
        for ghost, rooms in joined.items():
            await self._redact_all(erasure, ghost, {*erasure.plan.rooms, *rooms}, as_self=rooms)
            await self._deactivate(erasure, ghost, rooms)
        if data_subject.user is not None:
            until_ms = await self._closed_at_ms(data_subject.user)
            await self._redact_all(erasure, data_subject.user, erasure.plan.rooms, as_self=(), until_ms=until_ms)
            await self._remove_from_rooms(erasure, data_subject.user, until_ms)
            await self._note(erasure, [Remains("account", data_subject.user, "the account belongs to the person")])
        await self._leave_chats(erasure.plan)

    async def redact_stored(self, erasure: str, active: Iterable[UserId] = ()) -> None:
        """Redact the events that are stored for an erasure.

        Args:
            erasure: the id of the erasure.
            active: the ghosts that still are in rooms, and redact their own events.
        """
        active = set(active)
        while True:
            async with self._database.read_only() as tx:
                redactions = await tx.erasures.redactions(erasure, limit=_PAGE)
            for each in redactions:
                users = ([each.sender] if each.sender in active else []) + [await self._moderator(each.room)]
                error = await self._redact_anywhere(erasure, each, users)
                async with self._database.transaction() as tx:
                    await tx.erasures.delete_redaction(each.event)
                    if error is None:
                        await tx.erasures.add_counts(erasure, {"redactions": 1})
                    else:
                        await tx.erasures.add_remains(erasure, [_unredacted(each.room, each.event, error)])
            if not redactions:
                return

    # --- redactions -----------------------------------------------------------------------------------

    async def _redact_all(
        self,
        erasure: StoredErasure,
        sender: UserId,
        rooms: Iterable[MatrixRoomId],
        *,
        as_self: Iterable[MatrixRoomId],
        until_ms: float = inf,
    ) -> None:
        """Redact the events that a user sent in these rooms until a time, also those that the city does not know."""
        own = set(as_self)
        for room in sorted(rooms):
            reader = sender if room in own else await self._moderator(room)
            cursor: str | None = None
            while True:
                try:
                    events, cursor = await self._homeserver.events_by(room, sender, cursor, limit=_PAGE, as_user=reader)
                except HomeserverRefused as error:
                    _raise_transient(error)
                    break  # The reader is not in the room, or the room is gone: stored events were redacted before.
                for event in filter(_is_to_be_redacted, events):
                    if time_ms(event) > until_ms:
                        continue
                    refusal = await self._redact(erasure.id, room, event_id_of(event), [reader])
                    if refusal is None:
                        await self._count(erasure, "redactions")
                    else:
                        await self._note(erasure, [_unredacted(room, event_id_of(event), refusal)])
                if cursor is None:
                    break

    async def _redact_anywhere(
        self, erasure: str, redaction: PendingRedaction, users: list[UserId]
    ) -> HomeserverRefused | None:
        """Redact an event in its room, or in a former Matrix room of the same city room."""
        error = await self._redact(erasure, redaction.room, redaction.event, users)
        if error is None or error.status not in _ELSEWHERE:
            return error
        for room in await self._former_rooms(redaction.room):
            if await self._redact(erasure, room, redaction.event, users) is None:
                return None
        # An unknown event has no content to redact.
        return None if error.status == 404 else error

    async def _redact(
        self, erasure: str, room: MatrixRoomId, event: EventId, users: list[UserId]
    ) -> HomeserverRefused | None:
        """Redact an event as the first of ``users`` who may; return the last refusal, or None."""
        refusal = None
        for user in users:
            try:
                await self._homeserver.redact(room, event, f"{erasure}{event}", as_user=user, with_device=False)
            except HomeserverRefused as error:
                _raise_transient(error)
                refusal = error
            else:
                return None
        return refusal

    async def _former_rooms(self, room: MatrixRoomId) -> list[MatrixRoomId]:
        async with self._database.read_only() as tx:
            of_city = await tx.rooms.by_matrix_id(room)
            return [] if of_city is None else await tx.matrix_rooms.former_of(of_city.id)

    async def _moderator(self, room: MatrixRoomId) -> UserId:
        """Return the user who redacts events of others in a room: the bot, or the agent of a direct chat."""
        async with self._database.read_only() as tx:
            found = await tx.rooms.by_matrix_id(room)
        return self._identities.bot if found is None else self._identities.service_user(found)

    # --- pictures of rooms ----------------------------------------------------------------------------

    async def _remove_pictures(self, erasure: StoredErasure, data_subject: DataSubject) -> None:
        """Remove the pictures of rooms that are files of the data subject; the reconciler sets those that the city draws."""
        users, files = set(data_subject.users), {each.name for each in erasure.remains if each.kind == "file"}
        until_ms = inf if data_subject.user is None else await self._closed_at_ms(data_subject.user)
        for room in erasure.plan.rooms:
            moderator = await self._moderator(room)
            try:
                event = await self._homeserver.state_event(room, _AVATAR, as_user=moderator) or {}
                url = text(content_of(event), "url")
                is_theirs = url in files or (sender_of(event) in users and time_ms(event) <= until_ms)
                if url and is_theirs:
                    await self._homeserver.set_state(room, _AVATAR, {}, as_user=moderator)
            except HomeserverRefused as error:
                # An event that cannot be replaced is redacted, or noted, like the others.
                _raise_transient(error)

    # --- users ----------------------------------------------------------------------------------------

    async def _joined_rooms(self, ghost: UserId) -> set[MatrixRoomId]:
        try:
            return await self._homeserver.joined_rooms(as_user=ghost)
        except HomeserverRefused as error:
            _raise_transient(error)
            return set()

    async def _deactivate(self, erasure: StoredErasure, ghost: UserId, rooms: Iterable[MatrixRoomId]) -> None:
        try:
            if rooms:
                # Before the ghost leaves: only users who share a room with it see its presence.
                await self._homeserver.set_presence(ghost, "offline", None)
            for room in sorted({*rooms, *await self._homeserver.invitations(as_user=ghost)}):
                await self._homeserver.leave(room, as_user=ghost)
            await self._homeserver.deactivate(ghost)
        except HomeserverRefused as error:
            if is_unregistered(error):
                return  # The citizen was never on Matrix.
            _raise_transient(error)
            await self._note(erasure, [Remains("account", ghost, str(error))])

    async def _closed_at_ms(self, user: UserId) -> float:
        """Return the time after which events of a Matrix user are those of a new person; infinity before that."""
        async with self._database.read_only() as tx:
            erased = await tx.erasures.erased(user_subject(user))
        return inf if erased is None or erased.erased_at_ms is None else erased.erased_at_ms

    async def _remove_from_rooms(self, erasure: StoredErasure, user: UserId, until_ms: float) -> None:
        """Kick a Matrix user from the city's rooms, except those that the user joined after a time."""
        for room in erasure.plan.rooms:
            try:
                moderator = await self._moderator(room)
                member = await self._homeserver.state_event(room, "m.room.member", user, as_user=moderator)
                is_in_room = member is not None and content_of(member).get("membership") in {"join", "invite", "knock"}
                if member is not None and is_in_room and time_ms(member) <= until_ms:
                    await self._homeserver.kick(room, user, reason=_REASON, as_user=moderator)
            except HomeserverRefused as error:
                _raise_transient(error)
                await self._note(erasure, [Remains("membership", room, str(error))])

    async def _leave_chats(self, plan: Plan) -> None:
        for room, user in plan.chats:
            if await self._is_new_chat(room):
                continue
            try:
                await self._homeserver.leave(room, as_user=user)
            except HomeserverRefused as error:
                _raise_transient(error)  # Otherwise the user is not in the chat.

    async def _is_new_chat(self, room: MatrixRoomId) -> bool:
        """Return whether the bot was invited to the room again: the chats of the first life are not stored any more."""
        async with self._database.read_only() as tx:
            return await tx.bot_chats.get(room) is not None

    async def _note(self, erasure: StoredErasure, remains: list[Remains]) -> None:
        async with self._database.transaction() as tx:
            await tx.erasures.add_remains(erasure.id, remains)

    async def _count(self, erasure: StoredErasure, name: str) -> None:
        async with self._database.transaction() as tx:
            await tx.erasures.add_counts(erasure.id, {name: 1})


def _is_to_be_redacted(event: dict[str, Any]) -> bool:
    unsigned = event.get("unsigned")
    is_redacted = isinstance(unsigned, dict) and "redacted_because" in unsigned
    has_content = bool(content_of(event).keys() - {"membership"})
    return not is_redacted and type_of(event) not in _KEPT_TYPES and has_content


def _unredacted(room: MatrixRoomId, event: EventId, error: HomeserverRefused) -> Remains:
    return Remains("event", f"{event} in {room}", str(error))


def _raise_transient(error: HomeserverRefused) -> None:
    """Raise a refusal that a later request may not meet."""
    if is_transient(error) and not is_unregistered(error):
        raise error
