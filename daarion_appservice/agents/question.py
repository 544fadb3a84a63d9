"""What an agent is asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ..city.types import SubjectId


class AskedAs(StrEnum):
    """Where a question comes from."""

    SECONDME = "secondme"
    MENTION = "mention"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One thing that was said before: by the agent (``assistant``), or to it."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    agent_id: str
    input: str
    kind: AskedAs
    user_id: SubjectId
    """Who asks."""
    room: str | None = None
    history: tuple[Exchange, ...] = ()
    """Oldest first."""
