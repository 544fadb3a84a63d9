"""The commands ``encryption …``: the pickle key, and the encryption devices of agents."""

from __future__ import annotations

import typer

from ..config import editing as config_edit
from ..config import loading as config_file
from ..config.pickle_key import new_pickle_key
from ..errors import ExitCode, StartError
from .terminal import DEFAULT_CONFIG, ConfigPath, print_line, warn

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("generate-key")
def generate_key(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Generate encryption.pickle_key, and write it into the configuration. An existing key is never replaced."""
    encryption = config_file.load(config).encryption
    if encryption.pickle_key.get_secret_value():
        raise StartError(
            "encryption.pickle_key is set already and was not changed",
            "With another key the encryption keys in the database are unreadable: docs/how-to/encrypted-chats.md.",
            ExitCode.CONFIG,
        )
    config_edit.set_values(config, {"encryption.pickle_key": new_pickle_key()})
    print_line(
        f"Generated encryption.pickle_key, and wrote it to {config}. Keep a copy apart from the database.", "green"
    )
    if not encryption.enabled:
        warn("encryption.enabled is false: the key is not used")
