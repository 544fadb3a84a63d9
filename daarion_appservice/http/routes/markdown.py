"""The route ``POST /city/markdown``: the HTML that a message would have, for previews in clients."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from ...city.message_formatting import MessageFormatter
from ...city.message_size import check_body_size
from .. import schemas
from ..auth.principals import Access
from ..routing import Body, Call, NoQuery, endpoint


class MarkdownText(Body):
    """A text to render."""

    body: str = Field(
        description="The text, Markdown, at most 48,000 bytes as JSON.", examples=["Добрий вечір, **Подоле**!"]
    )


@dataclass(frozen=True, slots=True)
class MarkdownRoutes:
    formatter: MessageFormatter

    @endpoint(
        "POST",
        "/city/markdown",
        access=Access.ACTORS,
        body=MarkdownText,
        summary="Render Markdown",
        response=schemas.RenderedMarkdown,
        errors=("message_too_long",),
    )
    async def render(self, call: Call[MarkdownText, NoQuery]) -> schemas.RenderedMarkdown:
        """Returns what a message with this text would have as `formatted_body`, mentions included. Nothing is stored."""
        check_body_size(call.body.body)
        content = await self.formatter.content(call.body.body, msgtype="m.text", media=None)
        return {"formatted_body": content.formatted_body}
