"""What can be configured: the one typed source of config.yaml, its comments, its example and its checks.

Every key has a description; ``edit`` writes it as the key's comment. ``file`` reads the file, and secrets
from the environment; ``values`` says what single values must look like, ``contradictions`` which of them
do not go together. Here are only the settings themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from .validation import settings_conflicts
from .values import (
    AGENT_PREFIX,
    CITIZEN_PREFIX,
    OBSERVER,
    SLUG_PATTERN,
    Avatar,
    Color,
    CoreUrl,
    DatabaseUrl,
    HeaderName,
    HostName,
    HttpUrl,
    JwtSecret,
    Localpart,
    MediaType,
    Network,
    OptionalHttpUrl,
    Origin,
    Port,
    PublicKey,
    RateLimit,
    RedisUrl,
    RoomSlug,
    Secret,
    ServerName,
    ServiceId,
    Slug,
    is_loopback,
)

__all__ = [
    "AGENT_PREFIX",
    "CITIZEN_PREFIX",
    "OBSERVER",
    "SLUG_PATTERN",
    "AgentSeed",
    "AgentsCoreSettings",
    "ApiSettings",
    "AppserviceSettings",
    "CitySettings",
    "DatabaseSettings",
    "HomeserverSettings",
    "HttpUrl",
    "JwtSettings",
    "LimitsSettings",
    "LoggingSettings",
    "MatrixListenerSettings",
    "MediaSettings",
    "Port",
    "PresenceSettings",
    "RedisSettings",
    "RoomSeed",
    "Section",
    "Settings",
    "SignInSettings",
    "Slug",
    "WebSettings",
    "default_rooms",
    "is_loopback",
]


class Section(BaseModel):
    """A part of the file. Unknown keys are mistakes, so that a typing error is never a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


class JwtSettings(Section):
    secret: JwtSecret = Field(
        SecretStr(""), description="Shared secret for HS256 tokens (at least 32 characters); empty: not accepted."
    )
    public_key: PublicKey = Field("", description="PEM public key for RS256, ES256 or EdDSA tokens; empty: none.")
    jwks_url: OptionalHttpUrl = Field("", description="URL of a JWKS with such keys; empty: none.")
    issuer: str = Field("", description="If set, `iss` must be this.")
    audience: str = Field("", description="If set, `aud` must hold this.")
    admin_claim: str = Field(
        "role=admin",
        description="The claim that makes a citizen an admin: name=value, or the name of a claim that is true; empty: nobody "
        "is one by their token. An admin may delete anybody's messages, open, rename and archive rooms, add and remove agents "
        "and places, make and revoke agents' tokens, and is not limited. Use a claim that your sign-in gives to nobody else.",
    )
    leeway_s: float = Field(
        60.0,
        ge=0,
        le=600,
        description="How far the clocks of whoever makes the tokens may differ from this one's, in seconds (exp, nbf, iat).",
    )


class ApiSettings(Section):
    host: str = Field("127.0.0.1", description="Address that the city listener binds to (for browsers and agents).")
    port: Port = Field(7001, description="Its port.")
    anonymous_read: bool = Field(True, description="Whether rooms, presence and agents may be read without signing in.")
    public_url: OptionalHttpUrl = Field(
        "",
        description="Where people reach the city, like https://city.example: its host is one that may be asked for; empty: "
        "only addresses, and names that no page on the internet can have (localhost, city).",
    )
    allowed_hosts: list[HostName] = Field(
        [], description="Further hosts that may be asked for, like city.lan, on both listeners; without ports."
    )
    allowed_origins: list[Origin] = Field(
        [], description="Origins of web pages that may call the API, like https://city.example."
    )
    trusted_proxies: list[Network] = Field(
        ["127.0.0.0/8", "::1/128"],
        description="Reverse proxies, by address or network: whom they name in X-Forwarded-For is who is counted in limits.",
    )
    jwt: JwtSettings = Field(JwtSettings(), description="How citizens prove who they are.")
    admin_token: Secret = Field(
        SecretStr(""), description="A token for whoever manages the city; empty: only admins by JWT."
    )
    service_token: Secret = Field(
        SecretStr(""),
        description="What trusted services prove themselves with on this listener; empty: matrix.internal_token.",
    )


class SignInSettings(Section):
    url: OptionalHttpUrl = Field(
        "",
        description="The page of the city's own sign-in: the pages send people there with ?return_to=, and it sends them "
        "back to that address with #token= and their JWT; empty: none.",
    )
    name: bool = Field(
        False,
        description="Whether a name is enough to become a citizen, without any proof: for demos, not for a real city.",
    )
    matrix: bool = Field(
        False, description="Whether people with an account on the homeserver may come in with it (OpenID, in a widget)."
    )
    token_lifetime_s: float = Field(
        43_200.0, ge=60, le=31_622_400, description="How long the tokens count that are made for these two, in seconds."
    )


class WebSettings(Section):
    enabled: bool = Field(True, description="Whether the city listener serves the city's pages; off: the API alone.")
    frame_ancestors: list[Origin] = Field(
        [], description="Origins of Matrix clients that may show the pages as a widget, like https://app.element.io."
    )
    client_url: OptionalHttpUrl = Field(
        "https://app.element.io",
        description="The Matrix client that the pages' links open rooms and people in; empty: matrix.to, where each chooses.",
    )
    homeserver_url: OptionalHttpUrl = Field(
        "", description="Where people's Matrix clients reach the homeserver, for the pages to say; empty: not said."
    )
    away_after_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="How long somebody does nothing on the pages until they are away, in seconds.",
    )


