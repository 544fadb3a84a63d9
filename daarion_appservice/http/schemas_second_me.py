"""The response models of Second Me for ``/openapi.json``."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .schemas import Count, Moment


class Interaction(BaseModel):
    """A prompt and its answer."""

    id: str = Field(description="The interaction's id; ids sort by time.", examples=["01M80JJAXFTK9TPCTY26E2R4Y5"])
    user_id: str = Field(description="Whose it is.", examples=["u_123"])
    prompt: str = Field(description="What was asked.", examples=["Порадь ідею для міського району"])
    prompt_excerpt: str = Field(
        description="The same without Markdown, at most 160 characters.", examples=["Порадь ідею для міського району"]
    )
    response: str = Field(
        description="The answer: text, Markdown as a rule.", examples=["Озеленіть дахи біля **ринку**."]
    )
    latency_ms: Count = Field(description="From the question to the end of the answer.", examples=[2140])
    created_at: Moment = Field(description="When it was asked.")
