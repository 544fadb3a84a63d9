"""What stands under ``config:`` in homeserver.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from synapse.module_api.errors import ConfigError

_LIMITS: Final = {"timeout_s": (5, 3600), "max_users": (1, 10_000)}


@dataclass(frozen=True, slots=True)
class Settings:
    timeout_s: int = 60
    """An application service that has made no request for so long is taken for dead, and its ghosts go offline."""
    max_users: int = 1000
    """In one request."""

    @classmethod
    def parse(cls, config: dict[str, Any]) -> Settings:
        """Raises ConfigError, in words for the admin."""
        known = [field.name for field in fields(cls)]
        for key, value in config.items():
            if key not in known:
                raise ConfigError(f"'{key}' is not known here; there are {' and '.join(known)}")
            least, most = _LIMITS[key]
            if type(value) is not int or not least <= value <= most:
                raise ConfigError(f"'{key}' must be a whole number from {least} to {most}")
        return cls(**config)
