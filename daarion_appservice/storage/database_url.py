"""Parses ``database.url`` into a driver and its connect options, and explains failed connections.

``database.url`` is written for libpq or SQLAlchemy. asyncpg accepts neither libpq's names for TLS nor its timeout, so
they are translated here. Nothing here prints a password, not even one that was pasted without percent-encoding.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from ..errors import DatabaseError, ExitCode, StartError

_EXAMPLES: Final = "sqlite:///daarion.db or postgresql://user:password@host/name"
_TLS_FILES: Final = ("sslrootcert", "sslcert", "sslkey")
_VERIFYING_MODES: Final = ("verify-ca", "verify-full")
_SESSION_ATTRIBUTES: Final = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
_LAST_PORT: Final = 65_535
_TLS_MODES: Final = ("disable", "allow", "prefer", "require", *_VERIFYING_MODES)


def driver_url(url: str) -> URL:
    """Parse ``database.url`` and name the asyncio driver for it, whichever driver the URL names.

    Raises:
        StartError: the database is not supported, or the URL cannot be parsed.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except Exception as error:
        raise StartError(
            "database.url is not a database address",
            f"Write {_EXAMPLES}; percent-encode special characters of the password (@ is %40, / is %2F).",
            ExitCode.CONFIG,
        ) from error
    match backend:
        case "sqlite":
            _check_sqlite(parsed)
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
    raise StartError(
        f"database.url names {backend}, which is not supported",
        f"Use {_EXAMPLES}.",
        ExitCode.CONFIG,
    )


def _check_sqlite(url: URL) -> None:
    if url.query.get("uri"):
        return  # a `file:` URI, whose parameters are SQLite's own
    for name in url.query:
        if name != "timeout":
            raise StartError(
                f"database.url has the parameter {name!r}, which is not supported for SQLite",
                "Remove it. Supported is timeout, in seconds.",
                ExitCode.CONFIG,
            )


def postgres_options(url: URL) -> tuple[URL, dict[str, Any]]:
    """Split libpq's query parameters off a PostgreSQL URL.

    ``host`` and ``port`` stay in the URL, since SQLAlchemy reads them (Unix sockets, several hosts).

    Returns:
        The URL without the parameters, and asyncpg's connect arguments.

    Raises:
        StartError: a parameter has no counterpart; asyncpg would raise a TypeError at each connection.
    """
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    kept = {name: url.query[name] for name in ("host", "port") if query.pop(name, None) is not None}
    options: dict[str, Any] = {}
    tls: dict[str, str] = {name: query.pop(name) for name in ("sslmode", "ssl", *_TLS_FILES) if name in query}
    if tls:
        options["ssl"] = _tls(tls)
    for name, value in query.items():
        if name not in _PARAMETERS:
            raise StartError(
                f"database.url has the parameter {name!r}, which is not supported",
                f"Remove it. Supported are {', '.join(sorted([*_PARAMETERS, 'host', 'port', 'sslmode', *_TLS_FILES]))}.",
                ExitCode.CONFIG,
            )
        argument, convert = _PARAMETERS[name]
        try:
            converted = convert(value)
        except ValueError as error:
            raise StartError(f"database.url has a {name} that cannot be used", f"{error}.", ExitCode.CONFIG) from None
        if isinstance(converted, Mapping):
            options.setdefault(argument, {}).update(converted)
        else:
            options[argument] = converted
    _check_hosts(url.set(query=kept))
    return url.set(query=kept), options


def _check_hosts(url: URL) -> None:
    """Raise StartError for hosts and ports that SQLAlchemy or the system's sockets do not accept."""
    advice = "Each host needs a port from 1 to 65535: postgresql://user:password@host:5432/name, or ?host=a:5432&host=b:5432."
    try:
        _, arguments = url.get_dialect()().create_connect_args(url)
    except ArgumentError as error:
        raise StartError(
            f"database.url has hosts or ports that cannot be used: {error}", advice, ExitCode.CONFIG
        ) from None
    ports = arguments.get("port") or []
    for port in ports if isinstance(ports, list) else [ports]:
        if not 0 < int(port) <= _LAST_PORT:
            raise StartError(f"database.url has a port that does not exist: {port}", advice, ExitCode.CONFIG)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ValueError("Write seconds, more than 0, like connect_timeout=10")
    return seconds


def _session_attribute(text: str) -> str:
    if text not in _SESSION_ATTRIBUTES:
        raise ValueError(f"Use one of {', '.join(_SESSION_ATTRIBUTES)}")
    return text


_PARAMETERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "application_name": ("server_settings", lambda value: {"application_name": value}),
    "command_timeout": ("command_timeout", _seconds),
    "connect_timeout": ("timeout", _seconds),
    "password": ("password", str),
    "target_session_attrs": ("target_session_attrs", _session_attribute),
    "user": ("user", str),
}
"""libpq's parameters, with asyncpg's argument and the conversion of the value."""


