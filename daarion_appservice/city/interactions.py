"""What was asked of Second Me, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .types import SubjectId

REMEMBERED: Final = 5
"""How many interactions are kept of each citizen."""
CARRIED: Final = REMEMBERED - 1
"""How many go with a question: it and they are the last five, so that the sixth question no longer carries the first."""


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
