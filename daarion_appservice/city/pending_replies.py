"""Pending replies: what an agent has yet to answer, or why it does not answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from .types import AgentSlug, MessageId, RoomId

AnswerId = NewType("AnswerId", str)


class ReplyFailure(StrEnum):
    """Why an agent does not reply."""

    OFFLINE = "offline"
    SLOW = "slow"
    FAILED = "failed"
    BUSY = "busy"
    PRIVATE = "private"
    """The reply would disclose the asker's private data to other members."""
    TOO_LONG = "too_long"
    TOO_MUCH = "too_much"
    """The requester exceeded the limit of questions."""
    FORGOTTEN = "forgotten"
    """The message was a command to forget, which was carried out."""


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A mention or direct message that an agent has yet to answer."""

    id: AnswerId
    request_id: MessageId
    room_id: RoomId
    agent: AgentSlug
    depth: int
    """The number of agents that replied before in this chain of agents."""
    requested_at_ms: int
    attempts: int = 0
    retry_at_ms: int = 0
    failure: ReplyFailure | None = None
    """Why there will be no reply; the agent has yet to post a notice of it."""
