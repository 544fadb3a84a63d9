"""What an agent is asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ..city.types import SubjectId


class RequestKind(StrEnum):
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
class Quotation:
    """The message that a question replies to."""

    author: str
    """A display name."""
    content: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a question, or with the message that it replies to."""

    kind: Literal["image", "audio", "video", "file"]
    name: str
    mimetype: str = ""
    size: int | None = None
    """Bytes."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    duration_ms: int | None = None
    mxc: str | None = None
    """Its address on Matrix; None when it cannot be fetched."""
    data_url: str | None = None
    """The file itself (RFC 2397); only for images within ``agents_core.max_image_bytes``."""


@dataclass(frozen=True, slots=True)
class AgentRequest:
    agent_id: str
    input: str
    kind: RequestKind
    user_id: SubjectId
    """Who asks."""
    room: str | None = None
    history: tuple[Exchange, ...] = ()
    """Oldest first."""
    reply_to: Quotation | None = None
    attachments: tuple[Attachment, ...] = ()