class LimitsSettings(Section):
    reads: RateLimit = Field(
        "3000/minute",
        description="Requests that change nothing, of one citizen or agent; of one address, all that come without a good token.",
    )
    sign_ins: RateLimit = Field(
        "60/minute",
        description="Different wrong tokens from one address; beyond it no token from there is looked at for a while.",
    )
    messages: RateLimit = Field("240/minute", description="Messages of one citizen or agent, by whatever way.")
    changes: RateLimit = Field(
        "240/minute", description="Edits, deletions, reactions and whatever else one citizen or agent changes."
    )
    arrivals: RateLimit = Field(
        "60/hour",
        description="Sign-ins with a name or a Matrix account (sign_in) from one address, whether they succeed or not.",
    )
    uploads: RateLimit = Field("60/hour", description="Files of one citizen or agent.")
    rooms: RateLimit = Field("30/hour", description="Rooms that one citizen opens, or tries to.")
    typing: RateLimit = Field(
        "300/minute", description="How often one citizen or agent says that they are typing, or how far they have read."
    )
    heartbeats: RateLimit = Field(
        "20/second", description="Heartbeats of one citizen or agent over HTTP, of all pages or replicas."
    )
    socket_events: RateLimit = Field(
        "20/second", description="Events on one WebSocket, heartbeats among them; also how many may come at once."
    )
    sockets_per_subject: int = Field(
        64, ge=0, description="WebSockets and event streams that one citizen or agent has open; 0: no limit."
    )
    sockets_per_address: int = Field(
        500, ge=0, description="Those that one address has open, but for agents'; 0: no limit."
    )
    connections: int = Field(
        0,
        ge=0,
        description="TCP connections of the city listener; 0: as many as the limit of open files (LimitNOFILE) allows.",
    )
    connections_per_address: int = Field(
        1000, ge=0, description="Those of one address that is no trusted proxy and not this machine; 0: no limit."
    )
    answers_per_address: int = Field(
        200,
        ge=0,
        description="Requests of one address that are being answered or whose answer it has not taken yet; 0: no limit.",
    )
    unread_bytes_per_address: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="Bytes that wait for one address because it does not read them; 0: no limit.",
    )
    unread_bytes: int = Field(
        256 * 1024 * 1024, ge=0, description="Those that wait for all together, on each listener; 0: no limit."
    )
    request_bytes_per_address: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="Bytes of requests, also of half-sent ones, and of WebSocket messages held for one address; 0: no limit.",
    )
    request_bytes: int = Field(
        256 * 1024 * 1024, ge=0, description="Those held for all together, on each listener; 0: no limit."
    )


class MediaSettings(Section):
    max_upload_bytes: int = Field(
        50 * 1024 * 1024,
        ge=1,
        le=1 << 40,
        description="The largest file that citizens and agents may send; never more than Synapse's max_upload_size.",
    )
    max_download_bytes: int = Field(
        100 * 1024 * 1024,
        ge=1,
        le=1 << 40,
        description="The largest file that is passed on from Synapse: people on Matrix may send larger ones.",
    )
    allowed_types: list[MediaType] = Field(
        ["*/*"], description="Media types that citizens and agents may send, like image/png, image/* or */*."
    )
    transfers: int = Field(
        16, ge=1, le=1000, description="Files that are on their way at the same time; others wait for their turn."
    )
    timeout_s: float = Field(
        600.0, gt=0, le=86_400, description="How long one file may be on its way; one that stands still ends sooner."
    )


class DatabaseSettings(Section):
    url: DatabaseUrl = Field(
        "sqlite:///daarion.db",
        repr=False,  # it may hold a password
        description="sqlite:///file (relative to this file) or postgresql://user:password@host/name.",
    )
    pool_size: int = Field(8, ge=1, le=100, description="Connections kept open to PostgreSQL.")


class RedisSettings(Section):
    url: RedisUrl = Field(
        "",
        repr=False,  # it may hold a password
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
    sign_in: SignInSettings = Field(
        SignInSettings(),
        description="How people on the city's pages come by a token; nothing of it is needed elsewhere.",
    )
    web: WebSettings = Field(WebSettings(), description="The city's pages, on the city listener.")
    limits: LimitsSettings = Field(
        LimitsSettings(),
        description="How much one may ask of the city listener, like 240/minute, 10 per hour or 100/5 seconds; "
        "empty for no limit. Services and admins are not limited, nor is who shows no token and is on this machine.",
    )
    media: MediaSettings = Field(MediaSettings(), description="Pictures and other files in rooms.")
    database: DatabaseSettings = Field(DatabaseSettings(), description="Where everything is kept.")
    redis: RedisSettings = Field(
        RedisSettings(),
        description="What several processes of one city share; they also share a PostgreSQL.",
    )
    presence: PresenceSettings = Field(PresenceSettings(), description="Who is here.")
    city: CitySettings = Field(CitySettings(), description="The city itself.")
    agents_core: AgentsCoreSettings = Field(AgentsCoreSettings(), description="Who answers for the agents.")
    agents: list[AgentSeed] = Field(
        [], description="Agents of the city, described like this at each start; more can be added with `agent add`."
    )
    logging: LoggingSettings = Field(LoggingSettings(), description="What is written to standard error.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if found := list(settings_conflicts(self)):
            raise ValidationError.from_exception_data(type(self).__name__, [each.details() for each in found])
        return self
