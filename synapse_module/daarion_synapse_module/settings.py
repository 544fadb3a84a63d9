"""Settings of the module, from ``config:`` in homeserver.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from synapse.module_api.errors import ConfigError

_RANGES: Final = {"timeout_s": (5, 3600), "max_users": (1, 10_000)}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, with their defaults."""

    timeout_s: int = 60
    """Seconds without a request after which the users of an application service are set offline."""
    max_users: int = 1000
    """The largest number of users in one request."""

    @classmethod
    def parse(cls, config: dict[str, Any]) -> Settings:
        """Return the settings. Raises ConfigError for an unknown key or a value outside its range."""
        known = [field.name for field in fields(cls)]
        for key, value in config.items():
            if key not in known:
                raise ConfigError(f"'{key}' is not a setting; use {' and '.join(known)}")
            minimum, maximum = _RANGES[key]
            if type(value) is not int or not minimum <= value <= maximum:
                raise ConfigError(f"'{key}' must be a whole number from {minimum} to {maximum}")
        return cls(**config)
