"""Pydantic models of the sections of ``config.yaml`` for the homeserver, storage, presence, the city and its agents."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from .section import Section
from .values import (
    Avatar,
    Color,
    CoreUrl,
    DatabaseUrl,
    HeaderName,
    HttpUrl,
    Localpart,
    Port,
    RedisUrl,
    RoomSlug,
    Secret,
    ServerName,
    ServiceId,
    Slug,
)


class HomeserverSettings(Section):
    address: HttpUrl = Field("http://localhost:8008", description="Where this service reaches Synapse's client API.")
    domain: ServerName = Field(
        "example.org", description="Synapse's server_name: what stands behind the colon in user ids."
    )
    verify_tls: bool = Field(True, description="Whether Synapse's certificate must be valid (when address is https).")
    sweep_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="Seconds between two looks whether Synapse has events that it did not deliver.",
    )


class AppserviceSettings(Section):
    id: ServiceId = Field("daarion", description="The application service's id: any name, unique on this homeserver.")
    address: HttpUrl = Field(
        "http://localhost:7025",
        description="Where Synapse reaches this service (the matrix listener, seen from Synapse).",
    )
    bot: Localpart = Field("city", description="Localpart of the bot that creates and owns the city's rooms.")
    as_token: Secret = Field(
        SecretStr(""), description="What we prove ourselves to Synapse with; `registration generate` makes it."
    )
    hs_token: Secret = Field(
        SecretStr(""), description="What Synapse proves itself to us with; `registration generate` makes it."
    )
    registration: Path = Field(
        Path("registration.yaml"), description="The registration file that Synapse is given, relative to this file."
    )


class MatrixListenerSettings(Section):
    host: str = Field("127.0.0.1", description="Address that the matrix listener binds to (for Synapse and services).")
    port: Port = Field(7025, description="Its port.")
    internal_token: Secret = Field(
        SecretStr(""),
        description="What trusted services prove themselves with on /internal; may be empty only on loopback.",
    )


class DatabaseSettings(Section):
    url: DatabaseUrl = Field(
        "sqlite:///daarion.db",
        repr=False,  # it may contain a password
        description="sqlite:///file (relative to this file) or postgresql://user:password@host/name.",
    )
    pool_size: int = Field(8, ge=1, le=100, description="Connections kept open to PostgreSQL.")


class RedisSettings(Section):
    url: RedisUrl = Field(
        "",
        repr=False,  # it may contain a password
        description="redis://, rediss:// or unix:// of a Redis 7 or a Valkey, for a city of several processes; empty: none.",
    )
    cluster: bool = Field(False, description="Whether it is a cluster.")


class PresenceSettings(Section):
    heartbeat_s: float = Field(20.0, gt=0, le=600, description="How often heartbeats are due, in seconds.")
    ttl_s: float = Field(40.0, gt=0, le=1200, description="How long somebody stays online after their last heartbeat.")
    refresh_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="Seconds between two presence refreshes of a ghost; 0: as rarely as Synapse bears, which is measured.",
    )
    requests_per_s: float = Field(
        300.0,
        ge=1,
        le=10_000,
        description="Presence requests to Synapse in a second at most; fewer when it slows down.",
    )
    requests_in_flight: int = Field(4, ge=1, le=64, description="Presence requests to Synapse at the same time.")
    synapse_module: Literal["auto", "off"] = Field(
        "auto", description="auto: tell Synapse of many ghosts in one request if it has our module; off: never."
    )


class RoomSeed(Section):
    slug: RoomSlug = Field(description="Its Matrix alias becomes #city_<slug>.")
    name: str = Field(min_length=1, max_length=255, description="What people see.")
    description: str = Field("", max_length=2000, description="The room's topic.")


def default_rooms() -> list[RoomSeed]:
    """Return the rooms of a new city."""
    return [
        RoomSeed(slug="general", name="General", description="Головна кімната міста"),
        RoomSeed(slug="welcome", name="Welcome", description="Перші кроки в місті"),
        RoomSeed(slug="builders", name="Builders", description="Хто будує місто"),
    ]


class CitySettings(Section):
    name: str = Field(
        "DAARION", min_length=1, max_length=255, description="The city's name: what its Matrix space is called."
    )
    rooms: list[RoomSeed] = Field(
        default_factory=default_rooms,
        description="Rooms that are there from the start; later changes here do not rename them.",
    )
    room_version: str = Field(
        "",
        coerce_numbers_to_str=True,  # written without quotes, 12 is a number
        description="Matrix room version for new rooms, like 10 or 12; empty: Synapse's default.",
    )
    federate: bool = Field(
        True, description="Whether new rooms may be joined from other homeservers; can never be changed later."
    )
    second_me: Slug = Field(
        "second_me", description="The agent that is everybody's second me, as the agents core knows it."
    )


class AgentsCoreSettings(Section):
    url: CoreUrl = Field(
        "",
        description="Where agents' answers come from, with openai the base URL as for OpenAI's own clients, like "
        "https://api.openai.com/v1; empty: no agent answers. It is asked at no other address.",
    )
    kind: Literal["invoke", "openai"] = Field(
        "invoke",
        description="invoke: POST <url>/agents/<id>/invoke; openai: POST <url>/chat/completions, and /v1 before that if "
        "the URL has no path.",
    )
    token: Secret = Field(SecretStr(""), description="What we prove ourselves to it with; empty: nothing is sent.")
    token_header: HeaderName = Field(
        "Authorization",
        description="The header that carries the token: Authorization as a Bearer token, others as it is (Azure: api-key).",
    )
    model: str = Field("", max_length=255, description="The model to ask for, with openai; empty: the agent's id.")
    thinking: Literal["hide", "hide_until_end_tag", "show"] = Field(
        "hide",
        description="What becomes of <think>…</think> in answers. hide_until_end_tag: also of what comes before a </think> "
        "that nothing opened, because the prompt did; the answer is shown from there on.",
    )
    max_image_bytes: int = Field(
        0,
        ge=0,
        le=20 * 1024 * 1024,
        description="The largest image that is sent with a question as a data: URL, larger ones as a thumbnail; 0: none, "
        "because models that cannot see refuse such questions.",
    )
    timeout_s: float = Field(60.0, gt=0, le=3600, description="How long an answer may take as a whole, in seconds.")
    first_piece_timeout_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="How long until it begins, in seconds; 0: as long as it may take. For a core that streams.",
    )
    parallel: int = Field(32, ge=1, le=10_000, description="How many answers may be under way at the same time.")
    parallel_per_agent: int = Field(4, ge=1, le=10_000, description="How many of them of one agent.")


class AgentSeed(Section):
    slug: Slug = Field(description="Its ghost is @agent_<slug>.")
    display_name: str = Field(min_length=1, max_length=255, description="What people see.")
    title: str = Field("", max_length=255, description="What it does, in a few words.")
    avatar: Avatar = Field("", description="Picture: an mxc:// address, or a file relative to this one; uploaded once.")
    node_id: str = Field("", max_length=255, description="The node that it lives on.")
    node_role: str = Field(
        "",
        max_length=255,
        description="What it is on its node: guardian, steward or a word of your own; empty: its role.",
    )
    microdao: str = Field("", max_length=255, description="The microDAO that it belongs to.")
    microdao_role: str = Field(
        "",
        max_length=255,
        description="What it is in its microDAO: orchestrator or a word of your own; empty: its role.",
    )
    role: str = Field(
        "",
        max_length=255,
        description="One word for both: guardian and steward are roles on a node, orchestrator is one in a microDAO.",
    )
    district: str = Field(
        "", max_length=255, description="The district that it lives in; empty: its node's, or its microDAO's."
    )
    kind: str = Field(
        "", max_length=255, description="What sort of agent it is: assistant, infra or a word of your own."
    )
    color: Color = Field("", description="Its color in the city's pages, like #3b82f6.")
    rooms: list[Slug] = Field(["general"], description="Slugs of the rooms that it is in.")


class LoggingSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error.")
    format: Literal["console", "json"] = Field("console", description="console for people, json for machines.")
