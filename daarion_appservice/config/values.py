"""Types of setting values, with validators whose errors are readable sentences."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from limits import parse_many
from pydantic import AfterValidator, Field, SecretStr

from ..city.display_name_template import template_error
from ..city.identity import SERVER_NAME_PATTERN, is_user_id
from ..city.slugs import RESERVED, SLUG_PATTERN
from .pickle_key import decode_pickle_key

ValuePath = tuple[str | int, ...]
"""Keys and indexes from the top of ``config.yaml`` to a value: ``("city", "rooms", 0, "slug")``."""

MIN_JWT_SECRET: Final = 32
"""Minimum length in characters: a key as long as the hash (RFC 7518 §3.2)."""


def _matching(pattern: str, sentence: str) -> Callable[[str], str]:
    """Return a validator by regular expression whose error is a sentence instead of the expression."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.match(value) or value.endswith("\n"):
            raise ValueError(sentence)
        return value

    return check


def _http_url(value: str) -> str:
    if _parts(value).query:
        raise ValueError("must be a plain URL: no query, no fragment, no user name")
    return value.rstrip("/")


def _parts(value: str) -> SplitResult:
    """Split an HTTP URL. Raise ValueError if it is malformed, or has a fragment or a user name."""
    if not re.match(r"https?://[^/?#\s]+[^\s]*$", value):
        raise ValueError("must be a URL that starts with http:// or https://")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises if the port is invalid
    except ValueError:
        raise ValueError("must be a URL whose host and port are well-formed") from None
    if parts.fragment or parts.username is not None:
        raise ValueError("must be a plain URL: no query, no fragment, no user name")
    return parts


def _core_url(value: str) -> str:
    """Check the URL of an agents core; it may have a query, as on Azure."""
    if not value:
        return ""
    parts = _parts(value)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/")))


_OWN_HEADERS: Final = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "user-agent",
}


def _header_name(value: str) -> str:
    if value.lower() in _OWN_HEADERS:
        raise ValueError("must be another header: this one says something else in each request")
    return _matching(r"^[A-Za-z0-9-]{1,64}$", "must be the name of an HTTP header, like api-key")(value)


def _http_url_or_nothing(value: str) -> str:
    return _http_url(value) if value else ""


def _origin(value: str) -> str:
    origin = _http_url(value)
    if urlsplit(origin).path:
        raise ValueError("must be an origin: https:// and a host, perhaps a port, and no path")
    return origin


_FRAME_ANCESTOR: Final = re.compile(
    r"(https?|vector)://(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:(\*|(?P<port>[0-9]{1,5})))?/?", re.IGNORECASE
)
"""A ``host-source`` of a Content-Security-Policy without a path (CSP Level 3, section 2.3.1)."""
_EVERY_SITE: Final = re.compile(r"\*|[a-z]+:(//)?|[a-z]+://\*(:.*)?/?", re.IGNORECASE)


def _frame_ancestor(value: str) -> str:
    """Check a source of ``frame-ancestors``: an origin, whose port may be ``*`` and whose host may begin with ``*.``.

    Element Desktop has the origin ``vector://vector``. IPv6 addresses cannot be sources.
    """
    if _EVERY_SITE.fullmatch(value):
        raise ValueError("must not allow every site: any of them could embed the pages for clickjacking")
    source = _FRAME_ANCESTOR.fullmatch(value)
    if source is None:
        raise ValueError("must be an origin like https://app.element.io, https://*.example.org or http://localhost:*")
    if source["port"] is not None and not 1 <= int(source["port"]) <= 65535:
        raise ValueError("must have a port from 1 to 65535, or * for any port")
    return value.rstrip("/")


def _server_name(value: str) -> str:
    if "//" in value:
        raise ValueError("must be a server name like example.org, not a URL")
    sentence = "must be a server name like example.org, as server_name in homeserver.yaml"
    return _matching(SERVER_NAME_PATTERN, sentence)(value)


def _jwt_secret(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value()) < MIN_JWT_SECRET:
        raise ValueError(f"needs at least {MIN_JWT_SECRET} characters, for example from `openssl rand -hex 32`")
    return value


