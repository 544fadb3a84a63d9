"""Every error of ours, in one tree.

    DaarionError
     ├── CityError                           the city says no: the asker can do something about it
     │    ├── InvalidInput                   what was sent does not make sense                    (HTTP 400, 411, 413, 415, 422)
     │    ├── Unauthenticated                nobody proved who is asking                          (HTTP 401)
     │    ├── Forbidden                      we know who is asking, and they may not              (HTTP 403)
     │    ├── NotFound                       there is no such thing                               (HTTP 404)
     │    ├── Conflict                       it is there already, or its state forbids it         (HTTP 409)
     │    ├── TooManyRequests                not so often: it says when to come back              (HTTP 429)
     │    └── Unavailable                    something that we depend on does not answer          (HTTP 503)
     │         └── CoreError                 an agent gave no answer
     │              ├── CoreUnreachable      there is no agents core to ask                       (HTTP 503)
     │              ├── CoreBusy             as many are being asked as may be                    (HTTP 503)
     │              ├── CircuitOpen          it failed so often that it is left alone             (HTTP 503)
     │              ├── CoreFailed           it answered nothing that can be used                 (HTTP 502)
     │              └── CoreTimeout          it did not answer in time                            (HTTP 504)
     ├── HomeserverError                     the homeserver did not do what we asked
     │    ├── HomeserverUnavailable          nothing came back, or a gateway spoke for it: trying again helps
     │    │    ├── HomeserverUnreachable     what answered does not speak Matrix
     │    │    └── HomeserverTimeout         this one request was not answered in time
     │    ├── HomeserverRefused              it answered no: trying the same again does not help by itself
     │    │    └── HomeserverRateLimited     too many requests: it says when to come back
     │    └── RoomLinkBroken                 a room and its Matrix room are not one, and an admin on Matrix must see to it
     ├── TaskFailedRepeatedly                a background task fails again and again: the process ends
     └── StartError                          the service cannot start; says why and what to do, and has an exit code

An error says what happened, whether trying again helps, and what the reader can do about it.
"""

from __future__ import annotations

from enum import IntEnum


class DaarionError(Exception):
    """Anything that this software raises on purpose."""


# --- the city says no ---------------------------------------------------------------------------------


class CityError(DaarionError):
    """A request that cannot be fulfilled; nothing was changed by it.

    ``code`` is stable and meant for programs, ``detail`` is a sentence meant for a person.
    """

    status = 400

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class InvalidInput(CityError):
    """What was sent does not make sense; ``status`` may be narrowed to 411, 413, 415 or 422."""

    def __init__(self, code: str, detail: str, *, status: int = 400) -> None:
        super().__init__(code, detail)
        self.status = status


class Unauthenticated(CityError):
    """Nobody proved who is asking."""

    status = 401


class Forbidden(CityError):
    """We know who is asking, and they may not."""

    status = 403


class NotFound(CityError):
    """There is no such thing."""

    status = 404


class Conflict(CityError):
    """It is there already, or the state it is in forbids it."""

    status = 409


class TooManyRequests(CityError):
    """Not so often: the same request will do after ``retry_after_s``."""

    status = 429

    def __init__(self, detail: str, *, retry_after_s: float) -> None:
        super().__init__("too_many_requests", detail)
        self.retry_after_s = retry_after_s


