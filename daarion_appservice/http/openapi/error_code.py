"""One error code of the city listener, as the OpenAPI document describes it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from ...json_encoding import JSON


@dataclass(frozen=True, slots=True)
class ErrorCode:
    status: int
    code: str
    condition: str
    """When a response has the code: a clause for the list of codes."""
    example_detail: str

    @property
    def example(self) -> JSON:
        content: JSON = {
            "type": f"urn:daarion:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.example_detail,
        }
        if self.code == "invalid":
            field, _, message = self.example_detail.partition(": ")
            content["errors"] = [{"field": field, "message": message}]
        return content
