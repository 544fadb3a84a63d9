"""The root model of config.yaml: the one typed source of its keys, comments, example and checks.

Every key has a description, which ``render`` writes as the key's comment. ``loading`` reads the file and the
environment; ``values`` validates single values, ``validation`` finds conflicts between them.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationError, model_validator

from .http_sections import ApiSettings, JwtSettings, LimitsSettings, MediaSettings, SignInSettings, WebSettings
from .section import Section
from .sections import (
    AgentsCoreSettings,
    AgentSeed,
    AppserviceSettings,
    CitySettings,
    DatabaseSettings,
    HomeserverSettings,
    LoggingSettings,
    MatrixListenerSettings,
    PresenceSettings,
    RedisSettings,
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


class Settings(Section):
    """The whole configuration file."""

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
