"""The response models of presence."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ...city.presence import Status
from .types import Count, LastActive, StatusMessage


class SubjectPresence(TypedDict):
    """The presence of a subject, as in the events of the stream."""

    user_id: Annotated[
        str,
        Field(
            description="The subject: a citizen id, `agent:<slug>`, or the Matrix user id of a Matrix user.",
            examples=["agent:daarwizz"],
        ),
    ]
    status: Annotated[Status, Field(description="The strongest status of the live sessions.", examples=["online"])]
    status_msg: StatusMessage
    last_active_ago_ms: LastActive
    display_name: NotRequired[
        Annotated[
            str | None,
            Field(
                description="The display name, in events of the stream; `null` if it is unknown.", examples=["Оксана"]
            ),
        ]
    ]
    avatar_url: NotRequired[
        Annotated[
            str | None,
            Field(
                description="The path of the avatar on this server, in events of the stream.",
                examples=["/city/media/daarion.space/oksana"],
            ),
        ]
    ]


class PresenceList(TypedDict):
    """The presence of several subjects."""

    presences: Annotated[
        list[SubjectPresence], Field(description="One entry for each subject, in the order of the request.")
    ]


class PresenceEvent(TypedDict):
    """A server-sent event of the presence stream."""

    event: Annotated[
        Literal["snapshot", "presence", "resync"], Field(description="The type of the event.", examples=["presence"])
    ]
    id: NotRequired[
        Annotated[
            str,
            Field(
                description="The event id for `Last-Event-ID`; a `resync` event has none.",
                examples=["1795317512345682"],
            ),
        ]
    ]
    data: Annotated[
        str,
        Field(
            description="JSON. Of a `snapshot`: `users`, a list of `SubjectPresence`, and `seq`. Of a `presence` event: a "
            "`SubjectPresence` with its `seq`.",
            examples=[
                '{"user_id":"agent:daarwizz","status":"away","status_msg":null,"last_active_ago_ms":1203,"seq":1795317512345682}'
            ],
            json_schema_extra={"contentMediaType": "application/json"},
        ),
    ]


class OnlineCounts(TypedDict):
    """The number of subjects by kind."""

    citizens: Annotated[Count, Field(description="Citizens.", examples=[12])]
    agents: Annotated[Count, Field(description="Agents.", examples=[5])]
    people: Annotated[Count, Field(description="Matrix users who share a room with the city.", examples=[3])]
    total: Annotated[Count, Field(description="The sum.", examples=[20])]


class PresenceSummary(TypedDict):
    """The number of subjects who are not offline."""

    online: Annotated[OnlineCounts, Field(description="Subjects who are online or away.")]
    away: Annotated[OnlineCounts, Field(description="Subjects who are away.")]
    rooms: Annotated[
        dict[str, Count],
        Field(
            description="The number of members who are not offline, by room id.",
            examples=[{"city_general": 18, "city_podil": 7}],
        ),
    ]