def _room_slug(value: str) -> str:
    if value in RESERVED:
        raise ValueError(f"is reserved: /city/{value} is another page of the city")
    return value


_PLACEHOLDER: Final = re.compile(
    r"<.*>|\[.*\]|\$\{.*\}|\$[A-Z_]+|\{\{.*\}\}|x{3,}|\*{3,}|\.{3,}|…+"
    r"|(change|replace|fill|insert|put|set|enter)[-_ ]?(me|this|it|in|here|your)\b.*"
    r"|((your|my|some)[-_ ]|(the|a)[-_]).*(token|secret|key|password).*"
    r"|(secret|token|password|todo|tbd|example|placeholder|changeme|none|null)",
    re.IGNORECASE | re.DOTALL,
)
"""Placeholders that documentation and templates contain instead of a secret, and shell variables that were not
expanded.
"""


def _secret(value: SecretStr) -> SecretStr:
    if _PLACEHOLDER.fullmatch(value.get_secret_value().strip()):
        raise ValueError("is a placeholder: write the real value, for example from `openssl rand -hex 32`")
    return value


def _pickle_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if _PLACEHOLDER.fullmatch(text.strip()):
        raise ValueError("is a placeholder: write 32 random bytes in base64, as `openssl rand -base64 32` makes them")
    if text:
        decode_pickle_key(text)
    return value


def _public_key(value: str) -> str:
    if not value:
        return value
    if "PUBLIC KEY-----" not in value:
        # Reject a private key: every reader of this file could then sign tokens for any user.
        raise ValueError("must be a public key in PEM, beginning with -----BEGIN PUBLIC KEY-----")
    # Imported here because the import takes longer than all other checks, and few configurations have a key.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(value.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is damaged: its PEM text cannot be read; copy the whole file, with all lines") from None
    usable = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
    if not isinstance(key, usable):
        raise ValueError("must be a key for RS256, ES256 or EdDSA")  # noqa: TRY004 -- pydantic wants a ValueError
    return value


def _database_url(value: str) -> str:
    scheme = value.partition("://")[0].partition("+")[0]
    if "://" not in value or scheme not in {"sqlite", "postgresql"}:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if scheme == "sqlite" and not value.partition("://")[2].partition("?")[0].strip("/"):
        # SQLite would store everything in memory and lose it when the process ends.
        raise ValueError("names no file: write sqlite:///daarion.db")
    if scheme == "sqlite" and not value.partition("://")[2].startswith("/"):
        raise ValueError(
            "needs three slashes before the file: sqlite:///daarion.db, or sqlite:////var/lib/daarion/daarion.db"
        )
    if scheme == "postgresql":
        authority = value.partition("://")[2].partition("?")[0]
        if authority.count("@") > 1:
            # Everything after the first @ would count as the host, and be printed in errors.
            raise ValueError("has more than one @: percent-encode those in user and password as %40")
        if authority in {"user:password@host/name", "user:password@localhost/name"}:
            raise ValueError("is the example: write user, password, host and name of your database")
    return value


_REDIS_PARAMETERS: Final = {"client_name", "db", "health_check_interval", "password", "protocol", "username"}
_REDIS_TLS: Final = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
}


def _redis_url(value: str) -> str:
    if not value:
        return value
    if not re.match(r"(redis|rediss|unix)://.", value):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises if the port is invalid
    except ValueError:
        # The error must not show the text behind the colon, which may be part of a password.
        raise ValueError("has no proper host and port: percent-encode special characters of the password") from None
    if parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError("has special characters in the password: percent-encode them (@ is %40, # is %23, / is %2F)")
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]+", parts.path):
        raise ValueError("may only have the number of a database behind the host, like redis://localhost:6379/0")
    known = _REDIS_PARAMETERS | (_REDIS_TLS if parts.scheme == "rediss" else set())
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in _REDIS_TLS - known:
            raise ValueError(f"has {name}, which is for TLS: it must begin with rediss://")
        if name not in known:
            raise ValueError(f"has a parameter that is not supported; supported are {', '.join(sorted(known))}")
        if name in {"db", "health_check_interval", "protocol"} and not re.fullmatch(r"[0-9]{1,6}", text):
            raise ValueError(f"has a {name} that is not a number")
    return value


