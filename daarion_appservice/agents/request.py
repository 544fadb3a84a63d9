"""Requests to the agents core."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from ..city.types import SubjectId


class RequestKind(StrEnum):
    """How the user addressed the agent."""

    SECONDME = "secondme"
    MENTION = "mention"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message of the history: by the agent (``assistant``) or to it."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Quotation:
    """The message that a request replies to."""

    author: str
    """Display name of the author."""
    content: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of the request, or of the message that it replies to."""

    kind: Literal["image", "audio", "video", "file"]
    name: str
    mimetype: str = ""
    size: int | None = None
    """Size in bytes."""
    width: int | None = None
    """Width in pixels."""
    height: int | None = None
    duration_ms: int | None = None
    mxc: str | None = None
    """The file's ``mxc://`` URI; None if the file cannot be fetched."""
    encrypted_file: str | None = field(default=None, repr=False)
    """The ``EncryptedFile`` of a file in an encrypted chat as JSON, with its key, which the agents core does not get; None for a
    file that is not encrypted."""
    data_url: str | None = None
    """The file itself (RFC 2397); only for images within ``agents_core.max_image_bytes``."""


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """One request to the agents core."""

    agent_id: str
    input: str
    kind: RequestKind
    user_id: SubjectId
    """The author of the request."""
    room: str | None = None
    history: tuple[Exchange, ...] = ()
    """Messages before the request, oldest first."""
    reply_to: Quotation | None = None
    attachments: tuple[Attachment, ...] = ()
