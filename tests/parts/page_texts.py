"""The texts of the pages in each language, by which tests find what they click."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

_SOURCES: Final = Path(__file__).parents[2] / "web/src/i18n"
_STRING_OR_KEY: Final = re.compile(r'("(?:\\.|[^"\\])*")|(\w+)(?=:)')


class PageTexts:
    """Texts of one language, ``uk`` or ``en``."""

    def __init__(self, language: str) -> None:
        self._texts = _read(language)

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key like ``room.log`` with the values of its placeholders."""
        text: Any = self._texts
        for part in key.split("."):
            text = text[part]
        assert isinstance(text, str), key
        filled: str = text
        for name, value in values.items():
            filled = filled.replace("{{" + name + "}}", str(value))
        return filled


@cache
def _read(language: str) -> dict[str, Any]:
    """Parse the object that the module of a language exports: its values are strings, lists and objects."""
    source = (_SOURCES / f"{language}.ts").read_text()
    literal = source[source.index("{") : source.rindex("}") + 1]
    quoted = _STRING_OR_KEY.sub(lambda found: found[1] or f'"{found[2]}"', literal)
    texts: dict[str, Any] = json.loads(re.sub(r",(\s*[}\]])", r"\1", quoted))
    return texts
