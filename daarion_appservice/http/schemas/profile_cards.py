"""The response models of people and agents as profile cards show them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.types import AuthorKind
from .types import PresenceFields


class ProfileRoom(TypedDict):
    """A room that a person is a member of."""

    id: Annotated[str, Field(description="The room id.", examples=["city_podil"])]
    slug: Annotated[str, Field(description="The room's name in paths.", examples=["podil"])]
    name: Annotated[str, Field(description="The name.", examples=["Поділ"])]


class ProfileCard(PresenceFields):
    """A citizen, a Matrix user or an agent."""

    subject: Annotated[
        str,
        Field(description="The subject; of a linked citizen the Matrix user id.", examples=["@oksana:daarion.space"]),
    ]
    kind: Annotated[AuthorKind, Field(description="The kind, as of an `Author`.", examples=["matrix"])]
    id: Annotated[str, Field(description="The id, as of an `Author`.", examples=["@oksana:daarion.space"])]
    display_name: Annotated[str, Field(description="The display name.", examples=["Оксана"])]
    avatar_url: Annotated[str | None, Field(description="The path of the avatar on this server.", examples=[None])]
    matrix_user_id: Annotated[str, Field(description="The Matrix user id.", examples=["@oksana:daarion.space"])]
    citizen_id: Annotated[
        str | None,
        Field(
            description="The citizen id, with which `POST /city/direct` opens a chat; `null` of others.",
            examples=["u_123"],
        ),
    ]
    agent_slug: Annotated[str | None, Field(description="The slug of an agent; `null` of others.", examples=[None])]
    rooms: Annotated[
        list[ProfileRoom],
        Field(
            description="Rooms of which the person is a member, and whose new messages the client may read, by name."
        ),
    ]
    may_message: Annotated[
        bool, Field(description="Whether the client may open a direct chat with the person.", examples=[True])
    ]
    blocked: Annotated[bool, Field(description="Whether the client blocks the person.", examples=[False])]
