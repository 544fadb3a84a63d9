"""Conditions of the tests of configuration files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daarion_appservice.config import loading as config_file
from daarion_appservice.config.errors import ConfigErrors
from daarion_appservice.config.pickle_key import new_pickle_key
from daarion_appservice.config.render import render_example
from daarion_appservice.errors import ExitCode
from daarion_appservice.matrix.client.registration_differences import TOKENS
from daarion_appservice.matrix.client.registration_file import new_registration_token

ROOT = Path(__file__).parents[2]
SECRET = "a secret of more than 32 characters"


def write_config(config: Path, values: Mapping[str, Any]) -> None:
    """Write what ``config generate`` and ``config set`` write, in 5 ms: ``set`` parses the file again for each key.

    Args:
        values: by dotted key.
    """
    sections: dict[str, dict[str, Any]] = {"encryption": {"pickle_key": new_pickle_key()}}
    for key, value in values.items():
        *above, name = key.split(".")
        section = sections
        for part in above:
            section = section.setdefault(part, {})
        section[name] = value
    config.touch(mode=0o600)
    config.write_text(render_example(sections))


def new_tokens() -> dict[str, str]:
    """Return the tokens that ``registration generate`` writes, by dotted key."""
    return {f"appservice.{name}": new_registration_token() for name in TOKENS}


def secrets_of(config: Path) -> dict[str, str]:
    """Return the tokens and the pickle key of a configuration, by dotted key."""
    settings = config_file.load(config)
    tokens = {f"appservice.{name}": getattr(settings.appservice, name).get_secret_value() for name in TOKENS}
    return tokens | {"encryption.pickle_key": settings.encryption.pickle_key.get_secret_value()}


def errors_of(config: Path, text: str, **environ: str) -> list[str]:
    """Return the errors of a configuration with this text, without the name of the file."""
    config.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        config_file.load(config, environ)
    assert caught.value.exit_code is ExitCode.CONFIG
    return [str(each).removeprefix(str(config)).removeprefix(":") for each in caught.value.errors]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Run the block as an unprivileged user, also when root runs the tests."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
