"""The root model of config.yaml: the one typed source of its keys, comments, example and checks.

Every key has a description, which ``render`` writes as the key's comment. ``loading`` reads the file and the
environment; ``values`` validates single values, ``validation`` finds conflicts between them.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationError, model_validator

from .http_sections import ApiSettings, JwtSettings, LimitsSettings, MediaSettings, SignInSettings, WebSettings
from .section_model import Section
from .service_sections import (
    AgentsCoreSettings,
    AgentSeed,
    AppserviceSettings,
    CitySettings,
    DatabaseSettings,
    EncryptionSettings,
    HomeserverSettings,
    LoggingSettings,
    MatrixListenerSettings,
    PresenceSettings,
    PushSettings,
    RedisSettings,
    RetentionSettings,
    RoomSeed,
    default_rooms,
)
from .validation import settings_conflicts
from .values import HttpUrl, Port, Slug, is_loopback

__all__ = [
    "AgentSeed",
    "AgentsCoreSettings",
    "ApiSettings",
    "AppserviceSettings",
    "CitySettings",
    "DatabaseSettings",
    "EncryptionSettings",
    "HomeserverSettings",
    "HttpUrl",
    "JwtSettings",
    "LimitsSettings",
    "LoggingSettings",
    "MatrixListenerSettings",
    "MediaSettings",
    "Port",
    "PresenceSettings",
    "PushSettings",
    "RedisSettings",
    "RetentionSettings",
    "RoomSeed",
    "Section",
    "Settings",
    "SignInSettings",
    "Slug",
    "WebSettings",
    "default_rooms",
    "is_loopback",
]


class Settings(Section):
    """The whole configuration file."""

    homeserver: HomeserverSettings = Field(HomeserverSettings(), description="The Synapse that the city belongs to.")
    appservice: AppserviceSettings = Field(
        AppserviceSettings(), description="The registration of this service in Synapse."
    )
    matrix: MatrixListenerSettings = Field(
        MatrixListenerSettings(),
        description="The matrix listener, for Synapse and trusted services. Do not expose it to the internet.",
    )
    api: ApiSettings = Field(
        ApiSettings(), description="The city listener, for browsers, agents and other clients of the city's API."
    )
    sign_in: SignInSettings = Field(
        SignInSettings(),
        description="How users of the city's pages get a token; other clients do not need it.",
    )
    web: WebSettings = Field(WebSettings(), description="The city's pages, on the city listener.")
    limits: LimitsSettings = Field(
        LimitsSettings(),
        description="Rate limits of the city listener, like 240/minute, 10 per hour or 100/5 seconds; empty: no "
        "limit. Services and admins are not limited, nor are requests without a token from this machine.",
    )
    media: MediaSettings = Field(MediaSettings(), description="Images and other files in rooms.")
    database: DatabaseSettings = Field(DatabaseSettings(), description="The database, SQLite or PostgreSQL.")
    redis: RedisSettings = Field(
        RedisSettings(),
        description="Redis, which several processes of one city share; they also share one PostgreSQL database.",
    )
    presence: PresenceSettings = Field(PresenceSettings(), description="Presence of agents and citizens.")
    encryption: EncryptionSettings = Field(EncryptionSettings(), description="End-to-end encrypted chats with agents.")
    push: PushSettings = Field(PushSettings(), description="Notifications of browsers without an open page (Web Push).")
    retention: RetentionSettings = Field(
        RetentionSettings(),
        description="How long the city keeps data. Synapse's own retention is separate: see docs/how-to/people-data.md.",
    )
    city: CitySettings = Field(CitySettings(), description="The city itself.")
    agents_core: AgentsCoreSettings = Field(
        AgentsCoreSettings(), description="The agents core, which generates the agents' replies."
    )
    agents: list[AgentSeed] = Field(
        [], description="Agents that are created or updated at each start; `agent add` adds others."
    )
    logging: LoggingSettings = Field(LoggingSettings(), description="The log, which is written to standard error.")

    @property
    def push_contact(self) -> str:
        """The contact for push services: ``push.contact`` or an address that the city has."""
        own = self.api.public_url if self.api.public_url.startswith("https:") else ""
        return self.push.contact or own or f"mailto:postmaster@{self.homeserver.domain}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if found := list(settings_conflicts(self)):
            raise ValidationError.from_exception_data(type(self).__name__, [each.details() for each in found])
        return self
