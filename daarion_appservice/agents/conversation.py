"""The context of a request: the messages before it and the message that it replies to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..city.history_visibility import CLOSED, may_be_repeated
from ..city.types import Agent, Message, Room, agent_subject
from ..storage.database import Transaction
from .prompt import attachment_of, message_prompt, quotation
from .request import AgentRequest, Exchange, RequestKind

_HISTORY: Final = 20
"""Maximum number of messages before the request that the agents core receives."""
_HISTORY_CHARS: Final = 8_000


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages that a request refers to."""

    before: tuple[Message, ...] = ()
    """Messages before the request, oldest first."""
    replied_to: Message | None = None


async def read_conversation(tx: Transaction, agent: Agent, room: Room, message: Message) -> Conversation:
    """Return the last messages before this one, with the agent's replies to them even if those came later.

    For a request in a thread these are the messages of the thread with its root, else those of the main timeline.

    It contains only messages that every reader of the reply may read: an agent must not repeat messages to a member who
    joined later and may not read them.
    """
    before = await _messages_before(tx, message)
    reply_ids = await tx.agent_replies.posted_replies([each.id for each in before], agent.slug)
    replies = await tx.messages.by_ids(list(reply_ids.values()))
    messages = []
    for each in before:
        messages.append(each)
        reply = replies.get(reply_ids[each.id]) if each.id in reply_ids else None
        if reply is not None and reply.seq > message.seq:
            messages.append(reply)
    replied_to = await tx.messages.get(message.reply_to) if message.reply_to else None
    newest_join = await tx.membership_periods.newest_join(room.id) if room.history_visibility in CLOSED else 0

    def is_included(each: Message) -> bool:
        return not each.deleted and may_be_repeated(each, room.history_visibility, newest_join)

    return Conversation(
        tuple(filter(is_included, messages)), replied_to if replied_to is not None and is_included(replied_to) else None
    )


async def _messages_before(tx: Transaction, message: Message) -> list[Message]:
    if message.thread_root is None:
        return await tx.messages.before(message.room_id, message.seq, limit=_HISTORY, without_threads=True)
    replies = await tx.threads.before(message.thread_root, message.seq, limit=_HISTORY - 1)
    root = await tx.messages.get(message.thread_root)
    return replies if root is None else [root, *replies]


def agent_request(agent: Agent, room: Room, message: Message, conversation: Conversation) -> AgentRequest:
    """Return the request to the agents core for ``message``."""
    replied_to = conversation.replied_to
    is_private = room.agent is not None or room.is_direct
    attachments = (attachment_of(each) for each in (message, replied_to) if each is not None)
    return AgentRequest(
        agent.id,
        message_prompt(message),
        RequestKind.DIRECT if is_private else RequestKind.MENTION,
        message.author.subject,
        room=None if is_private else room.slug,
        history=tuple(_history(agent, room, conversation.before)),
        reply_to=quotation(replied_to) if replied_to is not None else None,
        attachments=tuple(attachment for attachment in attachments if attachment is not None),
    )


def _history(agent: Agent, room: Room, before: tuple[Message, ...]) -> list[Exchange]:
    """Return the newest messages that fit, with names of authors other than the agent where there are several."""
    remaining = _HISTORY_CHARS
    history: list[Exchange] = []
    for message in reversed(before):
        if message.msgtype == "m.notice":
            continue
        is_own = message.author.subject == agent_subject(agent.slug)
        is_plain = is_own or room.is_of_two
        content = message_prompt(message) if is_plain else f"{message.author.display_name}: {message_prompt(message)}"
        remaining -= len(content)
        if remaining < 0:
            break
        history.append(Exchange("assistant" if is_own else "user", content))
    return history[::-1]