def _agent_display_name(value: str) -> str:
    if error := template_error(value):
        raise ValueError(error)
    return value


def _matrix_user(value: str) -> str:
    if not is_user_id(value):
        raise ValueError("must be a Matrix user id like @name:example.org")
    return value


def _avatar(value: str) -> str:
    if value.startswith("mxc://") and not re.fullmatch(r"mxc://[^/\s]+/[^/\s]+", value):
        raise ValueError("must be mxc://<server>/<media id>, or the name of a file")
    if re.match("https?://", value):
        raise ValueError("must be an mxc:// address or the name of a file; pictures are not fetched from the web")
    return value


def _mxc(value: str) -> str:
    if value and not value.startswith("mxc://"):
        raise ValueError("must be an mxc:// address: names of files are for the service's own machine")
    return _avatar(value)


def _rate_limit(value: str) -> str:
    if not value.strip():
        return ""
    try:
        found = parse_many(value)
    except ValueError:
        found = []
    if len(found) != 1 or found[0].amount < 1:
        raise ValueError("must be like 10/second, 240/minute or 10/hour; empty for no limit")
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("must be an address like 192.0.2.1, or a network like 10.0.0.0/8") from None
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
OptionalHttpUrl = Annotated[str, AfterValidator(_http_url_or_nothing)]
CoreUrl = Annotated[str, AfterValidator(_core_url)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Origin = Annotated[str, AfterValidator(_origin)]
FrameAncestor = Annotated[str, AfterValidator(_frame_ancestor)]
HostName = Annotated[
    str, AfterValidator(_matching(r"^[A-Za-z0-9._-]{1,255}$", "must be a host like city.lan: no scheme, no port"))
]
ServerName = Annotated[str, AfterValidator(_server_name)]
Port = Annotated[int, Field(ge=1, le=65535)]
Slug = Annotated[
    str,
    AfterValidator(
        _matching(SLUG_PATTERN, "must be 1 to 64 of a-z, 0-9, - and _, and begin with a letter or a digit"),
    ),
]
RoomSlug = Annotated[Slug, AfterValidator(_room_slug)]
ServiceId = Annotated[
    str, AfterValidator(_matching(r"^[A-Za-z0-9_.-]{1,64}$", "must be 1 to 64 of A-Z, a-z, 0-9, _, . and -"))
]
# "/" and "=" are allowed in localparts, but Synapse refuses a sender_localpart that needs escaping in a URL.
Localpart = Annotated[str, AfterValidator(_matching(r"^[a-z0-9._-]{1,64}$", "must be 1 to 64 of a-z, 0-9, ., _ and -"))]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
JwtSecret = Annotated[Secret, AfterValidator(_jwt_secret)]
PickleKeyText = Annotated[SecretStr, AfterValidator(_pickle_key)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
PushContact = Annotated[
    str,
    AfterValidator(
        _matching(
            r"^(mailto:[^@\s]+@[^@\s]+|https://[^\s/]+\S*)?$",
            "must be like mailto:admin@example.org or https://example.org, or empty",
        )
    ),
]
AgentDisplayName = Annotated[str, Field(max_length=200), AfterValidator(_agent_display_name)]
MatrixUser = Annotated[str, AfterValidator(_matrix_user)]
Avatar = Annotated[str, AfterValidator(_avatar)]
Mxc = Annotated[str, AfterValidator(_mxc)]
Color = Annotated[str, AfterValidator(_matching(r"^(#[0-9A-Fa-f]{6})?$", "must be like #3b82f6, or empty for none"))]
PlaceId = Annotated[
    str,
    AfterValidator(_matching(r"^[^\s/][^/\x00-\x1f\x7f]{0,254}$", "must be 1 to 255 characters, and none of them /")),
]
RateLimit = Annotated[str, AfterValidator(_rate_limit)]
MediaType = Annotated[
    str,
    AfterValidator(
        _matching(
            r"^(\*/\*|[a-z]+/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*))$",
            "must be a media type in lower case, like image/png, image/* or */*",
        )
    ),
]
Network = Annotated[str, AfterValidator(_network)]


def is_loopback(host: str) -> bool:
    """Return whether a listener that is bound to ``host`` is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
