"""Checks of the way from Synapse to the service: pings, transactions, an event that comes back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from ..clock import now_ms
from ..errors import HomeserverRefused
from ..http.servers import bind_problem
from ..matrix.client.startup_checks import is_transient_ping_error, ping_error
from ..matrix.inbound.authentication import HomeserverToken
from ..storage.inbox import InboxState
from ..storage.outbox import OutboxState
from .checks import check
from .findings import Finding, failed, passed, skipped, warning
from .installation import Installation
from .service import is_running

_PING_TIMEOUT_S: Final = 12.0
_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.5
_ECHO_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.2
_LATE_MS: Final = 60_000
PROBE_EVENT: Final = "space.daarion.doctor"
"""The type of the event that ``probe_event`` sends to the city's space; clients show no such event."""


@check(
    needs=("as_token",),
    symptoms=("No message arrives from Matrix.", "The log says homeserver_cannot_reach_service."),
    timeout_s=30,
)
async def ping(installation: Installation) -> Finding:
    """Synapse reaches the service at the `url` of its copy of the registration, with the right `hs_token`.

    Asks Synapse to ping the service; if the service does not run, the doctor answers the ping in its place. Distinguishes a wrong
    token, a wrong address, a firewall that drops packets, https:// for a port without TLS, and another service at the address.
    """
    async with _answering_pings(installation) as stand_in_problem:
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                return await _ping(installation)
        except TimeoutError:
            address = installation.settings.appservice.address
            return failed(
                f"Synapse gets no answer from {address} within {_PING_TIMEOUT_S:g} seconds.",
                "Something between Synapse and the matrix listener drops the packets, usually a firewall, or a process hangs. "
                f"Try on Synapse's machine: curl -m 5 {address}/healthz",
            )
        except HomeserverRefused as error:
            problem = await ping_error(error, installation.settings)
            return failed(f"{problem.what} {stand_in_problem or ''}", problem.help)


async def _ping(installation: Installation) -> Finding:
    for tries_left in reversed(range(_ATTEMPTS)):
        try:
            await installation.homeserver.ping(installation.settings.appservice.id)
        except HomeserverRefused as error:
            if not is_transient_ping_error(error):
                raise
            if not tries_left:
                return warning(f"Synapse is too busy to ping the service: {error}.", "Try again in a minute.")
            await asyncio.sleep(_PAUSE_S)
        else:
            break
    return passed("Synapse reaches the service.")


@asynccontextmanager
async def _answering_pings(installation: Installation) -> AsyncIterator[str | None]:
    """Answer Synapse's pings inside the block if the service does not run; yield why that is impossible, or None.

    Synapse delivers waiting transactions after a ping. They are refused with 503 here, so that it repeats them.
    """
    if await is_running(installation):
        yield None
        return
    settings = installation.settings
    token = HomeserverToken(settings.appservice.hs_token.get_secret_value())

    async def answer(request: web.Request) -> web.Response:
        token.check(request)
        return web.json_response({}, status=200 if request.path.endswith("/ping") else 503)

    app = web.Application()
    app.router.add_route("*", "/_matrix/app/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    async with installation.port_lock:
        await runner.setup()
        try:
            problem = None
            try:
                await web.TCPSite(runner, settings.matrix.host, settings.matrix.port).start()
            except OSError as error:
                problem = f"(The service does not run, and the doctor cannot answer for it: {bind_problem(error)})"
            yield problem
        finally:
            await runner.cleanup()


@check(
    needs=("ping", "database_schema"),
    symptoms=("Messages from Matrix arrive late or in bursts.", "No message arrives from Matrix."),
    timeout_s=30,
)
async def probe_event(installation: Installation) -> Finding:
    """An event that the bot sends to Matrix comes back to the running service in a transaction.

    Sends an event that no client shows to the city's space, and waits for it in the database.
    """
    if not await is_running(installation):
        return skipped("The service does not run.")
    homeserver, identities = installation.homeserver, installation.identities
    space = await homeserver.room_of_alias(identities.space_alias)
    if space is None or space not in await homeserver.joined_rooms(as_user=identities.bot):
        return skipped(f"The bot is not in the city's space {identities.space_alias} yet.")
    before_ms, began_ms = await _last_transaction_ms(installation), now_ms()
    event = await homeserver.send(
        space, PROBE_EVENT, f"doctor-{secrets.token_hex(8)}", {}, as_user=identities.bot, with_device=False
    )
    try:
        async with asyncio.timeout(_ECHO_TIMEOUT_S):
            # A sweep may fetch the event, too, so a transaction must have arrived since as well.
            while (  # noqa: ASYNC110 -- another process stores it
                not await _is_stored(installation, event) or await _last_transaction_ms(installation) == before_ms
            ):
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return failed(
            f"An event did not come back within {_ECHO_TIMEOUT_S:g} seconds, although Synapse reaches the service.",
            "Synapse delivers in order and repeats what failed: see its log for `appservice`, with workers that of the worker in "
            "notify_appservices_from_worker; restart that process.",
        )
    return passed(f"It came back after {now_ms() - began_ms} ms.")


async def _is_stored(installation: Installation, event: str) -> bool:
    async with installation.database.read_only() as tx:
        return bool(await tx.inbox.find_stored([event]))


async def _last_transaction_ms(installation: Installation) -> int | None:
    async with installation.database.read_only() as tx:
        return await tx.inbox.last_transaction_ms()


@check(
    needs=("database_schema",),
    symptoms=("Single messages are missing on one side.", "Messages stay pending."),
)
async def queues(installation: Installation) -> Finding:
    """Events from Matrix are processed, and changes for Matrix are sent.

    Warns of dead letters, of messages that the homeserver rejected, and of events that have waited for more than a minute. States
    the age of the last transaction.
    """
    async with installation.database.read_only() as tx:
        inbox, outbox = await tx.inbox.counts(), await tx.outbox.counts()
        oldest_ms, last_ms = await tx.inbox.oldest_waiting_ms(), await tx.inbox.last_transaction_ms()
    dead, rejected = inbox.get(InboxState.DEAD, 0), outbox.get(OutboxState.FAILED, 0)
    if dead:
        return warning(
            f"{dead} event(s) from Matrix could not be processed.",
            "`daarion-appservice dead-letter list` shows why; `daarion-appservice dead-letter retry` after the cause is gone.",
        )
    if rejected:
        return warning(
            f"The homeserver rejected {rejected} message(s).",
            "`daarion-appservice message list --failed` shows why; `daarion-appservice message retry` after the cause is gone.",
        )
    if oldest_ms is not None and now_ms() - oldest_ms > _LATE_MS:
        return warning(
            f"An event from Matrix has waited for {(now_ms() - oldest_ms) // 1000} seconds, {inbox[InboxState.NEW]} in all.",
            "The leader processes them: see `service`, `readiness`, and unit_failed in the log.",
        )
    last = "none yet" if last_ms is None else f"{(now_ms() - last_ms) // 1000} seconds ago"
    return passed(f"The last transaction with events: {last}; waiting to be sent: {outbox.get(OutboxState.NEW, 0)}.")


CHECKS: Final = (ping, probe_event, queues)
