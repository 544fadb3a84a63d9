"""Property-based tests of the HTTP API against ``/openapi.json`` by schemathesis."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from schemathesis.engine import events

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
    "allow_header_conformance",
)
_EXCUSED: Final = {"not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]}}
"""The city may have no homeserver, and says so where it needs one."""
_TRIED_ONCE: Final = {"coverage": {"enabled": False}, "fuzzing": {"enabled": False}}
_ENOUGH_FAULTS: Final = 10


@dataclass
class SchemathesisRun:
    answered: set[tuple[str, int]] = field(default_factory=set)
    """Route (``GET /city/rooms``) and status."""
    faults: dict[str, str] = field(default_factory=dict)
    """By what is wrong and where: the first request that showed it."""


@dataclass(frozen=True)
class SchemathesisClient:
    kind: str
    """As the document calls those with this token: ``citizen``; or ``anonymous``."""
    token: str | None = None


@contextmanager
def schemathesis_process() -> Iterator[Callable[..., Awaitable[SchemathesisRun]]]:
    """Yield `run_schemathesis` of a child process, which keeps 100 MB out of the worker; its start takes 2 s of a processor."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:

        def run(*arguments: Any, **options: Any) -> Awaitable[SchemathesisRun]:
            return asyncio.wrap_future(child.submit(run_schemathesis, *arguments, **options))

        yield run


def run_schemathesis(
    document: Any,
    url: str,
    stranger: SchemathesisClient,
    *,
    examples: int,
    seed: int = 1,
    covered: Collection[str] | None = None,
) -> SchemathesisRun:
    """Call the routes of a document as a client, and compare the responses with it.

    Args:
        document: the OpenAPI document.
        url: the address of the city.
        stranger: the client.
        examples: the number of requests at random for each route, beside those with each value at its limits.
        seed: of the random requests.
        covered: the names of the routes to call so; None for all. Others are called once or twice, or not at all if
            anonymous clients may call them.

    Returns:
        The differences, and the statuses of the responses.
    """
    import schemathesis  # noqa: PLC0415 - workers need none of it
    from schemathesis.config import SchemathesisConfig  # noqa: PLC0415
    from schemathesis.engine import events, from_schema  # noqa: PLC0415

    config = SchemathesisConfig.from_dict(
        {
            "base-url": url,
            "seed": seed,
            "headers": {"Authorization": f"Bearer {stranger.token}"} if stranger.token else {},
            "request-timeout": 30.0,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "cache": {"enabled": False},
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
            "operations": [
                {
                    "include-name": name,
                    "enabled": covered is None or name in covered or not is_for("anonymous", route),
                    "phases": {} if covered is None or name in covered else _TRIED_ONCE,
                    "checks": _EXCUSED if needs_homeserver(route) else {},
                }
                for name, route in routes(document)
            ],
            "phases": {"stateful": {"enabled": False}},
            "generation": {"max-examples": examples, "deterministic": True, "mode": "all", "database": "none"},
        }
    )
    seen = SchemathesisRun()
    for event in from_schema(schemathesis.openapi.from_dict(_exact(document), config=config)).execute():
        match event:
            case events.ScenarioFinished():
                _look_at(event, seen)
            case events.NonFatalError() | events.FatalError():
                raise AssertionError(f"schemathesis itself failed: {event}")
        if len(seen.faults) >= _ENOUGH_FAULTS:
            break
    return seen


def routes(document: Any) -> Iterator[tuple[str, Any]]:
    """Each with its name: ``GET /city/rooms``."""
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield f"{method.upper()} {path}", route


def is_for(kind: str, route: Any) -> bool:
    return any(kind in (each or {"anonymous"}) for each in route.get("security", [{}]))


def needs_homeserver(route: Any) -> bool:
    """Whether the document lists a 503 of this route for an unavailable homeserver."""
    return "homeserver_unavailable" in json.dumps(route["responses"].get("503"))


def _look_at(event: events.ScenarioFinished, seen: SchemathesisRun) -> None:
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
    """The document without additional properties: undocumented fields of responses are faults."""
    exact = json.loads(json.dumps(document))
    for schema in exact["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return exact
