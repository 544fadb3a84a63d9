"""Permissions: whether a Matrix room's power levels, join rule and restrictions allow an author to join and to send."""

from __future__ import annotations

from dataclasses import replace

import orjson

from ..errors import Conflict, Forbidden
from .agents import AgentDirectory
from .citizen_pairs import CitizenChat
from .history_visibility import EVERYTHING, PUBLIC, ReadableRanges
from .identity import Identities
from .moderation_rights import NO_RIGHTS, ModerationRights, rights_of
from .ports import CityTransaction
from .power_levels import RoomPowerLevels, may_invite, may_notify_room, may_redact, may_send
from .reader_memberships import ReaderMemberships
from .restrictions import Restriction, RestrictionKind
from .types import Author, AuthorKind, CitizenId, Content, Room, UserId


class RoomPermissions:
    """What a Matrix room's moderators allow a citizen or an agent. Checks raise Forbidden if they do not allow it."""

    def __init__(self, identities: Identities, agents: AgentDirectory) -> None:
        self._identities = identities
        self._agents = agents
        self._readers = ReaderMemberships(identities)

    async def check_may_send(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden unless the author may send messages in the room."""
        await self._check_may_send(tx, room, author, "m.room.message")

    async def check_may_react(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden unless the author may react in the room."""
        await self._check_may_send(tx, room, author, "m.reaction")

    async def check_may_vote(self, tx: CityTransaction, room: Room, author: Author, event_type: str) -> None:
        """Raise Forbidden unless the author may send events of this type of polls in the room."""
        await self._check_may_send(tx, room, author, event_type)

    def may_redact(self, room: Room, author: Author) -> bool:
        """Return whether the author's power level allows to redact events of others."""
        return may_redact(room.power_levels, self._user(author))

    def check_is_redactable(self, room: Room, sender: Author, author: Author) -> None:
        """Raise Conflict unless the service can redact an event of ``sender``, who is ``author`` by another subject.

        The ghost of a linked person cannot redact what the person sent on Matrix. In a room the bot can; in a chat that was
        opened on Matrix the agent, if the power levels allow it: clients give it a level with ``trusted_private_chat`` only.
        """
        if room.agent is None or sender.subject == author.subject:
            return
        if not may_redact(room.power_levels, self._identities.service_user(room)):
            raise Conflict(
                "sent_on_matrix",
                "the agent of this chat may not redact it: use the Matrix client that you sent it with",
            )

    async def moderation_rights(self, tx: CityTransaction, room: Room, author: Author) -> ModerationRights:
        """Return what the room's power levels, as the city stores them, allow the author as a moderator."""
        powers = RoomPowerLevels(orjson.loads(room.power_levels))
        level = await self.moderator_level(tx, room, author, powers)
        return NO_RIGHTS if level is None else rights_of(powers, level)

    async def moderator_level(
        self, tx: CityTransaction, room: Room, author: Author, powers: RoomPowerLevels
    ) -> float | None:
        """Return the power level with which an author moderates a room.

        A person with a linked Matrix account has the higher level of the two users that are members.

        Args:
            tx: The transaction.
            author: The citizen or agent.
            powers: The room's power levels.

        Returns:
            The level; None for a direct chat, and for a person who is not a member, was kicked or is banned.
        """
        if room.is_direct or room.agent is not None or await self.is_removed(tx, room, author):
            return None
        users = await self._readers.users(tx, author)
        levels = [powers.of(user) for user in users if await tx.members.get(room.id, user) is not None]
        return max(levels, default=None)

    def may_notify_room(self, room: Room, author: Author) -> bool:
        """Return whether the author's power level allows to mention all members of the room."""
        return may_notify_room(room.power_levels, self._user(author))

    def authors_of(self, author: Author) -> tuple[Author, ...]:
        """Return the authors with the same canonical subject, ``author`` first: see ``linked_accounts``."""
        return self._identities.accounts.authors_of(author)

    def citizen_of(self, author: Author) -> CitizenId | None:
        """Return the citizen who is the author, or is linked with the Matrix user who is."""
        citizens = [each.id for each in self.authors_of(author) if each.kind is AuthorKind.CITIZEN]
        return CitizenId(citizens[0]) if citizens else None

    def is_same_person(self, author: Author, other: Author) -> bool:
        """Return whether two authors are the same person."""
        return self._identities.accounts.is_same_person(author.subject, other.subject)

    async def check_may_join(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden if the author is banned, or needs an invitation to join."""
        restriction = await self._readers.restriction(tx, room.id, author)
        _check_not_banned(room, restriction)
        await self._check_can_enter(tx, room, author, restriction)

    async def check_not_removed(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """Raise Forbidden if the author is banned or was kicked."""
        _check_not_removed(room, await self._readers.restriction(tx, room.id, author))

    async def is_removed(self, tx: CityTransaction, room: Room, author: Author) -> bool:
        """Return whether the author is banned, or was kicked and has not joined again."""
        restriction = await self._readers.restriction(tx, room.id, author)
        return restriction is not None and restriction.kind is not RestrictionKind.INVITED

    async def end_kick(self, tx: CityTransaction, room: Room, author: Author) -> None:
        """End the kicks of an author who joins again."""
        for user in await self._readers.users(tx, author):
            restriction = await tx.restrictions.get(room.id, user)
            if restriction is not None and restriction.kind is RestrictionKind.KICKED:
                await tx.restrictions.delete(room.id, user)

    async def readable_ranges(self, tx: CityTransaction, room: Room, author: Author) -> ReadableRanges:
        """Return the ranges of the room's history that the author may read: an agent all of its own chats. Raises nothing."""
        if room.agent is not None and author.kind is AuthorKind.AGENT:
            is_own = room.agent == author.id or author.id in await tx.direct_chats.agents(room.id)
            return EVERYTHING if is_own else PUBLIC
        return await self._readers.readable_ranges(tx, room, author)

    async def may_write_in_chat(self, tx: CityTransaction, room: Room, citizen: Author) -> bool:
        """Return whether a citizen's ghost can enter a chat that was opened on Matrix, and is not muted there."""
        can_enter = await self._can_enter_chat(tx, room, citizen)
        return can_enter and may_send(room.power_levels, self._user(citizen), "m.room.message")

    async def _can_enter_chat(self, tx: CityTransaction, room: Room, citizen: Author) -> bool:
        """Return whether a citizen's ghost is in a chat that was opened on Matrix, or the agent may invite it there."""
        if may_invite(room.power_levels, self._identities.service_user(room)):
            return True
        return await tx.membership_periods.is_joined(room.id, self._user(citizen))

    async def _check_may_send(self, tx: CityTransaction, room: Room, author: Author, event_type: str) -> None:
        if room.is_direct and (chat := await tx.citizen_chats.of_room(room.id)) is not None:
            await check_not_blocked(tx, chat)
        users, restriction = await self._readers.users_and_restriction(tx, room.id, author)
        _check_not_removed(room, restriction)
        await self._check_can_enter(tx, room, author, restriction)
        # The ghost sends the event, and a linked Matrix user whom the levels mute does not write by it.
        if not all(may_send(room.power_levels, user, event_type) for user in users):
            raise Forbidden("muted", f"the power levels of the room {room.slug} do not allow you to write")

    async def _check_can_enter(
        self, tx: CityTransaction, room: Room, author: Author, restriction: Restriction | None
    ) -> None:
        """Raise Forbidden for an author who is neither a member of a room that is not public nor invited to it."""
        if room.agent is not None:
            if author.kind is AuthorKind.CITIZEN and not await self._can_enter_chat(tx, room, author):
                raise Forbidden(
                    "invite_only", "the power levels of this chat do not let the agent invite you: write on Matrix"
                )
            return
        if room.join_rule == "public" or self._agents.is_assigned_to(author, room):
            return
        is_invited = restriction is not None and restriction.kind is RestrictionKind.INVITED
        if not is_invited and await tx.members.get(room.id, self._user(author)) is None:
            raise Forbidden("invite_only", f"the room {room.slug} can be joined by an invitation on Matrix only")

    def _user(self, author: Author) -> UserId:
        return self._identities.author(author)


def permitted_mentions(permissions: RoomPermissions, room: Room, author: Author, content: Content) -> Content:
    """Return the content without a mention of all members, which is plain text then, if the author may not make one."""
    if not content.details.mentions_room or (room.agent is None and permissions.may_notify_room(room, author)):
        return content
    return replace(content, details=replace(content.details, mentions_room=False))


def _check_not_removed(room: Room, restriction: Restriction | None) -> None:
    _check_not_banned(room, restriction)
    if restriction is not None and restriction.kind is RestrictionKind.KICKED:
        raise Forbidden(
            "kicked", f"you were kicked from the room {room.slug}{_because(restriction)}; join it again first"
        )


def _check_not_banned(room: Room, restriction: Restriction | None) -> None:
    if restriction is not None and restriction.kind is RestrictionKind.BANNED:
        raise Forbidden("banned", f"you are banned from the room {room.slug}{_because(restriction)}")


def _because(restriction: Restriction) -> str:
    return f": {restriction.reason}" if restriction.reason else ""


async def check_not_blocked(tx: CityTransaction, chat: CitizenChat) -> None:
    """Raise Forbidden if one of the two citizens blocks the other."""
    for citizen in chat.citizens:
        if CitizenId(chat.other(citizen)) in await tx.citizen_chats.blocked_by(citizen):
            raise Forbidden("blocked", "one of the two blocks direct messages of the other")
