"""The city's use cases for messages on a database, without the rest of the service."""

from __future__ import annotations

from dataclasses import dataclass

from daarion_appservice.city.agent_mentions import AgentMentions
from daarion_appservice.city.agent_replies import AgentReplies
from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.member_log import MemberLog
from daarion_appservice.city.membership import Membership
from daarion_appservice.city.message_edits import MessageEdits
from daarion_appservice.city.message_formatting import MessageFormatter
from daarion_appservice.city.messages import Draft, Messages
from daarion_appservice.city.permissions import RoomPermissions
from daarion_appservice.city.polls import Polls
from daarion_appservice.city.ports import Publish
from daarion_appservice.city.reactions import Reactions
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, MatrixRoomId, MatrixStatus, Message, RoomId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.inbound.bot_chats import BotChatHandlers
from daarion_appservice.matrix.inbound.direct_chats import DirectChatHandlers
from daarion_appservice.matrix.inbound.dispatch import EventHandlers
from daarion_appservice.matrix.inbound.members import MemberEvents
from daarion_appservice.matrix.inbound.messages import MessageEvents
from daarion_appservice.matrix.inbound.polls import PollEvents
from daarion_appservice.matrix.inbound.room_state import RoomStateEvents
from daarion_appservice.matrix.outbound.rendering import OutboxRenderer
from daarion_appservice.storage.database import Database, Transaction
from tests.parts.no_encryption import no_encryption

IDENTITIES = Identities("city.localhost", "daarion_bot")


@dataclass(frozen=True)
class MessagingHarness:
    agents: AgentDirectory
    agent_replies: AgentReplies
    database: Database
    messages: Messages
    message_edits: MessageEdits
    reactions: Reactions
    polls: Polls
    membership: Membership
    permissions: RoomPermissions
    renderer: OutboxRenderer
    members: MemberLog
    message_events: MessageEvents
    member_events: MemberEvents
    state_events: RoomStateEvents
    chat_events: DirectChatHandlers

    def handlers(self) -> EventHandlers:
        return EventHandlers(
            self.message_events,
            self.member_events,
            self.state_events,
            self.chat_events,
            BotChatHandlers(IDENTITIES, now_ms),
            no_encryption(self.database).decryptor,
        )

    async def post(self, author: Author, room: str, body: str, *, reply_to: str | None = None) -> Message:
        return (await self.messages.post(author, room, Draft(body, reply_to=reply_to))).message


def messaging_harness(database: Database, publish: Publish) -> MessagingHarness:
    agents = AgentDirectory()
    formatter, permissions = MessageFormatter(agents, IDENTITIES), RoomPermissions(IDENTITIES, agents)
    agent_replies = AgentReplies(agents, AgentMentions(agents, IDENTITIES), permissions, now_ms, new_id)
    members = MemberLog(IDENTITIES, now_ms, new_id)
    messages = Messages(database, publish, formatter, permissions, members, agent_replies, now_ms, new_id)
    changes = MessageEdits(database, publish, formatter, permissions, agent_replies, now_ms, new_id)
    reactions = Reactions(database, publish, permissions, now_ms, new_id)
    polls = Polls(database, publish, permissions, now_ms, new_id)
    return MessagingHarness(
        agents,
        agent_replies,
        database,
        messages,
        changes,
        reactions,
        polls,
        Membership(database, publish, members, permissions, agents, new_id),
        permissions,
        OutboxRenderer(messages, members, IDENTITIES),
        members,
        MessageEvents(IDENTITIES, messages, changes, reactions, PollEvents(IDENTITIES, polls)),
        MemberEvents(IDENTITIES, members, now_ms),
        RoomStateEvents(IDENTITIES, Rooms(database, publish, now_ms, new_id)),
        DirectChatHandlers(IDENTITIES, agents, now_ms, new_id),
    )


async def link(tx: Transaction, room: RoomId, matrix_room: str) -> None:
    """Link the room with a Matrix room that needs no reconciliation."""
    await tx.matrix_rooms.link(room, MatrixRoomId(matrix_room))
    await tx.matrix_rooms.set_status(room, MatrixStatus.LINKED, None)
