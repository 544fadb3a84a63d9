"""Response models of changes that are not on Matrix, and of Matrix events that could not be processed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ...city.types import OutboxKind
from .types import Count, Timestamp


class UndeliveredChange(TypedDict):
    """A message, edit, deletion, reaction or vote that is not on Matrix."""

    message_id: Annotated[str, Field(description="The id of the message.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])]
    kind: Annotated[OutboxKind, Field(description="The kind of change.", examples=["message"])]
    room_id: Annotated[str, Field(description="The id of the room.", examples=["city_podil"])]
    delivery: Annotated[
        Literal["pending", "failed"],
        Field(description="`failed`: the homeserver rejected it, and it was given up.", examples=["failed"]),
    ]
    attempts: Annotated[Count, Field(description="The number of failed attempts.", examples=[5])]
    error: Annotated[
        str, Field(description="The last response of the homeserver; empty if there was none.", examples=["403"])
    ]


class DeadLetter(TypedDict):
    """A Matrix event whose processing failed repeatedly and was given up."""

    event_id: Annotated[str, Field(description="The Matrix event id.", examples=["$uM0dS5tR7xw3"])]
    room_id: Annotated[str, Field(description="The Matrix room id.", examples=["!podil:daarion.space"])]
    received_at: Annotated[Timestamp, Field(description="The time at which the event was received.")]
    error: Annotated[str, Field(description="The last error.", examples=["KeyError: 'membership'"])]


class RetryResult(TypedDict):
    """The result of a retry."""

    retried: Annotated[Count, Field(description="The number of entries that are tried again.", examples=[2])]
