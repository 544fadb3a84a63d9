"""Removes secrets from findings: error messages of libraries may contain what the configuration holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from ..config import Settings
from .findings import Finding

_MIN_CHARS: Final = 8
"""A shorter value may be a word that findings contain; the drivers and libraries print no passwords by themselves."""
_REPLACEMENT: Final = "***"


class Secrets:
    """The secrets of a configuration: its tokens, and the passwords in its URLs."""

    def __init__(self, settings: Settings | None) -> None:
        values = set() if settings is None else {*_secrets(settings), *_passwords(settings)}
        # Longest first: one secret may be a part of another.
        self._values = sorted((value for value in values if len(value) >= _MIN_CHARS), key=len, reverse=True)

    def removed_from(self, finding: Finding) -> Finding:
        return replace(finding, summary=self._removed(finding.summary), advice=self._removed(finding.advice))

    def _removed(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, _REPLACEMENT)
        return text


def _secrets(section: BaseModel) -> Iterator[str]:
    for name in type(section).model_fields:
        match getattr(section, name):
            case SecretStr() as secret:
                yield secret.get_secret_value()
            case BaseModel() as inner:
                yield from _secrets(inner)


def _passwords(settings: Settings) -> Iterator[str]:
    for url in (settings.database.url, settings.redis.url):
        password = urlsplit(url).password
        if password:
            yield from (password, unquote(password))
