"""Generates the repository's files that derive from the settings.

Run ``make reference`` in the root of the repository after a change of the settings; a test
checks the files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from ..config import AppserviceSettings, Settings
from ..config.keys import Key, all_keys, keys_of
from ..config.render import render_example, scalar
from ..matrix.client.registration import Registration

PREFACE = """\
# Configuration

<!-- Made by `make reference`: change the descriptions in daarion_appservice/config/settings.py. -->

Everything is set in one file, `config.yaml`:

    daarion-appservice config generate      # a new file with every key, its default and a comment
    daarion-appservice config check         # names all mistakes at once, each with its line
    daarion-appservice config upgrade       # adds the keys of a newer version, and changes nothing else

Each command takes `-c FILE`; the default is `config.yaml` here. A key that is left out has its default. A key that does
not exist is a mistake, so that a typing error is never a silent default.

**From the environment.** Every single value can come from the variable that the tables name, and then wins over the
file. The same name with `_FILE` at its end names a file whose content is the value: that is how Docker, systemd and
Kubernetes hand over secrets. Setting both is a mistake; an empty variable counts as not set. Lists stand in the file
only.

**File names** (`database.url` with SQLite, `appservice.registration`, `agents[].avatar`) are relative to the directory
of `config.yaml`, wherever the service is started.

**Secrets.** New files are made with mode 600. No message shows a secret. `registration generate` makes the two tokens
that Synapse and this service know each other by, and never replaces one that is there.
"""


def render_configuration_doc() -> str:
    """Return docs/reference/configuration.md: every key with its variable, default and meaning."""
    return PREFACE + "".join(_section(key) for key in keys_of(Settings))


def _section(section: Key) -> str:
    rows = [*_rows(section)]
    table = "| key | default | environment | meaning |\n|---|---|---|---|\n" + "".join(f"{row}\n" for row in rows)
    return f"\n## {section.name}\n\n{section.description}\n\n{table}"


def _rows(section: Key) -> Iterator[str]:
    keys = [section] if section.is_list else all_keys(section.section or Settings, section.path)
    for key in keys:
        if key.section is not None:
            continue
        default = "see config.example.yaml" if key.item and key.default else _code(scalar(key.default))
        yield _row(key.dotted, default, "" if key.is_list else _code(key.variable), key.description)
        if key.item is not None:
            for inner in keys_of(key.item):
                default = "must be given" if inner.field.is_required() else _code(scalar(inner.default))
                yield _row(f"{key.dotted}[].{inner.name}", default, "", inner.description)


def _row(key: str, default: str, variable: str, meaning: str) -> str:
    # Outside of `code`, Markdown would read <slug> as a tag.
    return f"| {_code(key)} | {default} | {variable} | {meaning.replace('<', '&lt;')} |"


def _code(text: str) -> str:
    return f"`{text}`"


def render_example_registration() -> str:
    """Return registration.yaml.example, with placeholders for the tokens."""
    # Without validation, which refuses placeholders.
    tokens = AppserviceSettings.model_construct(
        as_token=SecretStr("a-long-random-token-that-we-send"), hs_token=SecretStr("the-token-that-synapse-sends")
    )
    return Registration.of(Settings(appservice=tokens)).render()


def files() -> dict[str, str]:
    """Return the content of each file by its path in the repository."""
    return {
        "config.example.yaml": render_example(),
        "registration.yaml.example": render_example_registration(),
        "docs/reference/configuration.md": render_configuration_doc(),
    }


def write(root: Path) -> None:
    for name, text in files().items():
        (root / name).write_text(text)
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    write(Path.cwd())
