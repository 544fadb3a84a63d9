"""Types that several response models use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ...city.presence import Status

Timestamp = Annotated[
    str,
    Field(
        description="RFC 3339, UTC, with milliseconds.",
        examples=["2026-11-22T18:05:05.103Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
Count = Annotated[int, Field(ge=0)]

LastActive = Annotated[
    Count | None,
    Field(description="Milliseconds since the last activity; `null` if there was none yet.", examples=[6953]),
]
StatusMessage = Annotated[str | None, Field(description="The status message.", examples=["пишу літопис Подолу"])]


class PresenceFields(TypedDict):
    """The fields of a presence state; the strongest status of all live sessions counts."""

    presence: Annotated[Status, Field(description="The strongest status of the live sessions.", examples=["online"])]
    last_active_ago_ms: LastActive
    status_msg: StatusMessage