def _tls(tls: Mapping[str, str]) -> str | ssl.SSLContext:
    mode = tls.get("sslmode") or tls.get("ssl") or "verify-full"
    if mode not in _TLS_MODES:
        raise StartError(
            f"database.url has an sslmode that does not exist: {mode!r}",
            f"Use one of {', '.join(_TLS_MODES)}.",
            ExitCode.CONFIG,
        )
    if not any(name in tls for name in _TLS_FILES):
        return mode
    try:
        context = ssl.create_default_context(cafile=tls.get("sslrootcert"))
        if "sslcert" in tls:
            context.load_cert_chain(tls["sslcert"], tls.get("sslkey"))
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(tls[name] for name in _TLS_FILES if name in tls)
        raise StartError(
            f"A TLS file of database.url cannot be used: {error.strerror or error}",
            f"Check that these are PEM files that this user may read: {names}.",
            ExitCode.CONFIG,
        ) from error
    context.check_hostname = mode == "verify-full"
    if mode not in _VERIFYING_MODES:
        context.verify_mode = ssl.CERT_NONE
    return context


def check(url: str) -> None:
    """Raise StartError for a ``database.url`` with invalid parameters, without connecting."""
    parsed = driver_url(url)
    if parsed.get_backend_name() != "sqlite":
        postgres_options(parsed)


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None for PostgreSQL and for a database in memory."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":memory:", "file:")):
        return None
    return Path(url.database)


# --- advice for failures --------------------------------------------------------------------------------

_BY_SQLSTATE: Final = {
    "28P01": "PostgreSQL does not accept user and password of database.url.",
    "28000": "pg_hba.conf does not let this user in from here: add a line for it, or correct the user in database.url.",
    "3D000": "There is no such database. As PostgreSQL's superuser: createdb -E UTF8 -T template0 -O {user} {name}",
    "42501": "The database belongs to another role. As PostgreSQL's superuser: ALTER DATABASE {name} OWNER TO {user}; in the "
    "database itself also: ALTER SCHEMA public OWNER TO {user}; tables that another role made need ALTER TABLE … OWNER.",
    "3F000": "The user may use no schema of this database. As PostgreSQL's superuser, in the database itself: "
    "ALTER SCHEMA public OWNER TO {user}",
    "25006": "This PostgreSQL takes no writes: it is a standby, or default_transaction_read_only is on. Use the primary.",
    "42P07": "Another program keeps its tables in this database. Give the city a database of its own.",
    "53300": "All connections of PostgreSQL are taken: raise max_connections, or end what holds them "
    "(SELECT * FROM pg_stat_activity).",
    "53100": "PostgreSQL's disk is full: make room on it.",
    "57P03": "PostgreSQL is starting up or shutting down: try again in a moment.",
}
"""Advice by SQLSTATE code (PostgreSQL, appendix A). ``{user}`` and ``{name}`` come from the URL."""

_BY_TLS_MESSAGE: Final = (
    (
        "rejected SSL upgrade",
        "This PostgreSQL has no TLS: enable it there (ssl = on), or set sslmode=prefer or sslmode=disable in database.url.",
    ),
    (
        "root certificate file",
        "Name the certificate of the authority that signed PostgreSQL's: sslrootcert=/path/to/ca.pem in database.url.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "PostgreSQL's certificate must be signed by the authority in sslrootcert, and for sslmode=verify-full name the host.",
    ),
)
"""Advice for errors of the TLS handshake, which have no SQLSTATE."""

_NOT_THERE: Final = "Check that PostgreSQL runs there, and that host, port and database name in database.url are right."

_BY_SQLITE_MESSAGE: Final = (
    ("disk is full", "The disk is full: make room on it."),
    ("readonly", "This user may not write to the file, or its file system is mounted read-only."),
    ("not a database", "The file is no SQLite database: name another in database.url, or move it away."),
    ("malformed", "The file is damaged: restore the last backup."),
    ("locked", "Another program holds the file open: end it."),
)


def cannot_use(url: URL, error: DatabaseError) -> StartError:
    """Return the StartError for a failed database connection or statement, with the cause and the remedy."""
    return StartError(
        f"The database {described_url(url)} cannot be used: {error}", _advice(url, error), ExitCode.DATABASE
    )


def described_url(url: URL) -> str:
    """Return a URL for the log, without password."""
    # The query may contain a password.
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def _advice(url: URL, error: DatabaseError) -> str:
    reason = str(error)
    if url.get_backend_name() == "sqlite":
        file = sqlite_path(url)
        if file is not None and file.is_dir():
            return "database.url names a directory: add the name of a file in it, which is made at the start."
        advice = (text for part, text in _BY_SQLITE_MESSAGE if part in reason)
        return next(advice, "Check that its directory exists and that this user may write to it.")
    code = getattr(getattr(error.__cause__, "orig", error.__cause__), "sqlstate", None)
    if code in _BY_SQLSTATE:
        return _BY_SQLSTATE[code].format(user=url.username or "USER", name=url.database or "NAME")
    advice = (text for part, text in _BY_TLS_MESSAGE if part in reason)
    return next(advice, _NOT_THERE)
