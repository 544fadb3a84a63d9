"""Pending replies: requests to which an agent has yet to reply, and reasons why it does not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from .types import AgentSlug, MessageId, RoomId

ReplyId = NewType("ReplyId", str)


class ReplyFailure(StrEnum):
    """Why an agent does not reply."""

    OFFLINE = "offline"
    SLOW = "slow"
    FAILED = "failed"
    BUSY = "busy"
    NO_CORE = "no_core"
    """No agents core is configured."""
    PRIVATE = "private"
    """The reply would disclose the requester's private data to other members."""
    TOO_LONG = "too_long"
    TOO_MUCH = "too_much"
    """The requester exceeded the limit of requests per minute."""
    FORGOTTEN = "forgotten"
    """The message was the command to delete the memory, which was carried out."""


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A mention or direct message to which an agent has yet to reply."""

    id: ReplyId
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
