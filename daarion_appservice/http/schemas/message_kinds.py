"""The response models of polls and places."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.message_kinds import PollKind
from .types import Count, Timestamp


class PollOption(TypedDict):
    """An option of a poll."""

    id: Annotated[str, Field(description="The option's id, which a vote names.", examples=["1"])]
    text: Annotated[str, Field(description="The text.", examples=["Фунікулер"])]
    votes: Annotated[
        Count | None,
        Field(
            description="The number of votes; `null` while the poll is `undisclosed` and not ended, and for readers who may "
            "not know the room's new messages.",
            examples=[3],
        ),
    ]


class Poll(TypedDict):
    """A poll. Of each voter the newest vote counts."""

    question: Annotated[str, Field(description="The question.", examples=["Куди йдемо?"])]
    kind: Annotated[
        PollKind,
        Field(
            description="`disclosed`: the results are shown at once; `undisclosed`: after the end.",
            examples=["disclosed"],
        ),
    ]
    max_selections: Annotated[
        int, Field(ge=1, description="The number of options that one voter may select.", examples=[1])
    ]
    options: Annotated[list[PollOption], Field(description="The options, in their order.")]
    voters: Annotated[
        Count | None,
        Field(description="The number of voters; `null` for readers who may not know it.", examples=[3]),
    ]
    ended_at: Annotated[Timestamp | None, Field(description="The time of the end; `null` while the poll is open.")]


class PollVote(TypedDict):
    """A vote in a poll."""

    selections: Annotated[list[str], Field(description="The ids of the selected options.", examples=[["1"]])]


class Location(TypedDict):
    """A place on the Earth (WGS 84)."""

    latitude: Annotated[float, Field(ge=-90, le=90, description="The latitude in degrees.", examples=[50.462])]
    longitude: Annotated[float, Field(ge=-180, le=180, description="The longitude in degrees.", examples=[30.518])]
    accuracy_m: Annotated[float | None, Field(description="The uncertainty in metres, if known.", examples=[35.0])]
    description: Annotated[str | None, Field(description="A description, if there is one.", examples=["Поштова площа"])]
