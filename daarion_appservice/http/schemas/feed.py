"""The response models of the feed and of City Home."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.feed_entries import FeedKind
from .authors import Author
from .presence import OnlineCounts
from .rooms import Room
from .types import Timestamp


class FeedRoom(TypedDict):
    """The room of a feed entry."""

    slug: Annotated[str, Field(description="The room's slug.", examples=["podil"])]
    name: Annotated[str, Field(description="The room's current name.", examples=["Поділ"])]


class FeedEntry(TypedDict):
    """An entry of the city's feed."""

    id: Annotated[str, Field(description="The entry id; ids sort by time.", examples=["01M80JJAXG2C1QZP8Y3B6F5T7K"])]
    kind: Annotated[
        FeedKind,
        Field(
            description="`room_message`; `agent_reply`, an agent's reply to a message; `room_created`; `member_joined`, of a "
            "citizen or Matrix user; `agent_online`, at most once an hour for each agent; or `system`.",
            examples=["room_message"],
        ),
    ]
    room_id: Annotated[str | None, Field(description="The room id.", examples=["city_podil"])]
    room: Annotated[FeedRoom | None, Field(description="The room; `null` where the client may not know it.")]
    actor: Annotated[Author | None, Field(description="The author of the event.")]
    payload: Annotated[
        Mapping[str, str],
        Field(
            description="Details by kind. `room_message` and `agent_reply`: `message_id`, and `body`, cut at 280 characters. "
            "`room_created`: `slug`, `name`, `description`. `system`: `what` (`room_renamed`, `room_archived`, "
            "`room_reopened`), `slug`, `name`, and the former name of a renamed room as `was`. `member_joined` on City Home: "
            "`count`, the number of successive joins that the entry stands for.",
            examples=[{"message_id": "01M80JJAXFTK9TPCTY26E2R4Y5", "body": "Добрий вечір, Подоле!"}],
        ),
    ]
    created_at: Annotated[Timestamp, Field(description="The time of the event.")]


class SecondMeStatus(TypedDict):
    """The availability of Second Me."""

    available: Annotated[
        bool,
        Field(
            description="Whether prompts are accepted: false without an agents core, and while its circuit breaker is open.",
            examples=[False],
        ),
    ]


class CityHome(TypedDict):
    """The content of City Home, the first page."""

    online: Annotated[OnlineCounts, Field(description="The number of subjects who are not offline.")]
    feed: Annotated[
        list[FeedEntry],
        Field(
            description="`feed` (3 by default) of the last 30 entries, newest first: messages are preferred, one entry is of "
            "another kind, and successive joins of a room are one entry."
        ),
    ]
    popular_rooms: Annotated[list[Room], Field(description="The 3 most popular rooms.")]
    second_me: Annotated[SecondMeStatus, Field(description="The status of Second Me.")]
