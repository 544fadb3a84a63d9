"""Checks of the running service, which it answers at its matrix listener, and of its ports if it does not run."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from ..http.servers import bind_problem
from .checks import check
from .findings import Finding, failed, listed, passed, skipped, warning
from .installation import SERVICE_ERRORS, Installation, ServiceState

_START: Final = "Start it (`systemctl start daarion-appservice`); its log says why it ended."


async def is_running(installation: Installation) -> bool:
    """Return whether the service answers at the matrix listener."""
    return await installation.service_state() is ServiceState.RUNNING


async def service_parts(installation: Installation) -> dict[str, Any]:
    """Return the parts of ``/readyz?verbose`` by their names; empty if the service does not run."""
    if not await is_running(installation):
        return {}
    try:
        _, content = await installation.call_service("/readyz?verbose")
    except SERVICE_ERRORS:
        return {}
    parts = content.get("parts") if isinstance(content, dict) else None
    return parts if isinstance(parts, dict) else {}


async def service_metrics(installation: Installation) -> dict[str, float]:
    """Return the metrics of the running service without labels by their names; empty if it does not run."""
    if not await is_running(installation):
        return {}
    try:
        status, content = await installation.call_service("/metrics")
    except SERVICE_ERRORS:
        return {}
    if status != 200 or not isinstance(content, str):
        return {}
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(content)
        for sample in family.samples
        if not sample.labels
    }


@check(
    needs=("config",),
    symptoms=("Nothing answers at the address of the city.",),
    timeout_s=30,  # `ping` may bind the port first
)
async def ports(installation: Installation) -> Finding:
    """The service can bind its two ports, or has bound them.

    Fails if another program uses one, or if this user may not bind it.
    """
    if await is_running(installation):
        return passed("The service has bound them.")
    settings = installation.settings
    listeners = (("api", settings.api.host, settings.api.port), ("matrix", settings.matrix.host, settings.matrix.port))
    async with installation.port_lock:
        taken = [
            f"{name}.port: {host}:{port}: {problem}"
            for name, host, port in listeners
            if (problem := await _bind(host, port)) is not None
        ]
    if taken:
        return failed(listed(taken), "Stop what is using the port, or set another in the configuration.")
    return passed(f"{settings.api.port} and {settings.matrix.port} are free.")


async def _bind(host: str, port: int) -> str | None:
    """Bind and release an address; return why that fails, or None."""
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    except OSError as error:
        return bind_problem(error)
    server.close()
    await server.wait_closed()
    return None


@check(needs=("config",), symptoms=("Nothing answers at the address of the city.",))
async def service(installation: Installation) -> Finding:
    """The service runs and answers at its matrix listener.

    Warns if it does not run: the other checks then examine what it will find.
    """
    url = installation.matrix_url
    match await installation.service_state():
        case ServiceState.ABSENT:
            return warning(f"The service does not answer at {url}.", _START)
        case ServiceState.OTHER_PROGRAM:
            return failed(f"Another program answers at {url}.", "Stop it, or set another matrix.port.")
    return passed(f"It answers at {url}.")


@check(
    needs=("config",),
    symptoms=("The pages show old messages or wrong presence.", "Messages stay pending."),
)
async def readiness(installation: Installation) -> Finding:
    """Each part of the running service is ready.

    Reads `GET /readyz?verbose`. Fails while the service cannot do its job, warns of each part that works badly. After its
    start, a service sets up rooms and ghosts first.
    """
    if not await is_running(installation):
        return skipped("The service does not run.")
    _, content = await installation.call_service("/readyz?verbose")
    return judge_readiness(content)


def judge_readiness(content: Any) -> Finding:
    """Judge the JSON of ``/readyz?verbose``."""
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, dict):
        return warning("The running service has no verbose readiness.", "Restart it: it is of an older version.")
    broken = [f"{name}: {part['detail']}" for name, part in parts.items() if part["status"] == "failed"]
    if broken:
        return failed(f"Not ready: {listed(broken, 6)}.", "See the checks of these parts, and the log of the service.")
    weak = [f"{name}: {part['detail']}" for name, part in parts.items() if part["status"] == "warning"]
    if weak:
        return warning(f"Ready, but {listed(weak, 6)}.", "See the checks of these parts, and the log of the service.")
    return passed(f"All {len(parts)} parts are ready.")


CHECKS: Final = (ports, service, readiness)
