"""The response model of Web Push."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict


class PushKey(TypedDict):
    """What a browser needs for a Web Push subscription."""

    enabled: Annotated[bool, Field(description="Whether the city sends pushes.", examples=[True])]
    public_key: Annotated[
        str | None,
        Field(
            description="The `applicationServerKey` in base64url; `null` if the city sends none.",
            examples=["BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"],
        ),
    ]
