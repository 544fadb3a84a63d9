"""Conditions of the tests of configuration files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daarion_appservice.config import loading as config_file
from daarion_appservice.config.errors import ConfigErrors
from daarion_appservice.errors import ExitCode

ROOT = Path(__file__).parents[2]
SECRET = "a secret of more than 32 characters"


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
