"""The generated files: their paths and their content."""

from __future__ import annotations

from daarion_appservice.config import Settings
from daarion_appservice.wiring import build_city

from . import api, cli, configuration, exit_codes, log_events, metrics, personal_data, troubleshooting


async def generate() -> dict[str, str]:
    """Return the content of each generated file by its path in the repository."""
    city = build_city(settings())
    try:
        return {
            "config.example.yaml": configuration.example(),
            "registration.yaml.example": configuration.example_registration(),
            "docs/reference/api.md": api.page(city),
            "docs/reference/cli.md": cli.page(),
            "docs/reference/configuration.md": configuration.page(),
            "docs/reference/exit-codes.md": exit_codes.page(),
            "docs/reference/log-events.md": log_events.page(),
            "docs/reference/metrics.md": metrics.page(city.metrics),
            "docs/reference/personal-data.md": personal_data.page(),
            "docs/how-to/troubleshooting.md": troubleshooting.page(),
        }
    finally:
        await city.close()


def settings() -> Settings:
    """Return settings of a city that is built but not started: it opens no file and no socket."""
    return Settings.model_validate(
        {
            "appservice": {"as_token": "as", "hs_token": "hs"},
            "database": {"url": "sqlite:///:memory:"},
            "web": {"enabled": False},  # the pages are not part of the API
        }
    )
