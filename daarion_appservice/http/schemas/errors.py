"""The response model of errors."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class FieldError(TypedDict):
    """An invalid field of a request."""

    field: Annotated[str, Field(description="The path of the field; `body` for the whole body.", examples=["name"])]
    message: Annotated[str, Field(description="The reason.", examples=["String should have at least 1 character"])]


class Problem(TypedDict):
    """An error response (RFC 9457)."""

    type: Annotated[str, Field(description="The code as a URI.", examples=["urn:daarion:problem:invalid"])]
    title: Annotated[str, Field(description="The reason phrase of the status.", examples=["Unprocessable Entity"])]
    status: Annotated[int, Field(description="The HTTP status.", examples=[422])]
    code: Annotated[str, Field(description="The error code, for programs; it is stable.", examples=["invalid"])]
    detail: Annotated[
        str,
        Field(
            description="The error in words, for people.", examples=["name: String should have at least 1 character"]
        ),
    ]
    errors: NotRequired[
        Annotated[list[FieldError], Field(description="The invalid fields; only with the code `invalid`.")]
    ]
