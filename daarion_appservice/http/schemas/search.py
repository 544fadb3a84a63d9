"""The response models of the search in messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from .messages import Message


class SearchRoom(TypedDict):
    """The room of a found message."""

    id: Annotated[str, Field(description="The room id.", examples=["city_podil"])]
    slug: Annotated[str, Field(description="The room's name in paths.", examples=["podil"])]
    name: Annotated[str, Field(description="The name; the slug where the client may not know it.", examples=["Поділ"])]


class SearchResult(TypedDict):
    """A found message."""

    message: Annotated[Message, Field(description="The message.")]
    room: Annotated[SearchRoom, Field(description="The room of the message.")]
    excerpt: Annotated[
        str,
        Field(
            description="The text around the first found word, without markup.",
            examples=["Чекаю біля фунікулера о шостій"],
        ),
    ]
    highlights: Annotated[
        list[tuple[int, int]],
        Field(
            description="Start and end (exclusive) of each found word in `excerpt`, in UTF-16 code units as JavaScript counts "
            "them.",
            examples=[[[11, 21]]],
        ),
    ]


class SearchResults(TypedDict):
    """A page of found messages."""

    results: Annotated[list[SearchResult], Field(description="The messages, the newest first.")]
    next_cursor: Annotated[
        str | None,
        Field(description="The `cursor` of the next page; `null` on the last one.", examples=["1882528392732672000"]),
    ]
    complete: Annotated[
        bool,
        Field(
            description="Whether all messages are indexed; false for a while after an upgrade, in which old ones are missing.",
            examples=[True],
        ),
    ]


class AgentMessage(TypedDict):
    """A message of an agent, as its page shows it."""

    message: Annotated[Message, Field(description="The message.")]
    room: Annotated[SearchRoom, Field(description="The room of the message.")]
    excerpt: Annotated[
        str,
        Field(
            description="The text without markup, cut at 280 characters.",
            examples=["Канатка сьогодні працює до десятої."],
        ),
    ]
