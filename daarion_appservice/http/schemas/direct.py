"""The response models of direct chats of citizens."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.types import MatrixStatus
from .authors import Author
from .rooms import LastMessage, RoomUnread
from .types import Timestamp


class ReadOnlyReason(StrEnum):
    """Why a chat that was opened on Matrix takes no messages in the city."""

    ENCRYPTED = "encrypted"
    NOT_INVITED = "not_invited"


class DirectChat(RoomUnread):
    """A direct chat of the client with another citizen or an agent."""

    id: Annotated[
        str,
        Field(
            description="The id of its room, for the routes `/city/rooms/{room_id}/…` and the WebSocket of the room.",
            examples=["direct_5f0c2a4c0d7f4a6d9a6f0d7b1c2e3f40"],
        ),
    ]
    citizen: Annotated[Author, Field(description="The other citizen, or the agent.")]
    subject: Annotated[str, Field(description="The subject of the other one.", examples=["u_124"])]
    last_message: Annotated[LastMessage | None, Field(description="The newest message.")]
    last_event: Annotated[Timestamp | None, Field(description="The time of the last event.")]
    last_seq: Annotated[int, Field(description="The `seq` of the last event.", examples=[17])]
    blocked: Annotated[bool, Field(description="Whether the client blocks the other citizen.", examples=[False])]
    encrypted: Annotated[bool, Field(description="Whether the Matrix room is encrypted.", examples=[False])]
    matrix_room_id: Annotated[
        str | None, Field(description="The Matrix room id; `null` until the Matrix room exists.", examples=[None])
    ]
    matrix_status: Annotated[MatrixStatus, Field(description="As of `Room`.", examples=["pending"])]
    opened_on_matrix: Annotated[
        bool,
        Field(
            description="Whether the client's linked Matrix account has this chat with an agent from a Matrix client.",
            examples=[False],
        ),
    ]
    read_only: Annotated[
        ReadOnlyReason | None,
        Field(
            description="`encrypted`: the chat is encrypted, and the city shows nothing of it. `not_invited`: the power levels "
            "of the Matrix room do not let the agent invite the client's ghost, or mute it: messages are read, but not "
            "written. `null` if the client may write.",
            examples=[None],
        ),
    ]
    created_at: Annotated[Timestamp, Field(description="The time of creation.")]


class BlockedCitizens(TypedDict):
    """The citizens from whom the client wants no direct messages."""

    blocked: Annotated[list[str], Field(description="Citizen ids.", examples=[["u_124"]])]
