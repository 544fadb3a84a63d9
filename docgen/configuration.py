"""Generates ``docs/reference/configuration.md``, ``config.example.yaml`` and ``registration.yaml.example`` from the settings."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import SecretStr

from daarion_appservice.config import AppserviceSettings, Settings
from daarion_appservice.config.keys import Key, all_keys, keys_of
from daarion_appservice.config.render import render_example, scalar
from daarion_appservice.matrix.client.registration import Registration

from .markdown import code, header, table


def page() -> str:
    return header("Configuration", "daarion_appservice/config/settings.py", "configuration") + "".join(
        _section(key) for key in keys_of(Settings)
    )


def example() -> str:
    """Return config.example.yaml."""
    return render_example()


def example_registration() -> str:
    """Return registration.yaml.example, with placeholders for the tokens."""
    # Without validation, which refuses placeholders.
    tokens = AppserviceSettings.model_construct(
        as_token=SecretStr("a-long-random-token-that-we-send"), hs_token=SecretStr("the-token-that-synapse-sends")
    )
    return Registration.of(Settings(appservice=tokens)).render()


def _section(section: Key) -> str:
    rows = table(("key", "default", "environment", "meaning"), _rows(section))
    return f"\n## {section.name}\n\n{section.description}\n{rows}"


def _rows(section: Key) -> Iterator[tuple[str, str, str, str]]:
    keys = [section] if section.is_list else all_keys(section.section or Settings, section.path)
    for key in keys:
        if key.section is not None:
            continue
        default = "see config.example.yaml" if key.item and key.default else code(scalar(key.default))
        yield _row(key.dotted, default, "" if key.is_list else code(key.variable), key.description)
        if key.item is not None:
            for inner in keys_of(key.item):
                default = "required" if inner.field.is_required() else code(scalar(inner.default))
                yield _row(f"{key.dotted}[].{inner.name}", default, "", inner.description)


def _row(key: str, default: str, variable: str, meaning: str) -> tuple[str, str, str, str]:
    # Outside of `code`, Markdown would read <slug> as a tag.
    return code(key), default, variable, meaning.replace("<", "&lt;")
