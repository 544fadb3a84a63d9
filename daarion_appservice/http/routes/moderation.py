"""The routes ``/city/rooms/{room_id}/…`` of moderators: kicks, bans and pinned messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.restrictions import Restriction, RestrictionKind
from ...city.types import AgentSlug, Author, AuthorKind, CitizenId, RoomId, SubjectId, author_key
from ...matrix.moderation.room_moderation import MAX_REASON_CHARS, RoomModeration
from ...storage.database import Database, Transaction
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.principals import Access, is_admin
from ..author_views import author_view
from ..pinned_messages import PinnedMessages
from ..routing import Body, Call, NoBody, NoContent, NoQuery, endpoint

_ROOM: Final = "/city/rooms/{room_id}"
_BAN: Final = _ROOM + "/bans/{subject}"
_PIN: Final = _ROOM + "/pins/{message_id}"

CHANGE_ERRORS: Final = (
    "power_too_low",
    "room_archived",
    "room_being_deleted",
    "room_not_linked",
    "homeserver_refused",
    "homeserver_unavailable",
)
"""The errors of changes that a moderator makes at once on the homeserver."""
_ROOM_ERRORS: Final = ("no_such_room", *CHANGE_ERRORS)
_REASON: Final = "The reason, which the person and the members see."


class Kick(Body):
    """A person to remove from a room."""

    subject: str = Field(
        min_length=1,
        max_length=255,
        description="The subject: a citizen id, `agent:<slug>` or a Matrix user id.",
        examples=["@olena:daarion.space"],
    )
    reason: str = Field("", max_length=MAX_REASON_CHARS, description=_REASON, examples=["off topic"])


class BanReason(Body):
    """Why a person is banned."""

    reason: str = Field("", max_length=MAX_REASON_CHARS, description=_REASON, examples=["off topic"])


@dataclass(frozen=True, slots=True)
class ModerationRoutes:
    database: Database
    moderation: RoomModeration
    pinned: PinnedMessages
    actors: ActorDirectory
    agents: AgentDirectory
    identities: Identities

    @endpoint(
        "POST",
        _ROOM + "/kick",
        access=Access.ACTORS,
        body=Kick,
        status=204,
        summary="Remove a person from a room",
        response=NoContent,
        errors=(*_ROOM_ERRORS, "no_such_person", "not_a_member"),
    )
    async def kick(self, call: Call[Kick, NoQuery]) -> None:
        """The person may join again. The client needs the power level for it on Matrix, and a higher one than the person; admins
        need none. The event `city.room.leave` with the cause `kicked` follows. A linked Matrix account is removed as well.
        """
        await self.moderation.kick(
            self.actors.of(call.principal),
            call.path["room_id"],
            call.body.subject,
            reason=call.body.reason,
            is_admin=is_admin(call.principal),
        )

    @endpoint(
        "GET",
        _ROOM + "/bans",
        access=Access.ACTORS,
        summary="List bans",
        response=list[schemas.Ban],
        errors=_ROOM_ERRORS,
    )
    async def list_bans(self, call: Call[NoBody, NoQuery]) -> list[schemas.Ban]:
        """Returns the people who are banned from the room. For clients that may ban."""
        moderator = await self.moderation.check(
            self.actors.of(call.principal),
            call.path["room_id"],
            lambda rights: rights.ban,
            is_admin=is_admin(call.principal),
        )
        async with self.database.read_only() as tx:
            return await self._bans(tx, moderator.room.id)

    @endpoint(
        "PUT",
        _BAN,
        access=Access.ACTORS,
        body=BanReason,
        status=204,
        summary="Ban a person from a room",
        response=NoContent,
        errors=(*_ROOM_ERRORS, "no_such_person"),
    )
    async def ban(self, call: Call[BanReason, NoQuery]) -> None:
        """The person, who need not be a member, leaves the room and may not join again until the ban is lifted. The conditions
        are those of a kick. A linked Matrix account is banned as well.
        """
        await self.moderation.ban(
            self.actors.of(call.principal),
            call.path["room_id"],
            call.path["subject"],
            reason=call.body.reason,
            is_admin=is_admin(call.principal),
        )

    @endpoint(
        "DELETE",
        _BAN,
        access=Access.ACTORS,
        status=204,
        summary="Lift a ban",
        response=NoContent,
        errors=(*_ROOM_ERRORS, "no_such_person"),
    )
    async def unban(self, call: Call[NoBody, NoQuery]) -> None:
        """The person may join again. Lifting a ban that does not exist changes nothing."""
        await self.moderation.unban(
            self.actors.of(call.principal),
            call.path["room_id"],
            call.path["subject"],
            is_admin=is_admin(call.principal),
        )

    @endpoint(
        "GET",
        _ROOM + "/pins",
        access=Access.READERS,
        summary="List pinned messages",
        response=list[schemas.Message],
        errors=("no_such_room",),
    )
    async def list_pins(self, call: Call[NoBody, NoQuery]) -> list[schemas.Message]:
        """Returns the pinned messages that the client may read, the newest pin first, at most 100. The event `city.room.updated`
        tells that pins may have changed.
        """
        return await self.pinned.of(call.path["room_id"], call.principal)

    @endpoint(
        "PUT",
        _PIN,
        access=Access.ACTORS,
        status=204,
        summary="Pin a message",
        response=NoContent,
        errors=(
            *_ROOM_ERRORS,
            "no_such_message",
            "message_deleted",
            "message_not_sent",
            "message_in_former_room",
            "too_many_pins",
        ),
    )
    async def pin_message(self, call: Call[NoBody, NoQuery]) -> None:
        """The message is pinned on Matrix. The client needs the power level for `m.room.pinned_events`. Pinning it again changes
        nothing.
        """
        await self.moderation.pin(
            self.actors.of(call.principal),
            call.path["room_id"],
            call.path["message_id"],
            is_admin=is_admin(call.principal),
        )

    @endpoint(
        "DELETE",
        _PIN,
        access=Access.ACTORS,
        status=204,
        summary="Unpin a message",
        response=NoContent,
        errors=(*_ROOM_ERRORS, "no_such_message"),
    )
    async def unpin_message(self, call: Call[NoBody, NoQuery]) -> None:
        """Unpinning a message that is not pinned changes nothing."""
        await self.moderation.unpin(
            self.actors.of(call.principal),
            call.path["room_id"],
            call.path["message_id"],
            is_admin=is_admin(call.principal),
        )

    async def _bans(self, tx: Transaction, room: RoomId) -> list[schemas.Ban]:
        people: dict[SubjectId, Restriction] = {}
        for user, restriction in (await tx.restrictions.of_room(room)).items():
            subject = self.identities.subject(user)
            if restriction.kind is RestrictionKind.BANNED and subject is not None:
                people.setdefault(self.identities.accounts.canonical_subject(subject), restriction)
        authors = {subject: author_key(subject) for subject in people}
        citizens = [CitizenId(name) for kind, name in authors.values() if kind is AuthorKind.CITIZEN]
        names = await tx.citizens.names(citizens)
        return [
            {
                "subject": subject,
                "person": author_view(self._author(*authors[subject], names), self.identities),
                "reason": restriction.reason,
            }
            for subject, restriction in people.items()
        ]

    def _author(self, kind: AuthorKind, name: str, names: dict[CitizenId, str]) -> Author:
        agent = self.agents.get(AgentSlug(name)) if kind is AuthorKind.AGENT else None
        display_name = agent.display_name if agent is not None else names.get(CitizenId(name), name)
        return self.identities.accounts.with_profile(Author(kind, name, display_name))
