"""Pydantic models of the sections of ``config.yaml`` for the HTTP API, sign-in, pages, rate limits and media."""

from __future__ import annotations

from pydantic import Field, SecretStr

from .section import Section
from .values import HostName, JwtSecret, MediaType, Network, OptionalHttpUrl, Origin, Port, PublicKey, RateLimit, Secret


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
