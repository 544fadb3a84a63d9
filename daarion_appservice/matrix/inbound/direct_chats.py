"""Handles state events of direct chats: invitations, joins, leaves, kicks and bans, and encryption.

The handlers only store that a chat has to be reconciled; ``reconcile.direct_chats`` reconciles it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

import structlog

from ...city.agents import AgentDirectory
from ...city.chat_departures import ChatDepartures
from ...city.event_fields import Event, content_of, event_id_of, inner, room_of, sender_of, text, type_of
from ...city.events import (
    ChatReadersChanged,
    CityEvent,
    DirectChatChanged,
    InvitationRejected,
    OutboxChanged,
    RoomCheckRequested,
    VerificationRequested,
)
from ...city.identity import Identities, ServiceUser, is_user_id
from ...city.ports import NewId, NowMs
from ...city.text_sanitizing import one_line
from ...city.types import (
    AgentSlug,
    Author,
    AuthorKind,
    CitizenId,
    HistoryVisibility,
    MatrixRoomId,
    Room,
    RoomId,
    UserId,
)
from ...storage.database import Transaction
from ...storage.direct_chats import ChatAgentState
from ...storage.invitations import Invitation
from ..encryption import verification
from ..encryption.support import UNREADABLE
from .message_removals import begin_message_removal

_MAX_ID_CHARS: Final = 255
_MAX_NAMES: Final = 500
"""Maximum number of people of one direct chat whose display names are stored at once."""
_MAX_PENDING_CHATS: Final = 20
"""Maximum number of one Matrix user's invitations that agents have not accepted yet."""

_MAX_PENDING_DECLINES: Final = 100
"""Maximum number of one Matrix user's invitations that wait to be declined."""
_OPEN_MS: Final = 3_600_000
"""Milliseconds for which an invitation stays open where the room may become the city's: the bot's, so that the room can be
adopted (``room adopt``), and all of a room that replaces one of the city, so that the city can follow the upgrade."""

NO_CHAT: Final = "I look after the city's rooms and do not chat. / Я дбаю про кімнати міста і не спілкуюся."
BOT_IN_DIRECT_CHATS: Final = (
    "I answer in direct chats: open one with me and write help. / "
    "Я відповідаю в особистих чатах: відкрийте такий зі мною й напишіть «допомога»."
)
NO_CITIZEN: Final = (
    "Citizens write from the city's pages: meet them in a room of the city. / "
    "Містяни пишуть зі сторінок міста: шукайте їх у його кімнатах."
)
NO_SUCH_AGENT: Final = "There is no such agent in the city. / У місті немає такого агента."
TOO_MANY: Final = (
    "Too many invitations at once: invite me again later. / Забагато запрошень одразу: запросіть мене пізніше."
)
"""The reasons that declined invitations carry."""

log = structlog.get_logger()


