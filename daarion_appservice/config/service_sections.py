"""Pydantic models of the sections of ``config.yaml`` for the homeserver, storage, presence, the city and its agents."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from .section_model import Section
from .values import (
    AgentDisplayName,
    Avatar,
    Color,
    CoreUrl,
    DatabaseUrl,
    HeaderName,
    HttpUrl,
    Localpart,
    MatrixUser,
    Port,
    RedisUrl,
    RoomSlug,
    Secret,
    ServerName,
    ServiceId,
    Slug,
)


class HomeserverSettings(Section):
    address: HttpUrl = Field(
        "http://localhost:8008", description="URL of Synapse's client API, as this service reaches it."
    )
    domain: ServerName = Field(
        "example.org", description="Synapse's server_name: the part of user ids after the colon."
    )
    verify_tls: bool = Field(True, description="Whether to verify Synapse's TLS certificate, if address is https.")
    sweep_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="Seconds between two sweeps for events that Synapse did not deliver.",
    )


class AppserviceSettings(Section):
    id: ServiceId = Field("daarion", description="Id of the application service, unique on the homeserver.")
    address: HttpUrl = Field(
        "http://localhost:7025",
        description="URL of the matrix listener, as Synapse reaches it.",
    )
    bot: Localpart = Field("city", description="Localpart of the bot that creates and owns the city's rooms.")
    as_token: Secret = Field(
        SecretStr(""),
        description="Token with which this service authenticates to Synapse; `registration generate` generates it.",
    )
    hs_token: Secret = Field(
        SecretStr(""),
        description="Token with which Synapse authenticates to this service; `registration generate` generates it.",
    )
    registration: Path = Field(
        Path("registration.yaml"), description="Path of the registration file for Synapse, relative to this file."
    )


class MatrixListenerSettings(Section):
    host: str = Field(
        "127.0.0.1",
        description="Address that the matrix listener binds to; Synapse and trusted services connect to it.",
    )
    port: Port = Field(7025, description="Port of the matrix listener.")
    internal_token: Secret = Field(
        SecretStr(""),
        description="Token of trusted services for /internal; may be empty only if host is a loopback address.",
    )


class DatabaseSettings(Section):
    url: DatabaseUrl = Field(
        "sqlite:///daarion.db",
        repr=False,  # it may contain a password
        description="URL of the database: sqlite:///file (relative to this file) or "
        "postgresql://user:password@host/name.",
    )
    pool_size: int = Field(8, ge=1, le=100, description="Idle connections to PostgreSQL that stay open.")


class RedisSettings(Section):
    url: RedisUrl = Field(
        "",
        repr=False,  # it may contain a password
        description="URL of a Redis 7 or Valkey (redis://, rediss:// or unix://), needed for several processes; "
        "empty: one process.",
    )
    cluster: bool = Field(False, description="Whether the URL is that of a Redis cluster.")


class PresenceSettings(Section):
    heartbeat_s: float = Field(20.0, gt=0, le=600, description="Interval of heartbeats, in seconds.")
    ttl_s: float = Field(
        40.0, gt=0, le=1200, description="Seconds for which a session stays online after its last heartbeat."
    )
    refresh_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="Seconds between two presence refreshes of a ghost; 0: derived from Synapse's presence "
        "timeout, which is measured.",
    )
    requests_per_s: float = Field(
        300.0,
        ge=1,
        le=10_000,
        description="Maximum number of presence requests to Synapse per second; reduced while Synapse is slow.",
    )
    requests_in_flight: int = Field(
        4, ge=1, le=64, description="Maximum number of concurrent presence requests to Synapse."
    )
    synapse_module: Literal["auto", "off"] = Field(
        "auto",
        description="auto: set the presence of many ghosts in one request if Synapse has "
        "daarion_synapse_module; off: never.",
    )


class RoomSeed(Section):
    slug: RoomSlug = Field(description="Slug of the room; its Matrix alias is #city_<slug>.")
    name: str = Field(min_length=1, max_length=255, description="Name of the room.")
    description: str = Field("", max_length=2000, description="Topic of the room.")


def default_rooms() -> list[RoomSeed]:
    """Return the rooms of a new city."""
    return [
        RoomSeed(slug="general", name="General", description="Головна кімната міста"),
        RoomSeed(slug="welcome", name="Welcome", description="Перші кроки в місті"),
        RoomSeed(slug="builders", name="Builders", description="Хто будує місто"),
    ]


class CitySettings(Section):
    name: str = Field("DAARION", min_length=1, max_length=255, description="Name of the city and of its Matrix space.")
    rooms: list[RoomSeed] = Field(
        default_factory=default_rooms,
        description="Rooms that the first start creates; later changes of this list do not rename them.",
    )
    room_version: str = Field(
        "",
        coerce_numbers_to_str=True,  # written without quotes, 12 is a number
        description="Matrix room version of new rooms, like 10 or 12; empty: Synapse's default.",
    )
    federate: bool = Field(
        True, description="Whether users of other homeservers may join new rooms; fixed when a room is created."
    )
    admins: list[MatrixUser] = Field(
        [],
        description="Matrix user ids, like @olena:example.org, that get power level 100 in the city's rooms and space, "
        "and an invitation to the space.",
    )
    agent_display_name: AgentDisplayName = Field(
        "{name}",
        description="Display name of agents on Matrix, with the fields {name} and {title}; an agent without the title "
        "that it shows has its name.",
    )
    second_me: Slug = Field("second_me", description="Id at the agents core of the agent that answers as Second Me.")


class AgentsCoreSettings(Section):
    url: CoreUrl = Field(
        "",
        description="URL of the agents core that generates replies; with openai the base URL as for OpenAI's "
        "clients, like "
        "https://api.openai.com/v1; empty: agents do not reply. Redirects are not followed.",
    )
    kind: Literal["invoke", "openai"] = Field(
        "invoke",
        description="invoke: POST <url>/agents/<id>/invoke; openai: POST <url>/chat/completions, and /v1 before "
        "that if "
        "the URL has no path.",
    )
    token: Secret = Field(
        SecretStr(""),
        description="Token with which this service authenticates to the agents core; empty: none is sent.",
    )
    token_header: HeaderName = Field(
        "Authorization",
        description="HTTP header with the token: Authorization carries it as a Bearer token, others carry it "
        "unchanged (Azure: api-key).",
    )
    model: str = Field("", max_length=255, description="Name of the model, with openai; empty: the agent's id.")
    thinking: Literal["hide", "hide_until_end_tag", "show"] = Field(
        "hide",
        description="Whether <think>…</think> in replies is shown. hide_until_end_tag also hides text before a "
        "</think> without start tag, "
        "for models whose prompt contains the start tag.",
    )
    max_image_bytes: int = Field(
        0,
        ge=0,
        le=20 * 1024 * 1024,
        description="Maximum size in bytes of an image that is sent with a request as a data: URL; larger ones "
        "are sent as thumbnails; 0: none, "
        "because models without vision refuse such requests.",
    )
    timeout_s: float = Field(60.0, gt=0, le=3600, description="Timeout of a complete reply, in seconds.")
    first_chunk_timeout_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Timeout until a streamed reply begins, in seconds; 0: timeout_s.",
    )
    parallel: int = Field(32, ge=1, le=10_000, description="Maximum number of concurrent requests to the agents core.")
    parallel_per_agent: int = Field(
        4, ge=1, le=10_000, description="Maximum number of concurrent requests for one agent."
    )


class AgentSeed(Section):
    slug: Slug = Field(description="Slug of the agent; its Matrix user is @agent_<slug>.")
    display_name: str = Field(min_length=1, max_length=255, description="Display name.")
    title: str = Field("", max_length=255, description="What the agent does, in a few words.")
    avatar: Avatar = Field(
        "", description="Avatar: an mxc:// URI, or an image file relative to this one, which is uploaded once."
    )
    node_id: str = Field("", max_length=255, description="Id of its node.")
    node_role: str = Field(
        "",
        max_length=255,
        description="Role on its node: guardian, steward or free text; empty: role.",
    )
    microdao: str = Field("", max_length=255, description="Slug of its microDAO.")
    microdao_role: str = Field(
        "",
        max_length=255,
        description="Role in its microDAO: orchestrator or free text; empty: role.",
    )
    role: str = Field(
        "",
        max_length=255,
        description="Role: guardian and steward apply to its node, orchestrator to its microDAO.",
    )
    district: str = Field("", max_length=255, description="Id of its district; empty: that of its node or microDAO.")
    kind: str = Field("", max_length=255, description="Kind of agent: assistant, infra or free text.")
    color: Color = Field("", description="Color on the city's pages, as #rrggbb.")
    rooms: list[Slug] = Field(["general"], description="Slugs of the rooms that the agent joins.")


class LoggingSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of logged events: debug, info, warning or error."
    )
    format: Literal["console", "json"] = Field(
        "console", description="Format of the log: console (text) or json (one object per line)."
    )
