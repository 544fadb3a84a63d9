"""The city's use cases for messages on a database, without the rest of the service."""

from __future__ import annotations

from dataclasses import dataclass

from daarion_appservice.city.agent_mentions import Addressing
from daarion_appservice.city.agent_replies import Answers
from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.identity import Namespace
from daarion_appservice.city.member_log import RoomMembers
from daarion_appservice.city.membership import Membership
from daarion_appservice.city.message_edits import Changes
from daarion_appservice.city.message_formatting import MatrixWording
from daarion_appservice.city.messages import Draft, Messages
from daarion_appservice.city.permissions import MatrixDoorkeeper
from daarion_appservice.city.ports import Publish
from daarion_appservice.city.reactions import Reactions
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, MatrixRoomId, MatrixStatus, Message, RoomId
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.inbound.direct_chats import DirectChatEvents
from daarion_appservice.matrix.inbound.dispatch import EventHandlers
from daarion_appservice.matrix.inbound.members import MemberEvents
from daarion_appservice.matrix.inbound.messages import MessageEvents
from daarion_appservice.matrix.inbound.room_state import RoomStateEvents
from daarion_appservice.matrix.outbound.rendering import Letters
from daarion_appservice.storage.database import Database, Transaction

NAMESPACE = Namespace("city.localhost", "daarion_bot")


@dataclass(frozen=True)
class Desk:
    agents: AgentDirectory
    answers: Answers
    messages: Messages
    changes: Changes
    reactions: Reactions
    membership: Membership
    doorkeeper: MatrixDoorkeeper
    letters: Letters
    members: RoomMembers
    message_events: MessageEvents
    member_events: MemberEvents
    state_events: RoomStateEvents
    chat_events: DirectChatEvents

    def handlers(self) -> EventHandlers:
        return EventHandlers(self.message_events, self.member_events, self.state_events, self.chat_events)

    async def post(self, author: Author, room: str, body: str, *, reply_to: str | None = None) -> Message:
        return (await self.messages.post(author, room, Draft(body, reply_to=reply_to))).message


def desk(database: Database, publish: Publish) -> Desk:
    agents = AgentDirectory()
    wording, doorkeeper = MatrixWording(agents, NAMESPACE), MatrixDoorkeeper(NAMESPACE, agents)
    answers = Answers(agents, Addressing(agents, NAMESPACE.agent), now_ms, new_id)
    members = RoomMembers(NAMESPACE, now_ms, new_id)
    messages = Messages(database, publish, wording, doorkeeper, members, answers, now_ms, new_id)
    changes = Changes(database, publish, wording, doorkeeper, answers, now_ms, new_id)
    reactions = Reactions(database, publish, doorkeeper, now_ms, new_id)
    return Desk(
        agents,
        answers,
        messages,
        changes,
        reactions,
        Membership(database, publish, members, doorkeeper, agents, new_id),
        doorkeeper,
        Letters(messages, members, NAMESPACE),
        members,
        MessageEvents(NAMESPACE, messages, changes, reactions),
        MemberEvents(NAMESPACE, members, now_ms),
        RoomStateEvents(NAMESPACE, Rooms(database, publish, now_ms, new_id)),
        DirectChatEvents(NAMESPACE, agents, now_ms, new_id),
    )


async def link(tx: Transaction, room: RoomId, matrix_room: str) -> None:
    """Have the room linked, and in order."""
    await tx.rooms.link(room, MatrixRoomId(matrix_room))
    await tx.rooms.mark(room, MatrixStatus.LINKED, None)
