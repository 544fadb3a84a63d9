"""Conflicts between settings that are valid by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic_core import InitErrorDetails, PydanticCustomError

from ..city.identity import AGENT_PREFIX, CITIZEN_PREFIX, OBSERVER, Identities
from ..city.types import UserId
from .http_sections import ApiSettings, SignInSettings
from .service_sections import (
    AgentsCoreSettings,
    AgentSeed,
    AppserviceSettings,
    CitySettings,
    HomeserverSettings,
    MatrixListenerSettings,
    PresenceSettings,
)
from .values import ValuePath, is_loopback

CLAIMS = ("sub", "name", "iat", "exp", "iss", "aud")
"""Claims of the tokens that the city issues itself (``sign_in``)."""


class ComparedSections(Protocol):
    """The sections of `Settings` whose keys are compared with each other."""

    @property
    def homeserver(self) -> HomeserverSettings: ...
    @property
    def appservice(self) -> AppserviceSettings: ...
    @property
    def matrix(self) -> MatrixListenerSettings: ...
    @property
    def api(self) -> ApiSettings: ...
    @property
    def sign_in(self) -> SignInSettings: ...
    @property
    def presence(self) -> PresenceSettings: ...
    @property
    def city(self) -> CitySettings: ...
    @property
    def agents_core(self) -> AgentsCoreSettings: ...
    @property
    def agents(self) -> list[AgentSeed]: ...


class SettingsConflict(NamedTuple):
    """A conflict between settings that are valid by themselves.

    ``involves`` are the keys that the conflict was derived from; if one of them is invalid itself, the conflict is
    dropped.
    """

    place: ValuePath
    sentence: str
    involves: tuple[ValuePath, ...]

    def details(self) -> InitErrorDetails:
        context: dict[str, Any] = {"sentence": self.sentence, "involves": self.involves}
        return InitErrorDetails(
            type=PydanticCustomError("contradiction", "{sentence}", context), loc=self.place, input=None
        )


def settings_conflicts(settings: ComparedSections) -> Iterator[SettingsConflict]:
    """Yield all conflicts."""
    yield from _repeated_slugs(("city", "rooms"), [room.slug for room in settings.city.rooms])
    yield from _repeated_slugs(("agents",), [agent.slug for agent in settings.agents])
    yield from _flapping(settings.presence)
    yield from _open_internal(settings.matrix)
    yield from _same_port(settings)
    yield from _bot_is_a_ghost(settings.appservice)
    yield from _admins_of_the_city(settings)
    yield from _same_token(settings.appservice)
    yield from _unsigned(settings)
    yield from _admin_claim_in_each_token(settings)
    yield from _not_a_core(settings.agents_core)


def _repeated_slugs(place: ValuePath, slugs: list[str]) -> Iterator[SettingsConflict]:
    for index, slug in enumerate(slugs):
        if slug in slugs[:index]:
            yield SettingsConflict((*place, index, "slug"), f"{slug} is taken by an earlier one in this list", (place,))


def _flapping(presence: PresenceSettings) -> Iterator[SettingsConflict]:
    if presence.ttl_s <= presence.heartbeat_s:
        ttl, beat = ("presence", "ttl_s"), ("presence", "heartbeat_s")
        yield SettingsConflict(
            ttl,
            "must be longer than presence.heartbeat_s, or presence alternates between online and offline",
            (ttl, beat),
        )


def _open_internal(matrix: MatrixListenerSettings) -> Iterator[SettingsConflict]:
    if not is_loopback(matrix.host) and not matrix.internal_token.get_secret_value():
        token, host = ("matrix", "internal_token"), ("matrix", "host")
        sentence = (
            f"must be set because matrix.host is {matrix.host}, not loopback: "
            "without it anyone who can connect to that port could act for the city"
        )
        yield SettingsConflict(token, sentence, (token, host))


def _same_port(settings: ComparedSections) -> Iterator[SettingsConflict]:
    hosts = {settings.api.host, settings.matrix.host}
    if settings.api.port == settings.matrix.port and (len(hosts) == 1 or hosts & {"0.0.0.0", "::", ""}):  # noqa: S104
        keys = tuple((section, key) for section in ("api", "matrix") for key in ("host", "port"))
        yield SettingsConflict(("api", "port"), "must not be matrix.port: they are two listeners", keys)


def _bot_is_a_ghost(appservice: AppserviceSettings) -> Iterator[SettingsConflict]:
    bot = ("appservice", "bot")
    if appservice.bot == OBSERVER or appservice.bot.startswith((AGENT_PREFIX, CITIZEN_PREFIX)):
        names = f"{AGENT_PREFIX}…, {CITIZEN_PREFIX}… and {OBSERVER}"
        yield SettingsConflict(bot, f"must be another name: {names} are the city's ghosts", (bot,))


def _admins_of_the_city(settings: ComparedSections) -> Iterator[SettingsConflict]:
    bot, domain = ("appservice", "bot"), ("homeserver", "domain")
    identities = Identities(settings.homeserver.domain, settings.appservice.bot)
    for index, admin in enumerate(settings.city.admins):
        if not identities.is_person(UserId(admin)):
            sentence = f"{admin} must be a person's account: it is a user of this service"
            yield SettingsConflict(("city", "admins", index), sentence, (bot, domain))


def _same_token(appservice: AppserviceSettings) -> Iterator[SettingsConflict]:
    ours, theirs = ("appservice", "as_token"), ("appservice", "hs_token")
    if appservice.as_token == appservice.hs_token and appservice.hs_token.get_secret_value():
        yield SettingsConflict(
            theirs,
            "must differ from appservice.as_token: one authenticates the service, the other the homeserver",
            (ours, theirs),
        )


def _unsigned(settings: ComparedSections) -> Iterator[SettingsConflict]:
    if settings.api.jwt.secret.get_secret_value():
        return
    secret = ("api", "jwt", "secret")
    for place in _makes_tokens(settings.sign_in):
        sentence = "needs api.jwt.secret: with that the city signs the tokens that it makes (HS256)"
        yield SettingsConflict(place, sentence, (place, secret))


def _admin_claim_in_each_token(settings: ComparedSections) -> Iterator[SettingsConflict]:
    claim = settings.api.jwt.admin_claim.partition("=")[0]
    if claim not in CLAIMS:
        return
    for place in _makes_tokens(settings.sign_in):
        sentence = (
            f"must not be set with this api.jwt.admin_claim: each token has `{claim}`, and some users choose its value"
        )
        yield SettingsConflict(place, sentence, (place, ("api", "jwt", "admin_claim")))


_OTHER_APIS = ("/completions", "/responses", "/embeddings", "/messages", "/api/chat", "/api/generate")


def _not_a_core(core: AgentsCoreSettings) -> Iterator[SettingsConflict]:
    """Yield a conflict if the URL of the agents core belongs to an API of another dialect."""
    parts = urlsplit(core.url)
    url, kind = ("agents_core", "url"), ("agents_core", "kind")
    if core.kind == "invoke":
        if parts.query or parts.path.endswith(("/v1", "/chat/completions")):
            sentence = "is an address of an OpenAI-compatible server: set agents_core.kind to openai"
            yield SettingsConflict(url, sentence, (url, kind))
        return
    if parts.path.endswith(_OTHER_APIS) and not parts.path.endswith("/chat/completions"):
        sentence = (
            "must be the base URL of chat completions, like http://localhost:11434/v1: this URL belongs to another API"
        )
        yield SettingsConflict(url, sentence, (url, kind))
    elif "/openai/deployments/" in parts.path and "api-version=" not in parts.query:
        sentence = "needs a version for a deployment of Azure, like ?api-version=2024-10-21"
        yield SettingsConflict(url, sentence, (url, kind))


def _makes_tokens(sign_in: SignInSettings) -> Iterator[ValuePath]:
    """Yield the keys that make the city issue tokens itself."""
    return (("sign_in", name) for name in ("name", "matrix") if getattr(sign_in, name))
