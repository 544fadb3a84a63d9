"""Whether the homeserver is there. Whoever finds it gone says so here once, and everybody waits for the same answer.

When it is back, or falls silent although we sent something, it is pinged: a homeserver that could not reach us for a
while waits up to minutes before it tries again, and a ping makes it deliver at once what it holds back (measured: 85
transactions in 0.2 s instead of 28 s later).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import structlog

from ...errors import HomeserverRefused, HomeserverTimeout, HomeserverUnavailable
from ...realtime.listeners import notify_all
from .connection_advice import callback_advice, homeserver_advice
from .homeserver import Homeserver

_PULSE_S: Final = 1.0
"""How often to see whether it is still there when nobody asks it anything. A Synapse that is started again needs longer than
this until it answers, so that no absence goes unnoticed: it never delivers what waited then (see ``gap_backfill``)."""
_FIRST_PROBE_S: Final = 0.25
_SLOWEST_PROBE_S: Final = 5.0
_ECHO_S: Final = 10.0
"""How long after we sent something the homeserver may take to send us anything, before we ask what is the matter."""

_PING_S: Final = 10.0
"""Whatever stands between the homeserver and us should have given up by then: see docs/operations.md on proxies."""
_HELD_BACK: Final = (
    "does something between Synapse and appservice.address, or a replica that hangs, hold requests back?"
)

_FAILED_PINGS: Final = 2
"""After so many in a row the service is not ready: one alone also fails when Synapse has only begun to start."""

_OTHER_REGISTRATION: Final = (
    "messages from Matrix wait in Synapse: it has another hs_token than this service; compare with `daarion-appservice "
    "registration check`, give Synapse the right file and restart it"
)
_NO_URL: Final = (
    "messages from Matrix wait in Synapse: its copy of the registration has no url; give Synapse the file that "
    "`daarion-appservice registration generate` made, and restart it"
)
_OTHER_ID: Final = (
    "messages from Matrix wait in Synapse: its copy of the registration has another id than appservice.id; compare with "
    "`daarion-appservice registration check`, give Synapse the right file and restart it"
)
_CANNOT_REACH_US: Final = "messages from Matrix wait in Synapse: is appservice.address what Synapse reaches us under?"

log = structlog.get_logger()


class HomeserverMonitor:
    def __init__(self, homeserver: Homeserver, appservice_id: str, callback_address: str = "") -> None:
        self._homeserver = homeserver
        self._appservice_id = appservice_id
        self._callback_address = callback_address
        """Where the homeserver calls us (``appservice.address``); only for what the log says."""
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._on_return: list[Callable[[], None]] = []
        self._on_silence: list[Callable[[], None]] = []
        self._echo_due: float | None = None
        """On the event loop's clock; None while nothing is expected."""
        self.reason: str | None = "not asked yet"
        """Why it counts as gone; None while it is there."""
        self.refusal: str | None = None
        """Why it takes nothing from us although it is there; None while it takes our token."""
        self.unreached: str | None = None
        """Why it cannot call us although it is there; None while it can, as far as is known."""
        self._failed_pings = 0
        self._logged_help = ""
        """What the log says to do about the failed pings; each advice stands there once."""
        self._ping_due: float | None = None
        """When to ping again after a failed ping, on the event loop's clock."""
        self.absences = 0
        """How often it was lost."""

    def on_return(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called each time the homeserver is back after it was gone."""
        self._on_return.append(listener)

    def on_silence(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called each time what we sent did not come back in time: other events may be missing, too."""
        self._on_silence.append(listener)

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def wait_up(self) -> None:
        await self._up.wait()

    def found(self) -> None:
        """The homeserver answers (the start-up checks say so the first time)."""
        self.reason = None
        self._lost.clear()
        self._up.set()

    def lost(self, error: HomeserverUnavailable) -> None:
        """Somebody's request was not answered. That one was slow proves nothing: the pulse will tell."""
        if not isinstance(error, HomeserverTimeout):
            self._is_lost(error)

    def _is_lost(self, error: HomeserverUnavailable) -> None:
        if not self._up.is_set():
            return
        self.reason = str(error)
        self.absences += 1
        log.warning("homeserver_lost", reason=self.reason, help="messages wait and nothing is lost; trying again")
        self._up.clear()
        self._lost.set()

    def expect_echo(self) -> None:
        """We sent an event: it must come back with a transaction, or none come any more."""
        if self._echo_due is None:
            self._echo_due = asyncio.get_running_loop().time() + _ECHO_S

    def heard(self) -> None:
        """Events came in: by a transaction, or by a sweep, so it does not prove that pings arrive."""
        self._echo_due = None

    async def run(self) -> None:
        """Find a homeserver that was lost, and one that has fallen silent; until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_PULSE_S):
                    await self._lost.wait()
            except TimeoutError:
                await self._feel_pulse()
                await self._ask_why_silent()
                continue
            await asyncio.sleep(_FIRST_PROBE_S)
            await self._probe_until_back()
            self.found()
            log.info("homeserver_back")
            notify_all("HomeserverBack", self._on_return)

    async def _feel_pulse(self) -> None:
        if not self.is_up:
            return
        try:
            await self._homeserver.versions()
        except HomeserverUnavailable as error:
            self._is_lost(error)
        except HomeserverRefused as error:
            self._is_refused(error)
        else:
            self._is_accepted()

    def _is_refused(self, error: HomeserverRefused) -> None:
        # Synapse checks a token that it is given even where none is needed.
        if error.status != 401:
            log.debug("no_versions", error=str(error))
        elif self.refusal is None:
            self.refusal = f"does not accept our as_token ({error.errcode})"
            log.error(
                "token_refused",
                error=str(error),
                help="messages and presence wait: Synapse's copy of the registration is another or gone; see "
                "`daarion-appservice registration check`, then restart Synapse",
            )

    def _is_accepted(self) -> None:
        if self.refusal is not None:
            self.refusal = None
            log.info("token_accepted")
            notify_all("HomeserverBack", self._on_return)

    async def _ask_why_silent(self) -> None:
        due = [each for each in (self._echo_due, self._ping_due) if each is not None]
        if not due or asyncio.get_running_loop().time() < min(due):
            return
        self._echo_due = self._ping_due = None
        try:
            await self.ask_for_delivery()
        except HomeserverUnavailable as error:
            self.lost(error)
        for listener in self._on_silence:
            listener()

    async def ask_for_delivery(self) -> bool:
        """Have the homeserver deliver what it holds back; False when it cannot reach us. Raises HomeserverUnavailable."""
        try:
            async with asyncio.timeout(_PING_S):
                await self._homeserver.ping(self._appservice_id)
        except TimeoutError:
            log.warning(
                "homeserver_cannot_reach_us", error=f"no answer to a ping within {_PING_S:g} s", help=_HELD_BACK
            )
            return False
        except HomeserverRefused as error:
            await self._is_unreached(error)
            return False
        self._is_reached()
        return True

    async def _is_unreached(self, error: HomeserverRefused) -> None:
        """A ping did not arrive, or was refused by ourselves; the next one follows after ``_ECHO_S``."""
        self._ping_due = asyncio.get_running_loop().time() + _ECHO_S
        if error.status == 401:
            self._is_refused(error)
            return
        self._failed_pings += 1
        what, help_ = await self._ping_problem(error)
        if help_ != self._logged_help:
            self._logged_help = help_
            log.warning("homeserver_cannot_reach_us", error=str(error), help=help_)
        if self._failed_pings >= _FAILED_PINGS:
            self.unreached = what

    async def _ping_problem(self, error: HomeserverRefused) -> tuple[str, str]:
        """Return what a failed ping says of Synapse, for ``/readyz``, and what to do about it."""
        if is_token_wrong(error):
            return "has another hs_token", _OTHER_REGISTRATION
        match error.errcode:
            case "M_URL_NOT_SET":
                return "has a registration of this service without url", _NO_URL
            case "M_FORBIDDEN":
                return "has a registration of this service with another id", _OTHER_ID
        tls_advice = await callback_advice(self._callback_address, error.message)
        return f"cannot reach us: {error}", tls_advice or _CANNOT_REACH_US

    def _is_reached(self) -> None:
        if self.unreached is not None:
            log.info("homeserver_reaches_us")
        self.unreached, self._failed_pings, self._ping_due, self._logged_help = None, 0, None, ""

    async def _probe_until_back(self) -> None:
        pause_s, logged_help = _FIRST_PROBE_S, ""
        while True:
            try:
                await self._homeserver.versions()
                await self._homeserver.ping(self._appservice_id)
            except HomeserverUnavailable as error:
                self.reason = str(error)
                help_ = await homeserver_advice(self._homeserver.address, error)
                if help_ and help_ != logged_help:
                    logged_help = help_
                    log.warning("homeserver_lost", reason=self.reason, help=help_)
            except HomeserverRefused as error:
                # It answers, so it is there; that it cannot reach us is for the log, and no reason to hold back messages.
                await self._is_unreached(error)
                return
            else:
                self._is_reached()
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _SLOWEST_PROBE_S)


def is_token_wrong(error: HomeserverRefused) -> bool:
    """Whether a ping failed because it reached this service with another ``hs_token`` than the one configured."""
    return error.errcode == "M_BAD_STATUS" and re.search(r"\b40[13]\b", error.message) is not None
