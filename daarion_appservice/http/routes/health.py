"""The routes ``/healthz`` (liveness) and ``/readyz`` (readiness, with the state of each part)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ... import __version__
from .. import schemas
from ..auth.principals import Access
from ..readiness import Part, ReadinessProbe
from ..routing import Call, NoBody, NoQuery, Query, ResponseSpec, endpoint

_OF_HOMESERVER: Final = ("homeserver", "as_token", "callback")
_ONLY_VERBOSE: Final = ("as_token", "callback", "transactions", "encryption")


class Verbosity(Query):
    verbose: str | None = Field(
        None,
        description="Present, also without a value: the response has `parts`, `role` and `version`.",
        examples=["1"],
    )


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    probe: ReadinessProbe

    @endpoint(
        "GET", "/healthz", access=Access.PUBLIC, summary="Check that the process responds", response=schemas.Liveness
    )
    async def get_liveness(self, _call: Call[NoBody, NoQuery]) -> schemas.Liveness:
        return {"status": "ok"}

    @endpoint(
        "GET",
        "/readyz",
        access=Access.PUBLIC,
        query=Verbosity,
        summary="Check that the process can serve requests",
        response=schemas.Readiness,
        other_statuses={503: "The process is not ready."},
    )
    async def get_readiness(self, call: Call[NoBody, Verbosity]) -> ResponseSpec:
        """503 means that the city cannot do its job: the database takes no writes, its disk is full, the homeserver is
        unavailable, refuses the `as_token` or does not reach the service, rooms and ghosts are being set up, no room is linked, a
        background task is down, or this is a standby that shares no presence. A part with `warning` does not make the process
        less ready; `deliveries`, `encryption` and `redis` never do.
        """
        parts = await self.probe.parts()
        is_ready = not any(part.is_failed for part in parts.values())
        content: schemas.Readiness = {"status": "ok" if is_ready else "not ready", "checks": _checks(parts)}
        if call.query.verbose is not None:
            content["role"] = "leader" if self.probe.role == "leader" else "standby"
            content["version"] = __version__
            content["parts"] = {
                name: {"status": part.status.value, "detail": part.detail, "age_s": part.age_s}
                for name, part in parts.items()
            }
        return ResponseSpec(content, status=200 if is_ready else 503)


def _checks(parts: dict[str, Part]) -> dict[str, str]:
    """Return each part as a text, those about the homeserver as one."""
    checks = {name: part.text for name, part in parts.items() if name not in _ONLY_VERBOSE}
    failed = (parts[name].detail for name in _OF_HOMESERVER if parts[name].is_failed)
    return checks | {"homeserver": next(failed, "ok")}
