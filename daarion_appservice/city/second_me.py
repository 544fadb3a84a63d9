"""Interactions with Second Me: questions and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .types import Agent, AgentSlug, SubjectId

REMEMBERED: Final = 5
"""Interactions stored per citizen."""
CARRIED: Final = REMEMBERED - 1
"""Earlier interactions that a request includes: five with the question, so the sixth question omits the first."""

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
    """Whether the agent is Second Me, which uses its asker's private history and so never replies in public."""
    return slug == SECOND_ME.slug


@dataclass(frozen=True, slots=True)
class Interaction:
    """One question to Second Me and its answer."""

    id: str
    user_id: SubjectId
    """The owner."""
    prompt: str
    response: str
    latency_ms: int
    """From the question to the end of the answer."""
    created_at_ms: int
    """The time of the question."""
