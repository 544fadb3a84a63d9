"""What can be configured: the one typed source of config.yaml, its comments, its example and its checks.

Every key has a description; ``config_file`` writes it as the key's comment. Reading and writing the file, and secrets from
the environment, live there too; here are only the settings themselves and what makes them wrong.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Slugs of agents and rooms: what a Matrix localpart or alias may hold, minus what looks odd in a URL."""

SERVER_NAME_PATTERN = r"^[A-Za-z0-9.\-\[\]:]{1,230}$"


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that starts with http:// or https://")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must be a plain URL: no query, no fragment, no user name")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
Slug = Annotated[str, Field(pattern=SLUG_PATTERN)]


class Section(BaseModel):
    """A part of the file. Unknown keys are mistakes, so that a typing error is never a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class HomeserverSettings(Section):
    address: HttpUrl = Field("http://localhost:8008", description="Where this service reaches Synapse's client API.")
    domain: str = Field(
        "example.org",
        pattern=SERVER_NAME_PATTERN,
        description="Synapse's server_name: what stands behind the colon in user ids.",
    )
    verify_tls: bool = Field(True, description="Whether Synapse's certificate must be valid (when address is https).")


class AppserviceSettings(Section):
    id: str = Field(
        "daarion",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="The application service's id: any name, unique on this homeserver.",
    )
    address: HttpUrl = Field(
        "http://localhost:7025",
        description="Where Synapse reaches this service (the matrix listener, seen from Synapse).",
    )
    bot: str = Field(
        "city",
        pattern=r"^[a-z0-9._=/+-]{1,64}$",
        description="Localpart of the bot that creates and owns the city's rooms.",
    )
    as_token: SecretStr = Field(
        SecretStr(""), description="What we prove ourselves to Synapse with; `registration generate` makes it."
    )
    hs_token: SecretStr = Field(
        SecretStr(""), description="What Synapse proves itself to us with; `registration generate` makes it."
    )
    registration: Path = Field(
        Path("registration.yaml"), description="The registration file that Synapse is given, relative to this file."
    )


class MatrixListenerSettings(Section):
    host: str = Field("127.0.0.1", description="Address that the matrix listener binds to (for Synapse and services).")
    port: Port = Field(7025, description="Its port.")
    internal_token: SecretStr = Field(
        SecretStr(""),
        description="What trusted services prove themselves with on /internal; may be empty only while host is loopback.",
    )


class JwtSettings(Section):
    secret: SecretStr = Field(
        SecretStr(""), description="Shared secret for HS256 tokens (at least 32 characters); empty: not accepted."
    )
    public_key: str = Field("", description="PEM public key for RS256, ES256 or EdDSA tokens; empty: none.")
    jwks_url: str = Field("", description="URL of a JWKS with such keys; empty: none.")
    issuer: str = Field("", description="If set, `iss` must be this.")
    audience: str = Field("", description="If set, `aud` must hold this.")
    admin_claim: str = Field(
        "role=admin",
        description="The claim that makes a citizen an admin: name=value, or the name of a claim that is true.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        secret = self.secret.get_secret_value()
        if secret and len(secret) < 32:
            raise ValueError(
                "secret: needs at least 32 characters (RFC 7518 §3.2), for example from `openssl rand -hex 32`"
            )
        if self.jwks_url:
            _http_url(self.jwks_url)
        return self


class ApiSettings(Section):
    host: str = Field("127.0.0.1", description="Address that the city listener binds to (for browsers and agents).")
    port: Port = Field(7001, description="Its port.")
    public_url: str = Field(
        "", description="Where the world sees the city listener, if behind a proxy; empty: host and port."
    )
    anonymous_read: bool = Field(True, description="Whether rooms, presence and agents may be read without signing in.")
    allowed_origins: list[str] = Field(
        [], description="Origins of web pages that may call the API, like https://city.example."
    )
    jwt: JwtSettings = Field(JwtSettings(), description="How citizens prove who they are.")
    admin_token: SecretStr = Field(
        SecretStr(""), description="A token that may manage agents, rooms and tokens; empty: only admins by JWT."
    )


class DatabaseSettings(Section):
    url: str = Field(
        "sqlite:///daarion.db",
        description="sqlite:///file (relative to this file) or postgresql://user:password@host/name.",
    )
    pool_size: int = Field(8, ge=1, le=100, description="Connections kept open to PostgreSQL.")


class PresenceSettings(Section):
    heartbeat_s: float = Field(20.0, gt=0, le=600, description="How often heartbeats are due, in seconds.")
    ttl_s: float = Field(40.0, gt=0, le=1200, description="How long somebody stays online after their last heartbeat.")
    refresh_s: float = Field(
        25.0,
        gt=0,
        le=600,
        description="At most this long between two presence refreshes of a ghost; Synapse forgets after 30 s.",
    )
    requests_in_flight: int = Field(4, ge=1, le=64, description="Presence requests to Synapse at the same time.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ttl_s <= self.heartbeat_s:
            raise ValueError("ttl_s: must be longer than heartbeat_s, or everybody flaps")
        return self


class RoomSeed(Section):
    slug: Slug = Field(description="Its Matrix alias becomes #city_<slug>.")
    name: str = Field(min_length=1, max_length=255, description="What people see.")
    description: str = Field("", max_length=2000, description="The room's topic.")


def default_rooms() -> list[RoomSeed]:
    """The rooms that every city starts with."""
    return [
        RoomSeed(slug="general", name="General", description="Головна кімната міста"),
        RoomSeed(slug="welcome", name="Welcome", description="Перші кроки в місті"),
        RoomSeed(slug="builders", name="Builders", description="Хто будує місто"),
    ]


class CitySettings(Section):
    name: str = Field(
        "DAARION", min_length=1, max_length=255, description="The city's name: what its Matrix space is called."
    )
    rooms: list[RoomSeed] = Field(default_factory=default_rooms, description="Rooms that are there from the start.")
    room_version: str = Field(
        "", description="Matrix room version for new rooms, like 10 or 12; empty: Synapse's default."
    )
    federate: bool = Field(
        True, description="Whether new rooms may be joined from other homeservers; can never be changed later."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        slugs = [room.slug for room in self.rooms]
        if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            raise ValueError(f"rooms: more than one room has the slug {', '.join(twice)}")
        return self


class AgentSeed(Section):
    slug: Slug = Field(description="Its ghost is @agent_<slug>.")
    display_name: str = Field(min_length=1, max_length=255, description="What people see.")
    title: str = Field("", max_length=255, description="What it does, in a few words.")
    avatar: str = Field("", description="Picture: an mxc:// address, or a file relative to this one; uploaded once.")
    node_id: str = Field("", max_length=255, description="The node that it lives on.")
    microdao: str = Field("", max_length=255, description="The microDAO that it belongs to.")
    role: str = Field(
        "", max_length=255, description="Its role there: guardian, steward, orchestrator or a word of your own."
    )
    rooms: list[Slug] = Field(["general"], description="Slugs of the rooms that it is in.")


class LoggingSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error.")
    format: Literal["console", "json"] = Field("console", description="console for people, json for machines.")


class Settings(Section):
    """The whole file."""

    homeserver: HomeserverSettings = Field(HomeserverSettings(), description="The Synapse that the city belongs to.")
    appservice: AppserviceSettings = Field(
        AppserviceSettings(), description="How Synapse and this service know each other."
    )
    matrix: MatrixListenerSettings = Field(
        MatrixListenerSettings(),
        description="The matrix listener: Synapse and trusted services. Never put it on the internet.",
    )
    api: ApiSettings = Field(ApiSettings(), description="The city listener: browsers, agents, the city's frontend.")
    database: DatabaseSettings = Field(DatabaseSettings(), description="Where everything is kept.")
    presence: PresenceSettings = Field(PresenceSettings(), description="Who is here.")
    city: CitySettings = Field(CitySettings(), description="The city itself.")
    agents: list[AgentSeed] = Field([], description="Agents of the city; more can be added with `agent add`.")
    logging: LoggingSettings = Field(LoggingSettings(), description="What is written to standard error.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        slugs = [agent.slug for agent in self.agents]
        if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            raise ValueError(f"agents: more than one agent has the slug {', '.join(twice)}")
        if not is_loopback(self.matrix.host) and not self.matrix.internal_token.get_secret_value():
            raise ValueError(
                f"matrix.internal_token: must be set because matrix.host is {self.matrix.host}, not loopback: "
                "without it everybody who reaches that port could speak for the city"
            )
        return self

    @property
    def space_alias(self) -> str:
        return f"#city:{self.homeserver.domain}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener that is bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
