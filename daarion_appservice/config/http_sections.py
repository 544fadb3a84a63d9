"""Pydantic models of the sections of ``config.yaml`` for the HTTP API, sign-in, pages, rate limits and media."""

from __future__ import annotations

from pydantic import Field, SecretStr

from .section_model import Section
from .values import (
    FrameAncestor,
    HostName,
    JwtSecret,
    MediaType,
    Network,
    OptionalHttpUrl,
    Origin,
    Port,
    PublicKey,
    RateLimit,
    Secret,
)


class JwtSettings(Section):
    secret: JwtSecret = Field(
        SecretStr(""), description="Shared secret for HS256 tokens (at least 32 characters); empty: not accepted."
    )
    public_key: PublicKey = Field("", description="PEM public key for RS256, ES256 or EdDSA tokens; empty: none.")
    jwks_url: OptionalHttpUrl = Field("", description="URL of a JWKS with such keys; empty: none.")
    issuer: str = Field("", description="Required value of the claim iss; empty: any.")
    audience: str = Field("", description="Required value in the claim aud; empty: any.")
    admin_claim: str = Field(
        "role=admin",
        description="The claim that makes a citizen an admin: name=value, or the name of a claim that is true; "
        "empty: tokens "
        "make no admins. An admin may delete all messages, create, rename and archive rooms, add and remove "
        "agents and places, "
        "create and revoke agents' tokens, and has no rate limits. Use a claim that the sign-in issues to admins only.",
    )
    leeway_s: float = Field(
        60.0,
        ge=0,
        le=600,
        description="Tolerated difference between the clocks of the token issuer and this service, in seconds "
        "(for exp, nbf, iat).",
    )


class ApiSettings(Section):
    host: str = Field(
        "127.0.0.1", description="Address that the city listener binds to; browsers and agents connect to it."
    )
    port: Port = Field(7001, description="Port of the city listener.")
    anonymous_read: bool = Field(
        True, description="Whether public rooms, presence and agents are readable without a token."
    )
    public_url: OptionalHttpUrl = Field(
        "",
        description="Public URL of the city, like https://city.example; requests for its host are accepted. "
        "Empty: requests "
        "are accepted for IP addresses and names without a public domain only (localhost, city).",
    )
    allowed_hosts: list[HostName] = Field(
        [], description="Further hosts for which both listeners accept requests, like city.lan, without ports."
    )
    allowed_origins: list[Origin] = Field(
        [], description="Origins of web pages that may call the API (CORS), like https://city.example."
    )
    trusted_proxies: list[Network] = Field(
        ["127.0.0.0/8", "::1/128"],
        description="Addresses or networks of reverse proxies, whose X-Forwarded-For names the client for rate limits.",
    )
    jwt: JwtSettings = Field(JwtSettings(), description="Verification of citizens' JWTs.")
    admin_token: Secret = Field(
        SecretStr(""), description="Token with the permissions of an admin; empty: only JWTs make admins."
    )
    service_token: Secret = Field(
        SecretStr(""),
        description="Token of trusted services on this listener; empty: matrix.internal_token.",
    )


class SignInSettings(Section):
    url: OptionalHttpUrl = Field(
        "",
        description="URL of the city's sign-in page. The pages redirect there with ?return_to=, and it "
        "redirects back to that "
        "address with the citizen's JWT as #token=; empty: none.",
    )
    name: bool = Field(
        False,
        description="Whether a name alone, without authentication, signs a citizen in; for demos only.",
    )
    matrix: bool = Field(
        False,
        description="Whether users of the homeserver may sign in with their Matrix account (OpenID, in a widget).",
    )
    require_nonce: bool = Field(
        True,
        description="Whether a sign-in with a Matrix account, and a link of one, needs a nonce of POST "
        "/city/sign-in/nonce. Turn it off for clients that send none.",
    )
    token_lifetime_s: float = Field(
        43_200.0, ge=60, le=31_622_400, description="Lifetime of the tokens that name and matrix issue, in seconds."
    )


class WebSettings(Section):
    enabled: bool = Field(True, description="Whether the city listener serves the web pages beside the API.")
    frame_ancestors: list[FrameAncestor] = Field(
        [],
        description="Origins of Matrix clients that may embed the pages as a widget, like https://app.element.io; "
        "with wildcards http://localhost:* (any port) and https://*.example.org (any subdomain); "
        "vector://vector is Element Desktop.",
    )
    embed_ancestors: list[FrameAncestor] = Field(
        [],
        description="Origins of sites that may embed the chat of a room (/embed/<room>, /widget.js), like https://example.org, "
        "with the same wildcards; empty: no site. These sites cannot embed the other pages.",
    )
    client_url: OptionalHttpUrl = Field(
        "https://app.element.io",
        description="URL of the Matrix client for the pages' links to rooms and users; empty: matrix.to.",
    )
    homeserver_url: OptionalHttpUrl = Field(
        "",
        description="URL of the homeserver for users' Matrix clients, which the pages display; empty: not displayed.",
    )
    away_after_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="Seconds of inactivity on the pages after which a citizen is away.",
    )


