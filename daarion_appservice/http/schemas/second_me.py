"""The response model of Second Me."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from .types import Count, Timestamp


class Interaction(TypedDict):
    """A prompt and the response of Second Me."""

    id: Annotated[
        str, Field(description="The interaction id; ids sort by time.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])
    ]
    user_id: Annotated[str, Field(description="The citizen id.", examples=["u_123"])]
    prompt: Annotated[str, Field(description="The prompt.", examples=["Порадь ідею для міського району"])]
    prompt_excerpt: Annotated[
        str,
        Field(
            description="The prompt without Markdown, at most 160 characters.",
            examples=["Порадь ідею для міського району"],
        ),
    ]
    response: Annotated[
        str, Field(description="The response, usually Markdown.", examples=["Озеленіть дахи біля **ринку**."])
    ]
    latency_ms: Annotated[
        Count, Field(description="Milliseconds from the prompt to the end of the response.", examples=[2140])
    ]
    created_at: Annotated[Timestamp, Field(description="The time of the prompt.")]
