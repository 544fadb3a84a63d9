"""Response models of erasures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ...storage.personal_data.erasures import ErasureState
from .types import Count, Timestamp


class Remainder(TypedDict):
    """Something of an erased person that the service cannot delete."""

    kind: Annotated[
        Literal["file", "event", "chat", "membership", "account"],
        Field(description="The kind of thing.", examples=["file"]),
    ]
    name: Annotated[
        str,
        Field(
            description="Its `mxc://` URI, event, room or user id.", examples=["mxc://daarion.space/SEsfnsuifSDFSSEF"]
        ),
    ]
    reason: Annotated[str, Field(description="Why it remains.", examples=["the homeserver holds it"])]


class Erasure(TypedDict):
    """The erasure of a person."""

    id: Annotated[
        str | None,
        Field(description="The id of the erasure; `null` for a dry run.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"]),
    ]
    state: Annotated[
        ErasureState | None,
        Field(
            description="`city`: the city's data is being deleted; `matrix`: the city has no data any more, the homeserver's is "
            "being deleted; `done`. `null` for a dry run.",
            examples=["matrix"],
        ),
    ]
    subjects: Annotated[
        list[str], Field(description="The ids of the person; none when the erasure is done.", examples=[["u_123"]])
    ]
    requested_at: Annotated[Timestamp | None, Field(description="The time of the request; `null` for a dry run.")]
    finished_at: Annotated[Timestamp | None, Field(description="The time of the end; `null` before it.")]
    error: Annotated[
        str | None,
        Field(
            description="Why the erasure cannot go on at the moment; it is tried again.",
            examples=["the homeserver is unavailable"],
        ),
    ]
    counts: Annotated[
        dict[str, Count],
        Field(
            description="What was deleted, or would be in a dry run: rows by table, and `redactions` on Matrix.",
            examples=[{"messages": 27, "redactions": 27}],
        ),
    ]
    remains: Annotated[list[Remainder], Field(description="What the service cannot delete, at most 1,000 things.")]
