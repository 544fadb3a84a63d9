"""The exceptions of the service, in one tree.

    DaarionError
     ├── CityError                           a request that the city refuses; its sender can correct it or retry
     │    ├── InvalidInput                   the request is malformed or has invalid values  (HTTP 400, 411, 413, 415, 422)
     │    ├── Unauthenticated                the request has no valid credentials            (HTTP 401)
     │    ├── Forbidden                      the principal lacks the permission              (HTTP 403)
     │    ├── NotFound                       the resource does not exist                     (HTTP 404)
     │    ├── Conflict                       the resource exists, or its state forbids it    (HTTP 409)
     │    ├── TooManyRequests                a rate limit, with the time to wait             (HTTP 429)
     │    └── Unavailable                    a dependency does not answer                    (HTTP 503)
     │         └── CoreError                 an agent's reply failed
     │              ├── CoreNotConfigured    no agents core is configured                    (HTTP 503)
     │              ├── CoreBusy             the limit of concurrent requests is reached     (HTTP 503)
     │              ├── CircuitOpen          the circuit breaker is open                     (HTTP 503)
     │              ├── CoreFailed           the response of the core is unusable            (HTTP 502)
     │              └── CoreTimeout          the core did not respond in time                (HTTP 504)
     ├── HomeserverError                     a request to the homeserver failed
     │    ├── HomeserverUnavailable          no response, or one of a gateway: a retry helps
     │    │    ├── HomeserverUnreachable     the server at the address does not speak Matrix
     │    │    └── HomeserverTimeout         one request was not answered in time
     │    ├── HomeserverRefused              a Matrix error: a retry alone does not help
     │    │    └── HomeserverRateLimited     M_LIMIT_EXCEEDED, with the time to wait
     │    └── RoomLinkBroken                 a city room and its Matrix room do not match; a Matrix admin must repair it
     ├── DatabaseError                       a statement failed
     │    ├── DatabaseUnavailable            the database does not answer, or accepts no writes: a retry helps
     │    │    └── TransactionRolledBack     the database rolled the transaction back for the sake of another one
     │    └── ConstraintViolated             a unique, foreign key or check constraint refused a row
     ├── EncryptionError                     a key, message or file was refused: see encryption/errors.py
     ├── TaskFailedRepeatedly                a background task fails again and again: the process ends
     └── StartError                          the service cannot start; has a reason, an advice and an exit code

An error states what happened, whether a retry helps, and what its reader can do.
"""

from __future__ import annotations

from enum import IntEnum


class DaarionError(Exception):
    """Base class of every exception that this software raises on purpose."""


# --- refused requests ---------------------------------------------------------------------------------


class CityError(DaarionError):
    """A request that cannot be fulfilled; it changed nothing.

    Attributes:
        code: a stable identifier for programs.
        detail: a sentence for people.
        status: the HTTP status of the response.
    """

    status = 400

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class InvalidInput(CityError):
    """The request is malformed or has invalid values; ``status`` is 400 or the more specific 411, 413, 415 or 422."""

    def __init__(self, code: str, detail: str, *, status: int = 400) -> None:
        super().__init__(code, detail)
        self.status = status


class Unauthenticated(CityError):
    """The request has no valid credentials."""

    status = 401


class Forbidden(CityError):
    """The principal is known and lacks the permission."""

    status = 403


class NotFound(CityError):
    """The requested resource does not exist."""

    status = 404


class Conflict(CityError):
    """The resource exists already, or its state forbids the change."""

    status = 409


class TooManyRequests(CityError):
    """A rate limit is exceeded; the same request may succeed after ``retry_after_s`` seconds."""

    status = 429

    def __init__(self, detail: str, *, retry_after_s: float) -> None:
        super().__init__("too_many_requests", detail)
        self.retry_after_s = retry_after_s