class LimitsSettings(Section):
    reads: RateLimit = Field(
        "3000/minute",
        description="Read requests of one citizen or agent; without a valid token, of one address.",
    )
    searches: RateLimit = Field(
        "60/minute",
        description="Searches in messages of one citizen or agent; without a valid token, of one address.",
    )
    wrong_tokens: RateLimit = Field(
        "60/minute",
        description="Different invalid tokens from one address; beyond that its tokens are refused unchecked.",
    )
    messages: RateLimit = Field(
        "240/minute", description="Messages of one citizen or agent, by HTTP and WebSocket together."
    )
    changes: RateLimit = Field(
        "240/minute", description="Edits, deletions, reactions and other changes of one citizen or agent."
    )
    sign_ins: RateLimit = Field(
        "60/hour",
        description="Sign-ins with a name or a Matrix account (sign_in) and links of Matrix accounts from one address, failed "
        "ones included.",
    )
    previews: RateLimit = Field(
        "120/minute", description="Previews of links, and their pictures, of one citizen or agent."
    )
    uploads: RateLimit = Field("60/hour", description="Uploaded files of one citizen or agent.")
    rooms: RateLimit = Field("30/hour", description="Requests of one citizen to create a room.")
    typing: RateLimit = Field(
        "300/minute", description="Typing notifications and read receipts of one citizen or agent."
    )
    heartbeats: RateLimit = Field(
        "20/second", description="Heartbeats of one citizen or agent over HTTP, of all its sessions together."
    )
    socket_events: RateLimit = Field(
        "20/second", description="Events on one WebSocket, heartbeats included; the number is also the allowed burst."
    )
    sockets_per_subject: int = Field(
        64,
        ge=0,
        description="Maximum number of open WebSockets and event streams of one citizen or agent; 0: no limit.",
    )
    sockets_per_address: int = Field(
        500,
        ge=0,
        description="Maximum number of open WebSockets and event streams of one address, without those of "
        "agents; 0: no limit.",
    )
    connections: int = Field(
        0,
        ge=0,
        description="Maximum number of TCP connections of the city listener; 0: derived from the limit of open "
        "files (LimitNOFILE).",
    )
    connections_per_address: int = Field(
        1000,
        ge=0,
        description="Maximum number of TCP connections of one address, except trusted proxies and this machine; "
        "0: no limit.",
    )
    responses_per_address: int = Field(
        200,
        ge=0,
        description="Maximum number of requests of one address whose responses are not yet completely read; 0: "
        "no limit.",
    )
    unread_bytes_per_address: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="Maximum number of buffered bytes that one address has not read; 0: no limit.",
    )
    unread_bytes: int = Field(
        256 * 1024 * 1024,
        ge=0,
        description="Maximum number of buffered bytes that all addresses together have not read, on each "
        "listener; 0: no limit.",
    )
    request_bytes_per_address: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="Maximum number of buffered bytes of requests, incomplete ones included, and WebSocket "
        "messages of one address; 0: no limit.",
    )
    request_bytes: int = Field(
        256 * 1024 * 1024,
        ge=0,
        description="Maximum number of such bytes of all addresses together, on each listener; 0: no limit.",
    )


class MediaSettings(Section):
    max_upload_bytes: int = Field(
        50 * 1024 * 1024,
        ge=1,
        le=1 << 40,
        description="Maximum size of an uploaded file in bytes, at most Synapse's max_upload_size.",
    )
    max_download_bytes: int = Field(
        100 * 1024 * 1024,
        ge=1,
        le=1 << 40,
        description="Maximum size in bytes of a file that is served from Synapse.",
    )
    allowed_types: list[MediaType] = Field(
        ["*/*"], description="Media types of files that citizens and agents may upload, like image/png, image/* or */*."
    )
    url_previews: bool = Field(
        False,
        description="Whether citizens and agents get previews of links in messages. The homeserver then requests the linked "
        "pages itself, on behalf of everybody who sees a link; it needs url_preview_enabled and "
        "url_preview_ip_range_blacklist in homeserver.yaml.",
    )
    transfers: int = Field(16, ge=1, le=1000, description="Maximum number of concurrent file transfers; others wait.")
    timeout_s: float = Field(
        600.0, gt=0, le=86_400, description="Timeout of one file transfer in seconds; a stalled one ends earlier."
    )
