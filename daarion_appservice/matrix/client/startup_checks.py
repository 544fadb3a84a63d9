"""Start-up checks: whether the homeserver responds, accepts the token, is the configured one, and reaches the service.

Each failure has its own message and advice for the admin.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ...city.identity import Identities
from ...city.types import UserId
from ...config import Settings
from ...errors import ExitCode, HomeserverRefused, HomeserverUnavailable, HomeserverUnreachable, StartError
from .connection_advice import callback_advice, homeserver_advice
from .homeserver import Homeserver
from .monitor import HomeserverMonitor, is_token_wrong

_MIN_RETRY_S: Final = 0.1
_MAX_RETRY_S: Final = 2.0
_LOG_AFTER_S: Final = 5.0
"""The time before the log reports a missing homeserver, so that there is no warning if both start together."""
_MAX_PINGS: Final = 5
"""The number of failed pings before the start fails: a network of containers becomes reachable gradually."""

_PING_PAUSE_S: Final = 1.0
_TWISTED_RACE: Final = "AlreadyCalled"
"""Part of Synapse 1.163's error message for a ping that failed in its HTTP client, which cancelled a timer that had
fired. It happens on a busy machine, also five times in a row, and is independent of the address (seen in kill tests)."""
_NO_RESPONSE: Final = frozenset({"M_CONNECTION_FAILED", "M_CONNECTION_TIMEOUT"})
"""The errcodes of a ping to which this service did not respond (client-server API, ``POST /appservice/{id}/ping``)."""
MAYBE_NOT_RUNNING: Final = (
    "Is Synapse running, and is homeserver.address right? The city is up meanwhile; messages wait."
)
_WRONG_ADDRESS: Final = (
    "homeserver.address must be the address of Synapse's client listener, usually http://localhost:8008."
)

log = structlog.get_logger()


async def run_startup_checks(
    homeserver: Homeserver, monitor: HomeserverMonitor, settings: Settings, identities: Identities
) -> None:
    """Wait for the homeserver, and check that it and the configuration agree.

    Raises:
        StartError: the homeserver refuses the service, is not the configured one, or cannot reach the service.
    """
    while True:
        await _wait_for_homeserver(homeserver, monitor)
        try:
            await identify(homeserver, settings, identities)
            await _ping(homeserver, settings)
        except HomeserverUnavailable as error:
            # The homeserver responded a moment ago, so that it is being stopped or started.
            monitor.reason = str(error)
            await asyncio.sleep(_MAX_RETRY_S)
        else:
            monitor.record_ping()
            monitor.mark_up()
            return


async def _wait_for_homeserver(homeserver: Homeserver, monitor: HomeserverMonitor) -> None:
    loop = asyncio.get_running_loop()
    logged_help, began_s, pause_s = "", loop.time(), _MIN_RETRY_S
    while True:
        try:
            # A request that hangs must not prevent the log message.
            async with asyncio.timeout(None if logged_help else _LOG_AFTER_S):
                await homeserver.versions()
        except (HomeserverUnreachable, HomeserverRefused) as error:
            if isinstance(error, HomeserverRefused) and is_busy(error):
                monitor.reason = str(error)
                await asyncio.sleep(_MAX_RETRY_S)
                continue
            if isinstance(error, HomeserverRefused) and error.status == 401:
                return  # Some homeservers require a valid token here, too; `identify` raises the error.
            raise await not_a_homeserver(homeserver, error) from error
        except (HomeserverUnavailable, TimeoutError) as error:
            monitor.reason = str(error) or f"{homeserver.address} did not answer within {_LOG_AFTER_S:.0f} seconds"
            is_late = loop.time() - began_s >= _LOG_AFTER_S
            help_ = await homeserver_advice(homeserver.address, error) or (MAYBE_NOT_RUNNING if is_late else "")
            # The advice may change while the service waits, for example if the homeserver starts without TLS.
            if help_ and help_ != logged_help and not (logged_help and help_ == MAYBE_NOT_RUNNING):
                logged_help = help_
                log.warning("homeserver_unavailable", address=homeserver.address, reason=monitor.reason, help=help_)
        else:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _MAX_RETRY_S)


async def not_a_homeserver(homeserver: Homeserver, error: HomeserverUnreachable | HomeserverRefused) -> StartError:
    """Return the StartError for a server that answers ``GET /versions`` as no homeserver does."""
    return StartError(
        f"The server at {homeserver.address} is not a Matrix homeserver ({error}).",
        await homeserver_advice(homeserver.address, error) or _WRONG_ADDRESS,
        ExitCode.HOMESERVER_REFUSED,
    )


async def identify(homeserver: Homeserver, settings: Settings, identities: Identities) -> None:
    """Raise StartError unless the homeserver accepts the ``as_token`` and has the configured name and bot."""
    check_identity(await check_token(homeserver, settings), settings, identities)


async def check_token(homeserver: Homeserver, settings: Settings) -> UserId:
    """Return the user of the ``as_token`` on the homeserver.

    Raises:
        StartError: the homeserver does not accept the token.
        HomeserverUnavailable: it does not answer, or is starting.
    """
    try:
        return await homeserver.whoami()
    except HomeserverRefused as error:
        if is_busy(error):
            raise HomeserverUnavailable(str(error)) from error
        raise StartError(
            f"Synapse does not accept the as_token ({error.errcode}).",
            f"Has Synapse been given {settings.appservice.registration} (app_service_config_files in homeserver.yaml) "
            "and been restarted since? If so, compare the two with `daarion-appservice registration check`.",
            ExitCode.HOMESERVER_REFUSED,
        ) from error


def check_identity(user: UserId, settings: Settings, identities: Identities) -> None:
    """Raise StartError unless ``user``, to whom the ``as_token`` belongs, is the bot on the configured homeserver."""
    localpart, _, domain = user.removeprefix("@").partition(":")
    if domain != settings.homeserver.domain:
        raise StartError(
            f"This Synapse is {domain}, but homeserver.domain says {settings.homeserver.domain}.",
            f"Set homeserver.domain to {domain}, then run `daarion-appservice registration generate --force` "
            "and give Synapse the new file; or point homeserver.address to the right Synapse.",
            ExitCode.HOMESERVER_REFUSED,
        )
    if user != identities.bot:
        raise StartError(
            f"Synapse knows this application service's bot as @{localpart}, but appservice.bot says "
            f"{settings.appservice.bot}.",
            f"Set appservice.bot to {localpart}, or make a new registration and restart Synapse.",
            ExitCode.HOMESERVER_REFUSED,
        )


def is_busy(error: HomeserverRefused) -> bool:
    """Return whether an error response means that the homeserver is starting or overloaded, and refuses nothing."""
    return error.status == 429 or (error.status >= 500 and error.errcode in {"M_UNKNOWN", ""})


async def _ping(homeserver: Homeserver, settings: Settings) -> None:
    for tries_left in reversed(range(_MAX_PINGS)):
        try:
            await homeserver.ping(settings.appservice.id)
        except HomeserverRefused as error:
            if is_transient_ping_error(error):
                raise HomeserverUnavailable(str(error)) from error
            problem = await ping_error(error, settings)
            if error.errcode not in _NO_RESPONSE or not tries_left:
                raise problem from error
            log.warning("homeserver_cannot_reach_service", reason=error.message, help=problem.help)
            await asyncio.sleep(_PING_PAUSE_S)
        else:
            return


def is_transient_ping_error(error: HomeserverRefused) -> bool:
    """Return whether a failed ping says nothing about the address and the tokens, so that a retry may succeed."""
    return is_busy(error) or _TWISTED_RACE in error.message


async def ping_error(error: HomeserverRefused, settings: Settings) -> StartError:
    """Return the StartError for a ping with which the homeserver did not reach this service, with its cause."""
    address = settings.appservice.address
    tls_advice = await callback_advice(address, error.message)
    match error.errcode:
        case "M_BAD_STATUS" if is_token_wrong(error):
            message = "Synapse reaches the service, but sends another hs_token than the configured one."
            help_ = (
                "Synapse and the city have different registration files: compare with `daarion-appservice registration "
                "check`, give Synapse the right one and restart it."
            )
        case "M_BAD_STATUS":
            message = f"Another service answers Synapse at {address} ({error.message})."
            help_ = tls_advice or (
                "Set appservice.address to where Synapse reaches the matrix listener, in the registration too."
            )
        case "M_CONNECTION_FAILED" | "M_CONNECTION_TIMEOUT":
            message = f"Synapse cannot reach the service at {address} ({error.message})."
            help_ = tls_advice or (
                f"The matrix listener is at {settings.matrix.host}:{settings.matrix.port}. Set appservice.address to how "
                "Synapse sees it (in Docker: the service's name), run `daarion-appservice registration generate "
                "--force`, and restart Synapse."
            )
        case "M_URL_NOT_SET":
            message = "The registration in Synapse has no url."
            help_ = "Give Synapse the file that `daarion-appservice registration generate` makes, and restart it."
        case "M_FORBIDDEN":
            message = f"The registration in Synapse has another id than {settings.appservice.id!r}."
            help_ = "appservice.id must be the `id` in the registration: see `daarion-appservice registration check`."
        case _:
            message = f"Synapse could not ping the service: {error}."
            help_ = "Look into Synapse's log for the reason."
    return StartError(message, help_, ExitCode.HOMESERVER_REFUSED)
