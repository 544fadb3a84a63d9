"""The check of the agents core: one real request."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CollectorRegistry

from ..agents.core import AgentsCore
from ..agents.metrics import CoreMetrics
from ..agents.request import AgentRequest, RequestKind
from ..city.types import SubjectId
from ..clock import steady_ms
from ..errors import CoreError, CoreFailed, CoreTimeout
from .checks import check
from .findings import Finding, failed, passed, skipped, warning
from .installation import Installation

_SLOW_S: Final = 10.0
_TIMEOUT_S: Final = 60.0
_INPUT: Final = "ping"


@check(
    needs=("config",),
    symptoms=("Agents do not reply, or say that the agents core cannot be reached.",),
    timeout_s=_TIMEOUT_S + 5,
)
async def agents_core(installation: Installation) -> Finding:
    """The agents core generates a reply, in the dialect of `agents_core.kind`.

    Sends one request, "ping" to the first agent of the configuration or to Second Me, and warns if the reply takes longer than
    ten seconds. Fails with the cause: address, token, dialect, model, timeout.
    """
    settings = installation.settings.agents_core
    if not settings.url:
        return skipped("agents_core.url is empty: agents do not reply.")
    timed = settings.model_copy(update={"timeout_s": min(settings.timeout_s, _TIMEOUT_S)})
    core = AgentsCore(timed, steady_ms, CoreMetrics(CollectorRegistry()))
    agents = installation.settings.agents
    agent = agents[0].slug if agents else installation.settings.city.second_me
    request = AgentRequest(agent, _INPUT, RequestKind.DIRECT, SubjectId("u:doctor"))
    began_s = time.monotonic()
    try:
        async with core.generate(request) as chunks:
            text = "".join([chunk async for chunk in chunks])
    except CoreError as error:
        return failed(f"{error.detail[:1].upper()}{error.detail[1:]}.", _advice(error, settings.kind))
    finally:
        await core.close()
    took_s = time.monotonic() - began_s
    if not text.strip():
        return warning(f"{agent} replied with an empty text.", "See its log; with openai, check agents_core.model.")
    if took_s > _SLOW_S:
        return warning(
            f"{agent} took {took_s:.1f} seconds to reply to one word.",
            "See the load of the model server; agents_core.parallel limits how many requests it gets at once.",
        )
    return passed(f"{agent} replied after {took_s:.1f} seconds ({settings.kind}).")


def _advice(error: CoreError, kind: str) -> str:
    detail = error.detail
    if isinstance(error, CoreTimeout):
        return "See the log of the core, and whether a firewall drops packets; raise agents_core.timeout_s for a slow model."
    if "status 401" in detail or "status 403" in detail:
        return "Correct agents_core.token, and agents_core.token_header (Azure: api-key)."
    if "status 404" in detail or "status 405" in detail:
        other = "invoke" if kind == "openai" else "openai"
        return (
            f"Nothing answers there in the dialect {kind}: correct the path of agents_core.url, agents_core.model, or set "
            f"agents_core.kind to {other}."
        )
    if isinstance(error, CoreFailed) and "cannot be reached" in detail:
        return "Does the core run, and is agents_core.url right? In Docker, localhost is the container itself."
    return "See the log of the core, and docs/how-to/connect-an-agents-core.md."


CHECKS: Final = (agents_core,)