class Unavailable(CityError):
    """Something that we depend on does not answer; the same request will do later: after ``retry_after_s``, if that is known."""

    status = 503

    def __init__(self, code: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after_s = retry_after_s


# --- the homeserver -----------------------------------------------------------------------------------


class HomeserverError(DaarionError):
    """The homeserver did not do what we asked of it."""


class HomeserverUnavailable(HomeserverError):
    """No answer, or one by a gateway in its place: the same request will do later."""


class HomeserverUnreachable(HomeserverUnavailable):
    """What answered does not speak Matrix: somebody else's address, or a page that stands there for the time being."""


class HomeserverTimeout(HomeserverUnavailable):
    """This request was not answered in time; that says little about the next one."""


class HomeserverRefused(HomeserverError):
    """The homeserver answered no.

    ``errcode`` is Matrix's (``M_FORBIDDEN``), ``status`` the HTTP status.
    """

    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message


class HomeserverRateLimited(HomeserverRefused):
    """Too many requests: the same one will do after ``retry_after_ms``."""

    def __init__(self, errcode: str, message: str, *, retry_after_ms: int) -> None:
        super().__init__(429, errcode, message)
        self.retry_after_ms = retry_after_ms


class InvalidHomeserverResponse(HomeserverRefused):
    """A 2xx response of the homeserver whose JSON does not have the shape in the Matrix specification; handled as a 502."""

    def __init__(self, message: str) -> None:
        super().__init__(502, "M_UNKNOWN", message)


class RoomLinkBroken(HomeserverError):
    """A room of the city and its Matrix room are not one. The text says why, and what an admin on Matrix can do about it."""


# --- agents that answer -------------------------------------------------------------------------------


class CoreError(Unavailable):
    """An agent gave no answer, or only a part of one. ``detail`` can be shown to whoever asked."""


class CoreUnreachable(CoreError):
    """There is no agents core to ask."""

    def __init__(self) -> None:
        super().__init__("no_core", "agents do not answer in this city: it has no agents core")


class CoreBusy(CoreError):
    """As many are being asked as may be."""

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(
            "core_busy", "too much is asked at the moment; try again in a moment", retry_after_s=retry_after_s
        )


class CircuitOpen(CoreError):
    """The core failed so often that it is left alone for a while."""

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(
            "core_resting",
            "agents cannot answer at the moment; try again in half a minute",
            retry_after_s=retry_after_s,
        )


class CoreFailed(CoreError):
    """The core answered nothing that can be used, or broke off.

    ``is_about_core``: whether others would fare no better; not so where it is this question or this agent.
    """

    status = 502

    def __init__(self, detail: str, *, is_about_core: bool = True) -> None:
        super().__init__("core_failed", detail)
        self.is_about_core = is_about_core


class CoreTimeout(CoreError):
    """The core did not answer in time."""

    status = 504

    def __init__(self, detail: str) -> None:
        super().__init__("core_timeout", detail)


# --- running ------------------------------------------------------------------------------------------


class TaskFailedRepeatedly(DaarionError):
    """The background task ``task`` failed so often that restarting it does not help; ``cause`` is what it raised last."""

    help = "A traceback is in the log. The supervisor of the process (systemd, Docker) should start it again."

    def __init__(self, task: str, cause: BaseException) -> None:
        super().__init__(f"The background task {task} failed again and again: {type(cause).__name__}: {cause}")
        self.task = task
        self.cause = cause


# --- starting -----------------------------------------------------------------------------------------


class ExitCode(IntEnum):
    """What the process's exit code means to whoever started it (documented in docs/operations.md)."""

    OK = 0
    FAILED = 1
    """The command could not do what it was asked to; it said why."""
    USAGE = 2
    """The command line is wrong."""
    CONFIG = 3
    """The configuration is missing or wrong."""
    DATABASE = 4
    """The database cannot be reached, written to, or is newer than this software."""
    PORT = 5
    """A port to listen on is taken or may not be used."""
    HOMESERVER_AWAY = 6
    """The homeserver cannot be reached."""
    HOMESERVER_REFUSED = 7
    """The homeserver refuses us: token, id, domain or registration do not match."""
    REGISTRATION = 8
    """The registration file is missing, or differs from the configuration."""
    REDIS = 9
    """Redis refuses us, or is none that we can use."""


class StartError(DaarionError):
    """The service cannot start: ``what`` is wrong, ``help`` says what to do, ``exit_code`` tells a supervisor."""

    def __init__(self, what: str, help: str, exit_code: ExitCode) -> None:  # noqa: A002
        super().__init__(what)
        self.what = what
        self.help = help
        self.exit_code = exit_code
