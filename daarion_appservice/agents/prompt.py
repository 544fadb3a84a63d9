"""Builds the text of a request: message, quotation, and descriptions of files.

Models read text. A reply therefore quotes the message that it refers to, and a file or a place is described in brackets:
a name alone, like ``Voice message.ogg`` or ``Home``, would be taken for the message itself.
"""

from __future__ import annotations

from typing import Final

from ..city.message_kinds import geo_uri
from ..city.types import Media, Message
from .request import AgentRequest, Attachment, Quotation

_MAX_QUOTED: Final = 4_000
"""Maximum number of characters that are quoted from the message replied to."""
_KINDS: Final = {"m.image": "image", "m.audio": "audio", "m.video": "video", "m.file": "file"}
_UNITS: Final = ("kB", "MB", "GB")


def message_prompt(message: Message) -> str:
    """Return the text of a message for a model: its body and a description of its file or place."""
    attachment = attachment_of(message)
    parts = [message.body] if attachment is None else [_caption(message), f"[{_description(attachment)}]"]
    if (location := message.details.location) is not None and "geo:" not in message.body:
        parts.append(f"[location {geo_uri(location)}]")
    return "\n\n".join(filter(None, parts))


def quotation(message: Message) -> Quotation:
    content = message_prompt(message)
    if len(content) > _MAX_QUOTED:
        content = content[:_MAX_QUOTED] + "…"
    return Quotation(message.author.display_name, content)


def attachment_of(message: Message) -> Attachment | None:
    """Return the file of a message; None if it has none."""
    match _KINDS.get(message.msgtype):
        case "image" | "audio" | "video" | "file" as kind:
            media = message.media or Media("", "", message.body)
            return Attachment(
                kind,
                media.filename,
                media.mimetype,
                media.size,
                media.width,
                media.height,
                media.duration_ms,
                media.mxc or None,
                media.encrypted_file,
            )
    return None


def text_of(request: AgentRequest) -> str:
    """Return a request as one text, with a quotation and a remark about files that the model cannot see."""
    parts = []
    if request.reply_to is not None:
        quoted = f"{request.reply_to.author}: {request.reply_to.content}"
        parts.append("\n".join(f"> {line}" for line in quoted.split("\n")))
    parts.append(request.input)
    if any(attachment.data_url is None for attachment in request.attachments):
        parts.append("[The content of the file is not available to you: say so if it matters.]")
    return "\n\n".join(parts)


def _caption(message: Message) -> str:
    """Return the caption of a file; empty if the body is only the file name."""
    return message.body if message.media is not None and message.body != message.media.filename else ""


def _description(attachment: Attachment) -> str:
    """Return a description like ``image photo.jpg, image/jpeg, 640×480, 12 kB``."""
    facts = [
        f"{attachment.kind} {' '.join(attachment.name.split())}",
        attachment.mimetype,
        f"{attachment.width}×{attachment.height}" if attachment.width and attachment.height else "",
        _numbered(max(1, round(attachment.duration_ms / 1000)), "second") if attachment.duration_ms else "",
        _format_bytes(attachment.size) if attachment.size is not None else "",
        "" if attachment.mxc else "encrypted, cannot be opened",
    ]
    return ", ".join(fact for fact in facts if fact)


def _format_bytes(size: int) -> str:
    """Return a size with three digits, like ``34.5 kB``."""
    if size < 1000:
        return _numbered(size, "byte")
    value, unit = size / 1000, 0
    while round(value) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def _numbered(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
