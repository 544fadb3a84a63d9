"""Responses to polls: votes and ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .types import Author, EventId, MessageId


class PollResponseKind(StrEnum):
    """The kinds of responses to a poll."""

    VOTE = "vote"
    END = "end"


@dataclass(frozen=True, slots=True)
class PollResponse:
    """A vote in a poll, or its end."""

    id: str
    """For a response made in the city, the transaction id with which it is sent."""
    message_id: MessageId
    """The message of the poll."""
    author: Author
    kind: PollResponseKind
    selections: tuple[str, ...]
    """The ids of the selected options, as they were sent; none to withdraw a vote."""
    at_ms: int
    matrix_event_id: EventId | None = None
