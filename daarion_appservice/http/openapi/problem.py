"""One error code of the city listener, as the document describes it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from ..views import JSON


@dataclass(frozen=True, slots=True)
class Problem:
    status: int
    code: str
    condition: str
    detail: str
    """An example."""

    @property
    def example(self) -> JSON:
        content: JSON = {
            "type": f"urn:daarion:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.code == "invalid":
            field, _, message = self.detail.partition(": ")
            content["errors"] = [{"field": field, "message": message}]
        return content
