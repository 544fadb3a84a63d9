"""Interactions with Second Me: prompts and responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .types import Agent, AgentSlug, SubjectId

MAX_INTERACTIONS: Final = 5
"""Interactions stored per citizen."""
MAX_CONTEXT: Final = MAX_INTERACTIONS - 1
"""Earlier interactions that a request includes: five with its own prompt, so the sixth request omits the first."""

SECOND_ME: Final = Agent(
    id="second_me",
    slug=AgentSlug("second_me"),
    display_name="Second Me",
    title="Твоє друге я",
    rooms=(),
    kind="second_me",
)
"""Second Me in a city whose registry does not describe it."""


def is_second_me(slug: AgentSlug | None) -> bool:
    """Return whether the agent is Second Me, which uses the requester's private history and so never replies in public."""
    return slug == SECOND_ME.slug


@dataclass(frozen=True, slots=True)
class Interaction:
    """One prompt to Second Me and its response."""

    id: str
    user_id: SubjectId
    """The owner."""
    prompt: str
    response: str
    latency_ms: int
    """From the request to the end of the response."""
    created_at_ms: int
    """The time of the request."""
