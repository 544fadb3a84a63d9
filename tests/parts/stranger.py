"""A stranger who has read ``/openapi.json`` and holds the city to it: schemathesis, with requests that fit and that do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
_ENOUGH_FAULTS: Final = 10


@dataclass
class Visit:
    answered: set[tuple[str, int]] = field(default_factory=set)
    """Route (``GET /city/rooms``) and status."""
    faults: dict[str, str] = field(default_factory=dict)
    """By what is wrong and where: the first request that showed it."""


def visit(
    document: Any, url: str, token: str | None, *, examples: int, seed: int = 1, checks: Sequence[str] = CHECKS
) -> Visit:
    """``examples``: how many requests at random for each route, beside those that every value at its limits makes."""
    config = SchemathesisConfig.from_dict(
        {
            "base-url": url,
            "seed": seed,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "request-timeout": 30.0,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "cache": {"enabled": False},
            "checks": {"enabled": False} | {name: {"enabled": True} for name in checks},
            "phases": {"stateful": {"enabled": False}},
            "generation": {"max-examples": examples, "deterministic": True, "mode": "all", "database": "none"},
        }
    )
    seen = Visit()
    for event in from_schema(schemathesis.openapi.from_dict(_exact(document), config=config)).execute():
        match event:
            case events.ScenarioFinished():
                _look_at(event, seen)
            case events.NonFatalError() | events.FatalError():
                raise AssertionError(f"schemathesis itself failed: {event}")
        if len(seen.faults) >= _ENOUGH_FAULTS:
            break
    return seen


def _look_at(event: events.ScenarioFinished, seen: Visit) -> None:
    recorder = event.recorder
    for interaction in recorder.interactions.values():
        if interaction.response is not None:
            seen.answered.add((recorder.label, interaction.response.status_code))
    for node in (node for nodes in recorder.checks.values() for node in nodes):
        if node.failure_info is not None:
            failure = node.failure_info
            seen.faults.setdefault(
                f"{recorder.label}: {failure.failure.title}", f"{failure.failure}\n{failure.code_sample}"
            )


def _exact(document: Any) -> Any:
    """The document for somebody to whom what it does not name is a fault; others are told that answers may get new fields."""
    exact = json.loads(json.dumps(document))
    for schema in exact["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return exact