class DirectChatHandlers:
    """The handlers; each runs inside the transaction that marks its event as done."""

    def __init__(self, identities: Identities, agents: AgentDirectory, now_ms: NowMs, new_id: NewId) -> None:
        self._identities = identities
        self._departures = ChatDepartures(identities, new_id)
        self._agents = agents
        self._now_ms = now_ms
        self._new_id = new_id

    async def invited(self, tx: Transaction, event: Event) -> list[CityEvent]:
        """Handle an invitation to a room that the city does not have: open a direct chat of an agent, or decline."""
        agent, matrix_room = self._invited_agent(event), room_of(event)
        if not matrix_room.startswith("!") or len(matrix_room) > _MAX_ID_CHARS:
            return []
        if agent is None:
            return await self.decline_invitation(tx, event)
        inviter = sender_of(event)
        if await tx.direct_chats.count_pending(inviter) >= _MAX_PENDING_CHATS:
            log.warning(
                "invitation_ignored",
                agent=agent,
                by=inviter,
                help="the user sends too many invitations",
            )
            return await self._decline(tx, event, TOO_MANY)
        chat_id = f"direct_{self._new_id()}"
        chat = Room(
            id=RoomId(chat_id),
            slug=chat_id,
            name=inviter,
            description="",
            is_default=False,
            archived=False,
            created_at_ms=self._now_ms(),
            agent=agent,
            matrix_room_id=matrix_room,
            history_visibility=HistoryVisibility.SHARED,
        )
        await tx.rooms.add(chat, created_by=None)
        await tx.direct_chats.set_agent(chat.id, agent, ChatAgentState.INVITED)
        await tx.direct_chats.set_display_names(chat.id, _inviter_name(event))
        return [DirectChatChanged(chat.id)]

    async def decline_invitation(self, tx: Transaction, event: Event, *, agents_only: bool = False) -> list[CityEvent]:
        """Decline an invitation of a citizen's ghost, a service user or an unknown agent.

        For another membership than ``invite``, delete the stored invitation that it ends.

        Args:
            tx: the transaction that marks the event as done.
            event: an ``m.room.member`` event.
            agents_only: decline only those of unknown agents: in city rooms citizens may be invited.
        """
        user = UserId(text(event, "state_key"))
        if text(content_of(event), "membership") != "invite":
            if is_user_id(user):
                # The invitation was withdrawn or declined.
                await tx.invitations.delete(user, room_of(event))
            return []
        if not is_user_id(user) or not self._is_declinable(user) or self._identities.is_ours(sender_of(event)):
            return []
        reason = self._decline_reason(user, agents_only=agents_only)
        if reason is None:
            return []
        upgraded = await self._upgraded_room(tx, event)
        # Only a room with a name is likely to be adopted.
        may_be_adopted = user == self._identities.bot and not _is_direct(event) and _has_name(event)
        is_kept_open = may_be_adopted or upgraded is not None
        declined = await self._decline(tx, event, reason, after_ms=_OPEN_MS if is_kept_open else 0)
        if upgraded is None or user != self._identities.bot:
            return declined
        # The bot can join now, so that the city can follow the upgrade.
        return [*declined, RoomCheckRequested(upgraded.id)]

    async def _upgraded_room(self, tx: Transaction, event: Event) -> Room | None:
        """Return the city room which an invitation's room claims to replace; None if the inviter is no member of it.

        Whoever upgrades a room that needs an invitation invites its members, before the city follows the upgrade. A ghost
        whose invitation is declined could not come back, because the bot may have no power in the new room.
        """
        room = await tx.rooms.by_matrix_id(MatrixRoomId(_predecessor(event)))
        if room is None or room.agent is not None or await tx.members.get(room.id, sender_of(event)) is None:
            return None
        return room

    def _is_declinable(self, user: UserId) -> bool:
        """Return whether this is a user of the application service, or one whose id differs from such an id by capitals only.

        Synapse lets an application service register ids with capitals, so that their invitations can be declined.
        """
        return self._identities.is_ours(user) or self._identities.is_ours(UserId(user.lower()))

    def _decline_reason(self, user: UserId, *, agents_only: bool) -> str | None:
        """Return the reason to decline an invitation of a user of the application service; None to accept it."""
        match self._identities.describe(user):
            case (AuthorKind.AGENT, slug):
                return None if self._agents.get(AgentSlug(slug)) else NO_SUCH_AGENT
            case ServiceUser.INVALID_NAME if self._is_agent(UserId(user.lower())):
                return NO_SUCH_AGENT
            case _ if agents_only:
                return None
            case ServiceUser.BOT:
                return BOT_IN_DIRECT_CHATS
            case ServiceUser.OBSERVER:
                return NO_CHAT
        return NO_CITIZEN

    def _is_agent(self, user: UserId) -> bool:
        match self._identities.describe(user):
            case (AuthorKind.AGENT, _):
                return True
        return False

    async def _decline(self, tx: Transaction, event: Event, reason: str, *, after_ms: int = 0) -> list[CityEvent]:
        inviter, user = sender_of(event), UserId(text(event, "state_key"))
        if await tx.invitations.count_pending(inviter) >= _MAX_PENDING_DECLINES:
            log.warning("invitation_ignored", user=user, by=inviter, help="the user sends too many invitations")
            return []
        await tx.invitations.add(Invitation(user, room_of(event), inviter, reason, self._now_ms() + after_ms))
        return [InvitationRejected()]

    async def release_to_other_agent(self, tx: Transaction, chat: Room, event: Event) -> bool:
        """Release the room of a closed chat if another agent is invited there; return whether that is so.

        The new chat is another one, because the agent has not read the messages of the closed one.
        """
        agent = self._invited_agent(event) if chat.archived and type_of(event) == "m.room.member" else None
        if agent in {None, chat.agent}:
            return False
        await tx.direct_chats.replace_by_city_room(room_of(event))
        await tx.undecrypted.delete_room(room_of(event))
        return True

    async def member(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        """Handle a change of membership: close the chat, or have it reconciled, which counts its members."""
        membership = text(content_of(event), "membership")
        previous_membership = text(inner(inner(event, "unsigned"), "prev_content"), "membership")
        user = UserId(text(event, "state_key"))
        match self._identities.describe(user):
            case (AuthorKind.AGENT, slug):
                if membership == previous_membership:
                    return []
                return await self._agent_member(tx, chat, event, AgentSlug(slug))
            case (AuthorKind.CITIZEN, citizen) if await self._is_of_member(tx, chat, CitizenId(citizen)):
                # The person writes from the pages, and is no further member.
                if membership not in {previous_membership, "invite"}:
                    await self._record_membership_period(tx, chat, user, membership)
                return []
        if membership == "join" and is_user_id(user):
            await tx.direct_chats.set_display_names(chat.id, display_names({user: content_of(event)}))
        if membership in {previous_membership, "invite"}:
            return []
        await self._record_membership_period(tx, chat, user, membership)
        if chat.archived:
            return []  # Only an invitation of an agent opens it again.
        # A user who joins can read later messages at once, so the chat counts as shared before it is reconciled.
        await tx.direct_chats.mark_pending(chat.id, is_group=True if membership == "join" else None)
        removals = (
            await begin_message_removal(tx, chat, user, event, now_ms=self._now_ms())
            if membership in {"leave", "ban"}
            else []
        )
        return [DirectChatChanged(chat.id), ChatReadersChanged(chat.id), *removals]

    async def _is_of_member(self, tx: Transaction, chat: Room, citizen: CitizenId) -> bool:
        """Return whether a citizen is linked with a Matrix user who is joined to the chat."""
        account = await tx.accounts.of(citizen)
        return account is not None and await tx.membership_periods.is_joined(chat.id, account)

    async def _agent_member(self, tx: Transaction, chat: Room, event: Event, agent: AgentSlug) -> list[CityEvent]:
        """Handle a change of an agent's membership; the chat goes on for the others, and ends with its last agent."""
        membership, user = text(content_of(event), "membership"), self._identities.agent(agent)
        if membership == "invite":
            return await self._agent_invited(tx, chat, event)
        if membership == "join":
            if agent != chat.agent:
                # In closed chats the conversation for the agents core begins after the newest join.
                await self._record_membership_period(tx, chat, user, membership)
            return []
        await self._record_membership_period(tx, chat, user, membership)
        others = [each for each in await tx.direct_chats.agents(chat.id) if each != agent]
        if not others:
            if agent == chat.agent:
                await self._departures.store_for_chat(tx, chat.id)
                await tx.direct_chats.close(chat.id)
            return [ChatReadersChanged(chat.id), OutboxChanged()]
        await tx.direct_chats.remove_agent(chat.id, agent)
        if agent == chat.agent:
            await tx.direct_chats.set_reader(chat.id, others[0])
        await tx.direct_chats.mark_pending(chat.id)
        return [DirectChatChanged(chat.id)]

    async def _agent_invited(self, tx: Transaction, chat: Room, event: Event) -> list[CityEvent]:
        agent = self._invited_agent(event)
        if agent is None:
            return []
        if set(await tx.direct_chats.agents(chat.id)) - {agent}:
            # The other agents must not answer as if alone while this one joins.
            await tx.direct_chats.mark_group(chat.id)
        else:
            await tx.direct_chats.mark_pending(chat.id)
        await tx.direct_chats.set_agent(chat.id, agent, ChatAgentState.INVITED)
        return [DirectChatChanged(chat.id), ChatReadersChanged(chat.id)]

    async def _record_membership_period(self, tx: Transaction, chat: Room, user: UserId, membership: str) -> None:
        """Record the membership period.

        It decides which messages the agents may repeat to the member, and what a linked person reads in the pages.
        """
        if not is_user_id(user):
            return
        if membership == "join":
            await tx.membership_periods.record_joins(chat.id, {user: chat.last_seq + 1})
        else:
            await tx.membership_periods.end_periods(chat.id, [user], chat.last_seq)

    async def unreadable(self, tx: Transaction, chat: Room) -> list[CityEvent]:
        """Have the agent of an encrypted chat say once that it cannot read it: encryption is off, or refused by the homeserver.

        Args:
            tx: the transaction that stores the request.
            chat: the chat; nothing happens if it is archived.

        Returns:
            The city events to publish after the commit.
        """
        assert chat.agent is not None
        if await tx.messages.by_client_id(Author(AuthorKind.AGENT, chat.agent, ""), chat.id, UNREADABLE):
            return []
        return await self.request_reconciliation(tx, chat)

    async def openness(self, tx: Transaction, chat: Room, *, is_open: bool) -> list[CityEvent]:
        """Have a chat reconciled whose join rule or history visibility changed.

        Args:
            tx: the transaction that marks the event as done.
            is_open: everyone may join or read the room now, so that the chat counts as shared before it is reconciled.
        """
        if chat.archived:
            return []
        await tx.direct_chats.mark_pending(chat.id, is_group=True if is_open else None)
        return [DirectChatChanged(chat.id), ChatReadersChanged(chat.id)]

    async def request_reconciliation(self, tx: Transaction, chat: Room) -> list[CityEvent]:
        """Mark an open chat for the reconciler: its encryption is not known, or its power levels have changed."""
        if chat.archived:
            return []
        await tx.direct_chats.mark_pending(chat.id)
        return [DirectChatChanged(chat.id)]

    def verification(self, chat: Room, event: Event) -> list[CityEvent]:
        """Return the event that has an agent decline a verification that the event requests of its ghost."""
        content = content_of(event)
        if chat.archived or type_of(event) != "m.room.message" or text(content, "msgtype") != verification.REQUEST:
            return []
        if not self._identities.is_person(sender_of(event)):
            return []
        match self._identities.describe(UserId(text(content, "to"))):
            case (AuthorKind.AGENT, slug):
                return [VerificationRequested(chat.id, event_id_of(event), AgentSlug(slug))]
        return []

    def _invited_agent(self, event: Event) -> AgentSlug | None:
        user = UserId(text(event, "state_key"))
        is_invitation = text(content_of(event), "membership") == "invite"
        if not is_invitation or not is_user_id(user) or not self._identities.is_person(sender_of(event)):
            return None
        match self._identities.describe(user):
            case (AuthorKind.AGENT, slug):
                agent = self._agents.get(AgentSlug(slug))
                return agent.slug if agent else None
        return None


def display_names(profiles: Mapping[UserId, Event]) -> dict[UserId, str]:
    """Return the display names in ``m.room.member`` contents or profiles, of at most `_MAX_NAMES` users."""
    names = {}
    for user, profile in islice(profiles.items(), _MAX_NAMES):
        name = one_line(text(profile, "displayname") or text(profile, "display_name"))
        if name and is_user_id(user):
            names[user] = name
    return names


def _inviter_name(event: Event) -> dict[UserId, str]:
    """Return the display name of the inviter, which the stripped state of an invitation contains."""
    inviter = sender_of(event)
    for each in _invite_state(event):
        if type_of(each) == "m.room.member" and text(each, "state_key") == inviter:
            return display_names({inviter: content_of(each)})
    return {}


def _is_direct(event: Event) -> bool:
    return content_of(event).get("is_direct") is True


def _has_name(event: Event) -> bool:
    """Return whether the invitation includes the name of its room (client-server API, "Stripped state")."""
    return any(type_of(each) == "m.room.name" and text(content_of(each), "name") for each in _invite_state(event))


def _predecessor(event: Event) -> str:
    """Return the id of the room which the invitation's room claims to replace, or an empty text."""
    for each in _invite_state(event):
        if type_of(each) == "m.room.create" and text(each, "state_key") == "":
            return text(inner(content_of(each), "predecessor"), "room_id")
    return ""


def _invite_state(event: Event) -> list[Event]:
    state = inner(event, "unsigned").get("invite_room_state")
    return [each for each in state if isinstance(each, dict)] if isinstance(state, list) else []
