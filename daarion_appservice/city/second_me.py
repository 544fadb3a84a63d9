"""What was asked of Second Me, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .types import Agent, AgentSlug, SubjectId

REMEMBERED: Final = 5
"""How many interactions are kept of each citizen."""
CARRIED: Final = REMEMBERED - 1
"""How many go with a question: it and they are the last five, so that the sixth question no longer carries the first."""

SECOND_ME: Final = Agent(
    id="second_me",
    slug=AgentSlug("second_me"),
    display_name="Second Me",
    title="Твоє друге я",
    rooms=(),
    kind="second_me",
)
"""As it is called in a city where nobody has described it otherwise."""


def is_second_me(slug: AgentSlug | None) -> bool:
    """Whether it answers everybody by what they themselves asked before, and so nobody where others hear it."""
    return slug == SECOND_ME.slug


@dataclass(frozen=True, slots=True)
class Interaction:
    id: str
    user_id: SubjectId
    """Whose it is."""
    prompt: str
    response: str
    latency_ms: int
    """From the question to the end of the answer."""
    created_at_ms: int
    """When it was asked."""