class Unavailable(CityError):
    """A dependency does not answer; the same request may succeed after ``retry_after_s`` seconds (None: unknown)."""

    status = 503

    def __init__(self, code: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after_s = retry_after_s


# --- the homeserver -----------------------------------------------------------------------------------


class HomeserverError(DaarionError):
    """A request to the homeserver failed."""


class HomeserverUnavailable(HomeserverError):
    """The homeserver did not respond, or a gateway responded in its place; the same request may succeed later."""


class HomeserverUnreachable(HomeserverUnavailable):
    """The server at the address does not speak Matrix: a wrong address, or a maintenance page."""


class HomeserverTimeout(HomeserverUnavailable):
    """One request was not answered in time; the next request may well succeed."""


class HomeserverRefused(HomeserverError):
    """The homeserver responded with a Matrix error.

    Attributes:
        status: the HTTP status.
        errcode: the Matrix error code (``M_FORBIDDEN``).
        message: the field ``error`` of the response.
    """

    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message


class HomeserverRateLimited(HomeserverRefused):
    """The homeserver limits the rate; the same request may succeed after ``retry_after_ms`` milliseconds."""

    def __init__(self, errcode: str, message: str, *, retry_after_ms: int) -> None:
        super().__init__(429, errcode, message)
        self.retry_after_ms = retry_after_ms


class InvalidHomeserverResponse(HomeserverRefused):
    """A 2xx response of the homeserver whose JSON does not have the shape in the Matrix specification; handled as a 502."""

    def __init__(self, message: str) -> None:
        super().__init__(502, "M_UNKNOWN", message)


class RoomLinkBroken(HomeserverError):
    """A city room and its Matrix room do not match. The text names the reason and what a Matrix admin can do."""


# --- agents core -------------------------------------------------------------------------------


class CoreError(Unavailable):
    """An agent's reply failed or is incomplete. ``detail`` may be shown to the person who asked."""


class CoreNotConfigured(CoreError):
    """The city has no agents core."""

    def __init__(self) -> None:
        super().__init__("no_core", "agents cannot reply: no agents core is configured (agents_core.url)")


class CoreBusy(CoreError):
    """The limit of concurrent requests to the agents core is reached."""

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(
            "core_busy",
            "too many requests to the agents core are running; try again in a moment",
            retry_after_s=retry_after_s,
        )


class CircuitOpen(CoreError):
    """The circuit breaker is open: the agents core failed repeatedly and gets no requests for a while."""

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(
            "core_circuit_open",
            "the agents core failed repeatedly and gets no requests for 30 seconds; try again after that",
            retry_after_s=retry_after_s,
        )


class CoreFailed(CoreError):
    """The response of the agents core is unusable or ended early.

    Attributes:
        is_core_fault: True if other requests would fail as well; False if the failure concerns this request or agent.
    """

    status = 502

    def __init__(self, detail: str, *, is_core_fault: bool = True) -> None:
        super().__init__("core_failed", detail)
        self.is_core_fault = is_core_fault


class CoreTimeout(CoreError):
    """The agents core did not respond in time."""

    status = 504

    def __init__(self, detail: str) -> None:
        super().__init__("core_timeout", detail)


# --- the database -------------------------------------------------------------------------------------


class DatabaseError(DaarionError):
    """A statement failed. The message is the driver's; ``__cause__`` is the exception of SQLAlchemy or the driver."""


class DatabaseUnavailable(DatabaseError):
    """The database does not answer, or accepts no writes; the same statement may succeed later."""


class TransactionRolledBack(DatabaseUnavailable):
    """The database rolled a transaction back, as it and a concurrent one waited for each other; it may succeed at once."""


class ConstraintViolated(DatabaseError):
    """A unique, foreign key or check constraint refused a row."""


# --- running ------------------------------------------------------------------------------------------


class TaskFailedRepeatedly(DaarionError):
    """A background task failed so often that restarting it does not help.

    Attributes:
        task: the name of the task.
        cause: the last exception that it raised.
    """

    help = "A traceback is in the log. The supervisor of the process (systemd, Docker) should start it again."

    def __init__(self, task: str, cause: BaseException) -> None:
        super().__init__(f"The background task {task} failed again and again: {type(cause).__name__}: {cause}")
        self.task = task
        self.cause = cause


# --- starting -----------------------------------------------------------------------------------------


class ExitCode(IntEnum):
    """The exit codes of the process.

    The docstring of a member states its meaning and, in a second paragraph, what the administrator does;
    docs/reference/exit-codes.md is generated from them.
    """

    OK = 0
    """The command or the service ended as requested.

    Nothing."""
    FAILED = 1
    """A command could not do what was asked and printed the reason, or its question was not answered with yes; or the service
    ended because of an internal error, whose traceback is in the log.

    Read the message. A restart helps after an internal error."""
    USAGE = 2
    """The command line is wrong.

    `daarion-appservice --help`."""
    CONFIG = 3
    """`config.yaml` or the file of `--env-file` is missing or has errors; each is printed with its line. Or the keys in the
    database have another `encryption.pickle_key`.

    Correct them; `daarion-appservice config check`."""
    DATABASE = 4
    """The database cannot be reached or written to, belongs to Synapse or another program, has an encoding other than UTF-8, was
    written by a newer version, or (SQLite) is in use by another service.

    Do what the message says. A restart helps if the database was only slow to start."""
    PORT = 5
    """A port to listen on is in use, or the process may not bind it.

    End the process that uses the port, or change `api.port` or `matrix.port`."""
    HOMESERVER_AWAY = 6
    """`room adopt` and `room backfill`: the homeserver cannot be reached. `run` waits for it instead.

    Start Synapse, or correct `homeserver.address`; then try again."""
    HOMESERVER_REFUSED = 7
    """The homeserver refuses the application service: the server at `homeserver.address` is not Synapse, or token, id, bot or
    domain do not match, or the homeserver cannot reach `appservice.address`.

    Do what the message says. Give Synapse the right registration and restart it, then restart the service."""
    REGISTRATION = 8
    """`run`: `as_token` or `hs_token` is not set. `registration generate` and `registration check`: the registration file is
    missing, differs from the configuration, or cannot be written. `run` does not read that file.

    `daarion-appservice registration generate` or `registration check`."""
    REDIS = 9
    """Redis refuses the connection, is too old, or is a cluster although `redis.cluster` is off, or the other way round.

    Correct the section `redis`. A Redis that does not answer does not prevent the start."""


class StartError(DaarionError):
    """The service cannot start.

    Attributes:
        what: the reason.
        help: what the administrator can do.
        exit_code: the exit code of the process, for its supervisor.
    """

    def __init__(self, what: str, help: str, exit_code: ExitCode) -> None:  # noqa: A002
        super().__init__(what)
        self.what = what
        self.help = help
        self.exit_code = exit_code
